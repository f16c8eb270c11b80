"""Read, map and score many records by each engine: in this process, and by one and two workers of a Dask cluster.

    python -m benchmarks.engines [--records 1000000 2000000 4000000] [--engines local dask-1 dask-2] [--work FOLDER]
    python -m benchmarks.engines --records 100000000 --engines dask-2

The records are never on the disk at once. A partition is a block of a capture of some hundred thousand simulated
records under a name of its own, which makes them other records. Whoever works on it reads its text, makes records and
features, scores and judges them by the shipped settings, counts, and makes alerts. These get no reasons: at most 10,000
of a file do, however long it is. This process takes the results in, keeps its samples and writes the verdicts; of
these, a table of a million records is on the disk at a time.

Each run is a process of its own. Processor seconds and peak memory are those of that process and of its workers, from
the first partition to the last; workers import and load the model before. Equal digests are equal scores.
"""

import argparse
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
FILE: Final = Path("records.csv")
TABLE: Final = 1_000_000  # records of the table of verdicts that is on the disk
BLOCK: Final = 8 << 20  # bytes of a partition, as they are read from a file
ENGINES: Final = ("local", "dask-1", "dask-2")
HEAD: Final = (
    "| engine | records | wall s | records/s | CPU-s here | of workers | us a record | peak MB here | of a worker "
    "| load | scores |"
)


class Blocks(NamedTuple):
    """Where the blocks of a file begin and end, and how their lines are read."""

    path: Path
    ends: tuple[int, ...]
    layout: Any
    label: Any


def blocks_of(path: Path, part: Any) -> Blocks:
    """The blocks of a file; ``part`` is one that its reader gives."""
    parse, (_, layout, label) = part.func, part.args
    assert parse.__name__ == "parse"
    with path.open("rb") as stream:
        ends = [len(stream.readline())]
        while len(block := stream.read(BLOCK) + stream.readline()):
            ends.append(ends[-1] + len(block))
    return Blocks(path.resolve(), tuple(ends), layout, label)


def made(blocks: Blocks, number: int) -> Any:
    """The records of a simulated partition."""
    from pipeline.datasets.blocks import Block
    from pipeline.datasets.rows import parse

    place = number % (len(blocks.ends) - 1)
    with blocks.path.open("rb") as stream:
        stream.seek(blocks.ends[place])
        lines = stream.read(blocks.ends[place + 1] - blocks.ends[place])
    return parse(Block(f"{number}.csv", lines, 1), blocks.layout, blocks.label)


class Sink:
    """Takes in what was judged as ``batch.Judging`` does, and writes tables of which one at a time is on the disk."""

    def __init__(self, bundle: Any) -> None:
        from pipeline.serving import judged
        from pipeline.serving.contract_check import ContractCheck
        from pipeline.serving.tally import Tally

        self.tally, self.check, self.kept = (
            Tally(bundle.calibration),
            ContractCheck(bundle.contract),
            judged.new_kept({}),
        )
        self.so_far, self.records = judged.SoFar(), 0
        self.digest = hashlib.sha256()

    def take(self, results: Iterator[Any], records: int) -> None:
        """Take results until there are so many records more."""
        from pipeline.artifacts.tables import TableWriter
        from pipeline.serving.alerts.schema import SCHEMA as ALERTS
        from pipeline.serving.scored import SCHEMA

        until = self.records + records
        tables = (TableWriter(Path(f"{name}.parquet"), schema) for name, schema in (("v", SCHEMA), ("a", ALERTS)))
        with next(tables) as verdicts, next(tables) as alerts:
            for done in results:
                verdicts.write(done.table)
                alerts.write(done.alerts)
                self.tally.join(done.tally)
                self.check.join(done.check)
                for name, rows in self.kept.items():
                    rows.join(done.kept[name])
                    self.so_far.bounds[name] = rows.bound
                self.digest.update(done.table.column("score").combine_chunks().to_numpy())
                self.records += done.table.num_rows
                if self.records >= until:
                    return


def run(engine_name: str, records: int) -> dict[str, Any]:
    """Score by an engine in the working folder; what it cost."""
    import psutil

    from pipeline import config
    from pipeline.base import engine
    from pipeline.base.parallel import one_thread
    from pipeline.serving import arrivals, judged, loading, reading
    from pipeline.settings.alerts import Alerts

    use, _, workers = engine_name.partition("-")
    with one_thread(), engine.using(use, workers=int(workers or 1)):
        version, bundle = loading.load("champion")
        file, rules = arrivals.identify(FILE, FILE), replace(config.load(Alerts), explained=0)
        blocks = blocks_of(FILE, next(reading.parts(file, bundle)))
        sink = Sink(bundle)

        def results(first: int, last: int) -> Iterator[Any]:
            about = (file, version.number, rules, sink.so_far)
            pieces = (judged.Piece(partial(made, blocks, number), *about) for number in range(first, last))
            return engine.mapped(judged.read, pieces, judged.judge, (bundle,))

        sink.take(results(-2 * int(workers or 1), 0), 1 << 60)
        sink = Sink(bundle)
        before, start = _spent(psutil.Process()), time.perf_counter()
        found = results(0, 1 << 60)
        while sink.records < records:
            sink.take(found, min(TABLE, records - sink.records))
        wall, after = time.perf_counter() - start, _spent(psutil.Process())
    cost = {key: after[key] - before[key] for key in ("here", "workers")}
    return {"wall": wall, "records": sink.records, **cost, "peak": after["peak"], "digest": sink.digest.hexdigest()}


def _spent(process: Any) -> dict[str, Any]:
    """Processor seconds of a process and of those that it has started, and the highest memory of each, in MB."""
    others = [each for each in process.children(recursive=True) if "spawn_main" in " ".join(each.cmdline())]
    each = [sum(one.cpu_times()[:2]) for one in (process, *others)]
    peaks = [_peak(one.pid) for one in (process, *others)]
    return {"here": each[0], "workers": sum(each[1:]), "peak": (peaks[0], max(peaks[1:], default=0.0))}


def _peak(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


def prepare(folder: Path, train: int, simulated: int) -> None:
    """The shipped model, and a capture from which partitions are made."""
    from benchmarks.scoring import simulate
    from benchmarks.scoring import train as trained

    if not (folder / FILE).exists():
        trained(folder, train)
        simulate(folder / FILE, simulated)


def line(name: str, found: dict[str, Any]) -> str:
    """A row of the table."""
    n, cpu = found["records"], found["here"] + found["workers"]
    numbers = f"{found['wall']:.1f} | {n / found['wall']:,.0f} | {found['here']:.1f} | {found['workers']:.1f}"
    here, worker = found["peak"]
    more = f"{1e6 * cpu / n:.1f} | {here:,.0f} | {worker:,.0f} | {found['load']:.1f} | {found['digest'][:8]}"
    return f"| {name} | {n:,} | {numbers} | {more} |"


def measured(name: str, records: int, folder: Path) -> dict[str, Any]:
    """What a run costs, in a process of its own; ``load`` is that of the machine when it began."""
    load = os.getloadavg()[0]
    command = [sys.executable, "-m", "benchmarks.engines", "--inside", name, "--records", str(records)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{name}: exit code {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1]) | {"load": load}


def main(given: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, nargs="+", default=[1_000_000, 2_000_000, 4_000_000])
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=[*ENGINES])
    parser.add_argument("--train", type=int, default=50_000, help="records that the model is trained on")
    parser.add_argument("--simulated", type=int, default=200_000, help="records that partitions are made of")
    parser.add_argument("--work", type=Path, help="folder that is kept")
    parser.add_argument("--inside", choices=ENGINES, help="one run in the working folder: for this command itself")
    options = parser.parse_args(given)
    if options.inside:
        print(json.dumps(run(options.inside, options.records[0])))
        return
    with contextlib.ExitStack() as stack:
        folder = options.work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-engines-")))
        folder.mkdir(parents=True, exist_ok=True)
        prepare(folder, options.train, options.simulated)
        print(f"{os.cpu_count()} cores\n\n{HEAD}\n|---|" + "---:|" * 9 + "---|", flush=True)
        for records in options.records:
            found = {}
            for name in options.engines:
                found[name] = measured(name, records, folder)
                print(line(name, found[name]), flush=True)
            if {"dask-1", "dask-2"} <= {*found}:
                ratio = found["dask-1"]["wall"] / found["dask-2"]["wall"]
                print(f"two workers against one, {records:,} records: {ratio:.2f} times as fast")


if __name__ == "__main__":
    main()

"""What each of the seven stages costs, at several numbers of records: time, memory, disk, and how these grow.

    python -m benchmarks.scale [--records 20000 100000] [--stages ingest validate] [--code . ../before] [--keep FOLDER]

Captures in the published CSV format of CIC-IDS-2017 are drawn from the real records where they are there, else from
synthetic ones (``many_records``). Each stage runs in a process of its own, with the settings of its checkout's
params.yaml, in a project folder of its own. Processor seconds and peak memory are those of that process, imports among
them. Disk is what the stage leaves under ``data``. Captures and projects are removed at the end. ``--keep`` leaves them
in a folder, from which a later call takes them up, say for one stage more.
"""

import argparse
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pipeline.artifacts.paths import OUTPUTS

ROOT = Path(__file__).resolve().parent.parent
REAL = ROOT.parent / "shared" / "data" / "cicids2017"
TRACKED = ("mlruns", "mlflow.db")


class Cost(NamedTuple):
    """Of one stage."""

    cpu: float  # s, of all cores together
    wall: float  # s
    peak: float  # MB
    disk: float  # MB


def capture(base: Path, target: Path, records: int) -> None:
    """Write a capture, whole or not at all, by a process of its own: this one's memory would count as a stage's."""
    if target.exists():
        return
    made = target.with_name(f"{target.name}.part")
    shutil.rmtree(made, ignore_errors=True)
    code = "import sys; from pathlib import Path; from benchmarks.many_records import write\n"
    code += "write(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))"
    subprocess.run([sys.executable, "-c", code, base, made, str(records)], check=True, cwd=ROOT)
    made.rename(target)


def synthetic(target: Path) -> Path:
    """The embedded records as files; the folder."""
    if not target.exists():
        command = [sys.executable, "-m", "pipeline.datasets.synthetic", str(target)]
        subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return target


def project(code: Path, folder: Path, records: Path) -> None:
    """A project whose records are a capture, with all other settings as the code ships them."""
    import yaml

    folder.mkdir(exist_ok=True)
    params = yaml.safe_load((code / "params.yaml").read_text())
    params["ingest"] |= {"dataset": "cicids2017", "path": str(records)}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    shutil.copy(code / "dvc.yaml", folder)


def run(stage: str, code: Path, folder: Path) -> Cost:
    """Run one stage, and measure it.

    Raises:
        SystemExit: it failed; with the last lines that it wrote.
    """
    env = os.environ | {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(code.resolve())}
    log, before, start = folder / f"{stage}.log", _size([folder / name for name in TRACKED]), time.perf_counter()
    with log.open("wb") as stream:
        command = [sys.executable, "-m", f"pipeline.stages.{stage}"]
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=stream, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)  # with what its own children used
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - start
    if process.returncode:
        last = log.read_text(errors="replace")[-2000:]
        sys.exit(f"{stage}: exit code {process.returncode} after {wall:.0f} s\n{last}")
    left = _size([folder / path for path in OUTPUTS[stage]])
    left += max(0, _size([folder / name for name in TRACKED]) - before)
    return Cost(used.ru_utime + used.ru_stime, wall, used.ru_maxrss * 1024 / 1e6, left / 1e6)


def _size(paths: Sequence[Path]) -> int:
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path])]
    return sum(file.stat().st_size for file in files if file.is_file())


def measure(code: Path, records: int, stages: Sequence[str], folder: Path, base: Path) -> dict[str, Cost]:
    """Stage -> its cost at a number of records; prints a line for each."""
    capture(base, folder / f"records-{records}", records)
    place = folder / f"project-{code.resolve().name}-{records}"
    project(code, place, (folder / f"records-{records}").resolve())
    found = {}
    for stage in stages:
        found[stage] = cost = run(stage, code, place)
        print(f"| {records:,} | {stage} | {_numbers(cost)} | {os.getloadavg()[0]:.1f} |", flush=True)
    whole = list(found.values())
    total = Cost(sum(one.cpu for one in whole), sum(one.wall for one in whole), max(one.peak for one in whole),
                 sum(one.disk for one in whole))  # fmt: skip
    print(f"| {records:,} | all | {_numbers(total)} | {os.getloadavg()[0]:.1f} |", flush=True)
    return {**found, "all": total}


def _numbers(cost: Cost) -> str:
    return f"{cost.cpu:.1f} | {cost.wall:.1f} | {cost.peak:,.0f} | {cost.disk:,.0f}"


def growth(records: Sequence[int], found: Sequence[dict[str, Cost]]) -> Iterator[str]:
    """For each stage and each step from one number of records to the next: how its cost grows."""
    yield "| from | to | stage | exponent of CPU time | CPU us a record more | peak bytes a record more | disk bytes |"
    yield "|---:|---:|---|---:|---:|---:|---:|"
    for (few, less), (many, more) in zip(
        zip(records, found, strict=True), list(zip(records, found, strict=True))[1:], strict=False
    ):
        for stage, cost in more.items():
            before, added = less[stage], many - few
            exponent = math.log(cost.cpu / before.cpu) / math.log(many / few)
            each = [1e6 * (getattr(cost, name) - getattr(before, name)) / added for name in ("cpu", "peak", "disk")]
            yield f"| {few:,} | {many:,} | {stage} | {exponent:.2f} | " + " | ".join(f"{x:,.0f}" for x in each) + " |"


@contextmanager
def place_of(keep: Path | None) -> Iterator[Path]:
    """The folder to work in; a temporary one where none is to be kept."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as made:
        yield Path(made)


def main() -> None:
    """Print a table of costs for each code, and one of how they grow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--stages", nargs="+", choices=[*OUTPUTS], default=[*OUTPUTS])
    parser.add_argument("--code", type=Path, nargs="+", default=[ROOT], help="checkouts whose stages run")
    parser.add_argument("--base", type=Path, default=REAL, help="folder of the records that captures are drawn from")
    parser.add_argument("--keep", type=Path, help="folder for captures and projects, which stay")
    options = parser.parse_args()
    with place_of(options.keep) as folder:
        base = options.base if options.base.is_dir() else synthetic(folder / "synthetic")
        kind = "synthetic" if base == folder / "synthetic" else "real"
        print(f"captures drawn from {kind} records; {len(os.sched_getaffinity(0))} cores")
        for code in options.code:
            print(f"\n{code}\n\n| records | stage | CPU-s | wall s | peak MB | disk MB | load |")
            print("|---:|---|---:|---:|---:|---:|---:|", flush=True)
            found = [measure(code, each, options.stages, folder, base) for each in options.records]
            print("", *growth(options.records, found), sep="\n", flush=True)


if __name__ == "__main__":
    main()

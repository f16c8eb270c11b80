"""What the recent past of hosts finds at the deployed thresholds, and what it costs.

::

    python -m benchmarks.context detect --seeds 0 1 2 --replay ../shared/data/pcaps
    python -m benchmarks.context choose
    python -m benchmarks.context speed
    python -m benchmarks.context stream

``detect`` is about traffic that nobody has thinned. For each seed a model with the shipped settings, but
``preprocess.context.use: auto``, is trained on simulated benign captures of one seed, without labels. It then judges
simulated captures of another seed, which hold attacks, a day for each file, as ``flowsculpt score`` does. To show what
it says without context, the same model judges the same records without times and addresses. Bots call home by chance in
the simulation. So there is a line of bots that call every minute, to within a second. Real captures of attacks are
replayed into the benign traffic of a Monday, each in an hour of its own.

``choose`` compares detectors of contexts alone, on captures of seeds that ``detect`` does not report. They are fitted
on the first 60 % of benign captures, with a threshold from the next 20 %.

``speed`` computes the contexts of random records, and says how many a CPU-second takes and the memory of the process.

``stream`` computes the contexts of 1,000 records behind many that are remembered, as a watch does for each micro-batch.
It does so for these records alone, and together with all others, as for a file. Both must be the same bytes. Late
records are up to minutes behind the last one, as in logs that say when a connection began.
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from pipeline import config
from pipeline.alarms.project import SHIPPED, with_settings
from pipeline.artifacts.files import write_json
from pipeline.base.registry import build
from pipeline.datasets.packets.captures import Captures
from pipeline.datasets.synthetic.captures import write_captures
from pipeline.models.detectors.registry import DETECTORS
from pipeline.preprocessing.context.past import context
from pipeline.preprocessing.context.talks import WHO, Talks, talks_of
from pipeline.serving.bundle import Bundle

LEVELS: Final = ("p99", "p99.9")
MINUTE: Final = 60_000_000  # microseconds
HOUR: Final = 60 * MINUTE
FAMILIES: Final[Mapping[str, tuple[str, ...]]] = {
    "scans": ("port_scan", "infiltration_port_scan"),
    "brute force": ("ftp_patator", "ssh_patator", "web_brute_force"),
    "floods": ("ddos", "dos_hulk", "dos_goldeneye"),
    "slow floods": ("dos_slowloris", "dos_slowhttptest"),
    "bots by chance": ("bot",),
    "bots by the clock": ("beacon",),
    "infiltration": ("infiltration",),
    "web, heartbleed": ("web_xss", "web_sql_injection", "heartbleed"),
}
REPLAYED: Final = {
    "real SYN scan": "nfstream_synscan.pcap",
    "real ICMP scan": "slips_test12-icmp-portscan.pcap",
    "real WebDDoS": "CIC-DDoS-2019-WebDDoS.pcap",
    "real SQL injection": "WebattackSQLinj.pcap",
    "real malware": "slips_test8-malicious.pcap",
}

CHOICES: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("isolation_forest", {}),
    ("pca", {"variance": 0.9}),
    ("knn", {"neighbours": 1}),
    ("gmm", {"components": 1}),
    ("gmm", {}),
    ("ensemble", {}),
)

Found = dict[str, list[NDArray[np.bool_]]]


def trained(folder: Path, dataset: str = "pcap") -> Bundle:
    """A model of benign captures or logs, with the settings that are shipped, but with contexts."""
    given = {"ingest.dataset": dataset, "ingest.path": str(folder.resolve()), "preprocess.context.use": "auto"}
    with TemporaryDirectory() as work:
        write_json(Path(work) / config.PARAMS, with_settings(config.read(SHIPPED), given))
        command = [sys.executable, "-m", "pipeline.alarms.training"]
        subprocess.run(command, cwd=work, check=True, stdout=subprocess.DEVNULL)
        return Bundle.of_project(Path(work) / "data")


def records_of(path: Path) -> pa.Table:
    """All flows of a capture."""
    return pa.concat_tables([chunk.records for chunk in Captures(path).read()]).unify_dictionaries()


def attacks_of(records: pa.Table) -> NDArray[np.str_]:
    """(n,) names."""
    return np.asarray(records.column("attack").to_pylist()).astype(str)


def beacons(records: pa.Table, seed: int) -> pa.Table:
    """The same records, with bots that call home every minute, to within a second."""
    times = records.column("timestamp").cast(pa.int64()).to_numpy().copy()
    hosts, bots = np.asarray(records.column("src_ip").to_pylist()), attacks_of(records) == "bot"
    random = np.random.default_rng(seed)
    for host in np.unique(hosts[bots]):
        rows = np.flatnonzero(bots & (hosts == host))
        rows = rows[np.argsort(times[rows])]
        calls = times[rows[0]] + np.arange(len(rows)) * MINUTE
        times[rows] = calls + random.normal(0, MINUTE / 60, len(rows)).astype(np.int64)
    return with_times(records, times)


def with_times(records: pa.Table, times: NDArray[np.int64]) -> pa.Table:
    """The same records at other times, (n,) microseconds."""
    at = records.schema.get_field_index("timestamp")
    field = records.schema.field(at)
    return records.set_column(at, field, pa.array(times).cast(field.type))


def replayed(benign: pa.Table, folder: Path) -> Iterator[tuple[str, pa.Table, NDArray[np.bool_]]]:
    """Each real capture amid benign records: its name, all records, and which of them are its own."""
    begin = int(benign.column("timestamp").cast(pa.int64()).to_numpy().min()) + HOUR
    for name, file in REPLAYED.items():
        if not (folder / file).exists():
            continue
        real = records_of(folder / file)
        own = real.column("timestamp").cast(pa.int64()).to_numpy()
        real = with_times(real, own - own.min() + begin)
        yield name, pa.concat_tables([benign, real]), np.arange(len(benign) + len(real)) >= len(benign)


def alarms(bundle: Bundle, records: pa.Table) -> NDArray[np.bool_]:
    """(n, 4) alarms at each level: without context, then with it."""
    bare = bundle.predict(records.drop_columns([*WHO]))
    whole = bundle.predict(records, bundle.looks_back.scores_of(records) if bundle.looks_back else None)
    return np.stack([each.flagged[level] for level in LEVELS for each in (bare, whole)], axis=1)


def measured(seed: int, conversations: int, replay: Path | None) -> Found:
    """What a model of one seed finds in the captures of another."""
    found: Found = {}
    with TemporaryDirectory() as work:
        learnt, judged = Path(work) / "learnt", Path(work) / "judged"
        write_captures(learnt, conversations, 5, seed=1000 + seed)
        bundle = trained(learnt)
        for path in write_captures(judged, conversations, 5, seed=seed, attacks=True):
            records = records_of(path)
            _add(found, attacks_of(records), alarms(bundle, records))
            if (attacks_of(records) == "bot").any():
                _add(
                    found, np.where(attacks_of(records) == "bot", "beacon", ""), alarms(bundle, beacons(records, seed))
                )
        quiet = records_of(judged / "2017-07-03-monday.pcap")
        for name, mixed, own in replayed(quiet, replay) if replay else ():
            found.setdefault(name, []).append(alarms(bundle, mixed)[own])
    return found


def _add(found: Found, names: NDArray[np.str_], flagged: NDArray[np.bool_]) -> None:
    kinds = {"benign": ("benign",), **FAMILIES}
    for kind, attacks in kinds.items():
        rows = np.isin(names, attacks)
        if rows.any():
            found.setdefault(kind, []).append(flagged[rows])


def table(found: Sequence[Found]) -> Iterator[str]:
    """A line for each family: how many records, and the share that raises an alarm, of all seeds and of each."""
    yield "| records | seeds | number | p99 without | p99 with | p99.9 without | p99.9 with | p99 with, each seed |"
    yield "|---|---|---|---|---|---|---|---|"
    for kind in ("benign", *FAMILIES, *REPLAYED):
        each = [np.concatenate(seed[kind]) for seed in found if kind in seed]
        if not each:
            continue
        whole = np.concatenate(each)
        shares = " | ".join(_percent(share, kind) for share in whole.mean(axis=0))
        seeds = ", ".join(_percent(seed[:, 1].mean(), kind) for seed in each)
        yield f"| {kind} | {len(each)} | {len(whole):,} | {shares} | {seeds} |"


def _percent(share: float, kind: str) -> str:
    return f"{100 * share:.3f} %" if kind == "benign" else f"{100 * share:.1f} %"


def choice() -> Iterator[str]:
    """A line for each detector of contexts: benign alarms, and what it finds, at 1 % and at 0.1 %."""
    with TemporaryDirectory() as work:
        learnt = [contexts_of(path) for path in write_captures(Path(work) / "learnt", 20_000, 5, seed=100)]
        judged = [
            contexts_of(path)
            for seed in (20100, 20101)
            for path in write_captures(Path(work) / str(seed), 20_000, 5, seed=seed, attacks=True)
        ]
    x = np.concatenate([part for part, _ in learnt])
    first, then = x[: int(0.6 * len(x))], x[int(0.6 * len(x)) : int(0.8 * len(x))]
    tests, names = (np.concatenate(parts) for parts in zip(*judged, strict=True))
    kinds = {"benign": ("benign",), **{kind: attacks for kind, attacks in FAMILIES.items() if attacks != ("beacon",)}}
    yield f"| detector of contexts | {' | '.join(kinds)} |"
    yield "|---|" + "---|" * len(kinds)
    for kind, settings in CHOICES:
        detector = build(DETECTORS, kind, "context", features=x.shape[1], **settings)
        detector.fit(torch.from_numpy(first))
        level, score = (detector.scores(torch.from_numpy(part)).numpy() for part in (then, tests))
        high = [score > np.quantile(level, share) for share in (0.99, 0.999)]
        cells = (
            ", ".join(f"{100 * each[np.isin(names, some)].mean():.1f}" for each in high) for some in kinds.values()
        )
        yield f"| {kind} {settings or ''} | {' | '.join(cells)} |"


def contexts_of(path: Path) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    """(n, F) contexts of the records of a capture in the order of time, and the (n,) names of their attacks."""
    records = records_of(path).sort_by("timestamp")
    return context(*talks_of(records), (5.0, 60.0, 600.0), 500_000), attacks_of(records)


def speed(records: int, hosts: int, per_second: float, remembered: int, busy: bool = False) -> str:
    """A line of the table of speeds; where ``busy``, one host makes half of all records."""
    random = np.random.default_rng(0)
    time_of = np.sort(random.integers(0, int(records / per_second * 1e6), records))
    source = random.integers(0, hosts, records)
    source[:: 2 if busy else records] = 0
    drawn = (random.integers(0, high, records) for high in (hosts, 1000, 2, 10_000, 10_000))
    talks = Talks(time_of, source, *drawn)
    before = time.process_time()
    context(talks, np.ones(records, bool), (5.0, 60.0, 600.0), remembered)
    spent = time.process_time() - before
    busiest = "half of the records" if busy else "no more than others"
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"| {records:,} | {hosts:,} | {per_second:,.0f} | {busiest} | {records / spent:,.0f} | {memory:,.0f} |"


def stream(remembered: int, busy: bool, is_late: bool, new: int = 1000, rounds: int = 3) -> str:
    """A line of the table of streams: the fewest CPU-seconds of some rounds."""
    random, n, windows = np.random.default_rng(0), remembered + new, (5.0, 60.0, 600.0)
    time_of = np.sort(random.integers(0, 600_000_000, n))
    if is_late:
        time_of[remembered:] -= (random.exponential(2e7, new) * (random.random(new) < 0.5)).astype(np.int64)
    hosts = random.integers(-(2**62), 2**62, 500)
    source, destination = hosts[random.integers(0, 500, n)], hosts[random.integers(0, 500, n)]
    if busy:
        destination[::2] = hosts[0]
    talks = Talks(time_of, source, destination, *(random.integers(0, high, n) for high in (1000, 2, 10_000, 10_000)))
    known, found, spent = np.ones(n, bool), [], [np.inf, np.inf]
    for _ in range(rounds):
        for way, since in enumerate((remembered, 0)):
            before = time.process_time()
            found.append(context(talks, known, windows, 500_000, since)[-new:])
            spent[way] = min(spent[way], time.process_time() - before)
    assert all(each.tobytes() == found[0].tobytes() for each in found)
    words = ("half of the records" if busy else "no more than others", "half of the new ones" if is_late else "none")
    return f"| {remembered:,} | {' | '.join(words)} | {spent[0]:.2f} | {spent[1]:.2f} |"


def main() -> None:
    """Print the table that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("detect", "choose", "speed", "stream"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--conversations", type=int, default=20_000, help="benign ones of five days, of each capture")
    parser.add_argument("--replay", type=Path, help="folder of real captures")
    given = parser.parse_args()
    if given.what == "speed":
        print("| records | hosts | records a second | busiest host | computed per CPU-second | peak MiB |")
        print("|---|---|---|---|---|---|")
        for line in (
            (500_000, 200, 100, 500_000),
            (1_000_000, 5_000, 500, 500_000),
            (1_000_000, 10**7, 5_000, 500_000),
        ):
            print(speed(*line), flush=True)
        print(speed(1_000_000, 5_000, 500, 500_000, busy=True))
        return
    if given.what == "stream":
        print("| remembered | busiest host | late | CPU-seconds, 1,000 records alone | with all others |")
        print("|---|---|---|---|---|")
        for line in [
            (30_000, False, False),
            *((300_000, busy, late) for busy in (False, True) for late in (False, True)),
        ]:
            print(stream(*line), flush=True)
        return
    if given.what == "choose":
        print("\n".join(choice()))
        return
    found = [measured(seed, given.conversations, given.replay) for seed in given.seeds]
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()

"""How many false incidents benign traffic raises, how many attacks are found, and how long it takes.

::

    python -m benchmarks.incidents detect --seeds 5 6 7 8 --quiet 9 --keep /tmp/weeks
    python -m benchmarks.incidents speed

``detect`` is about simulated captures, packet by packet. For each seed a model with the shipped settings is trained on
a benign week of another seed, without labels. It then judges a week with 14 attacks and ``--quiet`` benign weeks, a day
for each file, as ``flowsculpt score`` does. ``--keep`` names a folder in which judged weeks are kept for the next time.
An incident counts if it is ``medium`` or worse. It is false if most of its alerts are benign. An attack is found if an
incident that is not false has an alert of it. In a further line the bots of the week call home by the clock.

Beside it stand simpler rules: each alert for itself, and a source that has so many alerts without a gap of an hour. The
constants of ``evidence`` were chosen on the seeds 0 to 4 and 200 to 203. ``choose`` shows what others give there.

``speed`` reads 100,000 stored alerts among a million stored records, and groups them, as ``flowsculpt incidents`` does.
It then takes the alerts of one endless scan, 100 at a time, as a scorer does that never stops.
"""

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.context import attacks_of, beacons, records_of, trained
from pipeline import config
from pipeline.alarms.project import SHIPPED
from pipeline.datasets.schema import NO_ATTACK
from pipeline.datasets.synthetic.captures import write_captures
from pipeline.serving.alerts import evidence, incident_store
from pipeline.serving.alerts.incident import Incident
from pipeline.serving.alerts.incidents import Grouping, incidents_of
from pipeline.serving.alerts.schema import SCHEMA, key_of
from pipeline.serving.alerts.stretches import Item
from pipeline.serving.alerts.traces import COLUMNS, Sum, Trace, Tracer
from pipeline.serving.bundle import Bundle
from pipeline.serving.scored import SCHEMA as SCORED
from pipeline.settings.alerts import Alerts, IncidentRules

CONVERSATIONS: Final = 20_000  # of a week
DAYS: Final = 5
BEACON: Final = -1  # number of the week with bots by the clock
KEPT: Final = ("record_id", "timestamp", "protocol", "src_ip", "src_port", "dst_ip", "dst_port")
LEVELS: Final = ("p99", "p99.9")
HOUR: Final = 3_600_000_000  # microseconds


@dataclass(frozen=True)
class Week:
    """A week of judged records: n records, names of their attacks, and which of them are alerts at each level."""

    records: pa.Table
    attack: Mapping[int, str]
    number: int

    @property
    def benign(self) -> int:
        """Its benign records."""
        return sum(name == "benign" for name in self.attack.values())

    @property
    def attacks(self) -> set[str]:
        """Names of its attacks."""
        return {*self.attack.values()} - {"benign"}


def judged(bundle: Bundle, records: pa.Table, file: str, week: int) -> pa.Table:
    """What is kept of the records of a day: who, when, what the model says, and what they are."""
    past = None if bundle.looks_back is None else bundle.looks_back.scores_of(records)
    said = bundle.predict(records, past)
    table = records.select([name for name in KEPT if name in records.column_names])
    columns: dict[str, Any] = {"score": said.score, "p_value": said.p_value}
    columns |= {level: said.flagged[level] for level in LEVELS} | {"attack": attacks_of(records).tolist()}
    columns |= {"file": [file] * len(records), "week": [week] * len(records)}
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    return table


def weeks(seed: int, quiet: int, keep: Path) -> Iterator[Week]:
    """The weeks of a seed, the one with attacks first; they are judged where ``keep`` does not have them."""
    paths = [keep / f"s{seed}-w{number}.parquet" for number in range(quiet + 1)]
    if not all(path.exists() for path in paths):
        _judge(seed, paths)
    for path in paths:
        table = pq.read_table(path)
        numbers = np.asarray(table.column("week"))
        for number in sorted({*numbers.tolist()}, reverse=True):
            part = table.filter(pa.array(numbers == number))
            named = ["benign" if name in NO_ATTACK else name for name in part.column("attack").to_pylist()]
            named = ["beacon" if number == BEACON and name == "bot" else name for name in named]
            yield Week(part, dict(zip(part.column("record_id").to_pylist(), named, strict=True)), number)


def _judge(seed: int, paths: Sequence[Path]) -> None:
    with TemporaryDirectory() as work:
        write_captures(Path(work) / "learnt", CONVERSATIONS, DAYS, seed=1000 + seed)
        bundle = trained(Path(work) / "learnt")
        for number, path in enumerate(paths):
            folder, own = Path(work) / str(number), seed if number == 0 else 50_000 + 100 * seed + number
            days = []
            for capture in write_captures(folder, CONVERSATIONS, DAYS, seed=own, attacks=number == 0):
                records = records_of(capture)
                days.append(judged(bundle, records, capture.name, number))
                if (attacks_of(records) == "bot").any():
                    days.append(judged(bundle, beacons(records, seed), f"{capture.name}-beacon", BEACON))
            pq.write_table(pa.concat_tables(days).unify_dictionaries(), path)


def items(week: Week, gap: float) -> list[Item]:
    """The alerts of a week, with what the records around them add."""
    found, tracer = [], Tracer(gap)
    for file in sorted({*week.records.column("file").to_pylist()}):
        day = week.records.filter(pc.equal(week.records.column("file"), file))
        day = day.append_column("row", pa.array(np.arange(len(day))))
        day = day.append_column("source_file", pa.array([file] * len(day)))
        alerts = day.filter(day.column("p99"))
        traces = tracer.add(day.select(list(COLUMNS)), alerts.column("record_id").to_numpy())
        times = alerts.column("timestamp").cast(pa.int64()).to_pylist()
        found += [_item(row, time_of, traces) for row, time_of in zip(alerts.to_pylist(), times, strict=True)]
    return found


def _item(row: Mapping[str, Any], moment: int, traces: Mapping[int, Any]) -> Item:
    number = row["record_id"]
    return Item(
        order=(moment, row["source_file"], row["row"], number),
        alert=str(number),
        record_id=number,
        time=moment,
        src_ip=row["src_ip"],
        dst_ip=row["dst_ip"],
        dst_port=row["dst_port"],
        source_file=row["source_file"],
        row=row["row"],
        p_value=row["p_value"],
        score=row["score"],
        level="p99.9" if row["p99.9"] else "p99",
        kind=None,
        family=None,
        reason="",
        model_version=1,
        trace=traces[number],
    )


@dataclass
class Outcome:
    """What a rule says of weeks: false incidents, and of each attack in how many weeks it was there and was found."""

    benign: int = 0
    false: int = 0
    there: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    lines: Counter[str] = field(default_factory=Counter)

    def add(self, week: Week, groups: Sequence[Sequence[int]]) -> None:
        """Take the groups of alerts that a rule makes of a week, each by its record ids."""
        seen = Counter[str]()
        for group in groups:
            named = Counter(week.attack[record] for record in group)
            if 2 * named["benign"] > len(group):
                self.false += week.number != BEACON
            else:
                seen.update({*named} - {"benign"})
        self.benign += week.benign * (week.number != BEACON)
        attacks = week.attacks if week.number != BEACON else {"beacon"}
        self.there.update(attacks)
        self.found.update(attacks & seen.keys())
        self.lines.update({name: seen[name] for name in attacks})

    @property
    def rate(self) -> float:
        """False incidents per million benign records."""
        return 1e6 * self.false / self.benign

    @property
    def share(self) -> float:
        """Of the attacks that were found, without the bots by the clock."""
        there = {name: n for name, n in self.there.items() if name != "beacon"}
        return sum(self.found[name] for name in there) / sum(there.values())


Rule = Callable[[Week], list[list[int]]]


def grouped(rules: IncidentRules) -> Rule:
    """The records of each incident that counts."""
    whole = replace(rules, keys=10**9)

    def rule(week: Week) -> list[list[int]]:
        found = incidents_of(items(week, rules.gap), whole)
        return [[int(key) for key in each.keys] for each in found if each.severity != "low"]

    return rule


def alone(level: str) -> Rule:
    """Each alert for itself."""

    def rule(week: Week) -> list[list[int]]:
        return [[record] for record in week.records.filter(week.records.column(level)).column("record_id").to_pylist()]

    return rule


def counted(level: str, least: int) -> Rule:
    """The alerts of a source that come without a gap of an hour, if they are so many."""

    def rule(week: Week) -> list[list[int]]:
        alerts = week.records.filter(week.records.column(level)).sort_by("timestamp")
        runs: dict[str, list[list[int]]] = defaultdict(list)
        last: dict[str, int] = {}
        times = alerts.column("timestamp").cast(pa.int64()).to_pylist()
        sources, records = (alerts.column(name).to_pylist() for name in ("src_ip", "record_id"))
        for moment, source, record in zip(times, sources, records, strict=True):
            if source not in last or moment - last[source] > HOUR:
                runs[source].append([])
            runs[source][-1].append(record)
            last[source] = moment
        return [run for each in runs.values() for run in each if len(run) >= least]

    return rule


def detect(seeds: Sequence[int], quiet: int, keep: Path, rules: IncidentRules) -> Iterator[str]:
    """A line for each rule, and one for each attack."""
    compared: dict[str, Rule] = {"incidents, as shipped": grouped(rules)}
    compared |= {f"each alert at {level}": alone(level) for level in LEVELS}
    compared |= {f"{n} alerts of a source at {level}": counted(level, n) for level in LEVELS for n in (2, 3, 5, 10)}
    found: dict[str, list[Outcome]] = {name: [] for name in compared}
    spent, records = 0.0, 0
    for seed in seeds:
        for each in found.values():
            each.append(Outcome())
        for week in weeks(seed, quiet, keep):
            records += len(week.attack)
            for name, rule in compared.items():
                before = time.process_time()
                groups = rule(week)
                spent += (time.process_time() - before) * (name == "incidents, as shipped")
                found[name][-1].add(week, groups)
    yield "| rule | benign records | false incidents | per million | each seed | attacks found | each seed |"
    yield "|---|---|---|---|---|---|---|"
    for name, outcomes in found.items():
        yield _line(name, outcomes)
    yield "\n| attack | weeks | found | lines of an attack that was found |\n|---|---|---|---|"
    yield from _attacks(found["incidents, as shipped"])
    yield f"\n{records:,} records in {spent:.1f} CPU-seconds: {records / spent:,.0f} in a second"


def _line(name: str, outcomes: Sequence[Outcome]) -> str:
    benign, false = (sum(getattr(each, what) for each in outcomes) for what in ("benign", "false"))
    rates = ", ".join(f"{each.rate:,.0f}" for each in outcomes)
    shares = ", ".join(f"{each.share:.2f}" for each in outcomes)
    share = np.mean([each.share for each in outcomes])
    return f"| {name} | {benign:,} | {false:,} | {1e6 * false / benign:,.1f} | {rates} | {share:.3f} | {shares} |"


def _attacks(outcomes: Sequence[Outcome]) -> Iterator[str]:
    there, found, lines = (
        sum((getattr(each, what) for each in outcomes), Counter()) for what in ("there", "found", "lines")
    )
    for name in sorted(there):
        yield f"| {name} | {there[name]} | {found[name]} | {lines[name] / max(1, found[name]):.1f} |"


CHOICES: Final[Mapping[str, Mapping[str, Any]]] = {
    "as shipped": {"UNIT": evidence.UNIT},
    "no allowance for odd hosts": {"PRIOR": dict.fromkeys(evidence.PRIOR, (10**9, 10**9))},
    "hosts and pairs alike": {"PRIOR": dict.fromkeys(evidence.PRIOR, (10, 5))},
    "equal shares of the views": {"SHARES": dict.fromkeys(evidence.SHARES, 1 / 3)},
    "flows of a connection count fully": {"REPEATED": 1.0},
    "further flows of a connection count nothing": {"REPEATED": 0.0},
    "p99 alone": {"LEVELS": ((0.01, 0.5),)},
    "p99 and p99.9": {"LEVELS": ((0.01, 0.3), (0.001, 0.2))},
    "p95, p99 and p99.9": {"LEVELS": ((0.05, 0.4), (0.01, 0.2), (0.001, 0.1))},
}


def choose(seeds: Sequence[int], quiet: int, keep: Path, rules: IncidentRules) -> Iterator[str]:
    """A line for each choice of constants."""
    yield "| constants | benign records | false incidents | per million | each seed | attacks found | each seed |"
    yield "|---|---|---|---|---|---|---|"
    for name, constants in CHOICES.items():
        outcomes = []
        with mock.patch.multiple(evidence, **constants):
            for seed in seeds:
                outcomes.append(Outcome())
                for week in weeks(seed, quiet, keep):
                    outcomes[-1].add(week, grouped(rules)(week))
        yield _line(name, outcomes)


def speed(alerts: int, records: int, rules: IncidentRules) -> str:
    """How long ``flowsculpt incidents`` needs for so many stored alerts among so many stored records of ten files."""
    import os

    random, inside = np.random.default_rng(0), Path.cwd()
    with TemporaryDirectory() as work:
        try:
            os.chdir(work)
            Path("params.yaml").write_bytes(SHIPPED.read_bytes())
            for day in range(10):
                _store(day, records // 10, alerts / records, random)
            before = time.process_time()
            found: list[Incident] = incident_store.read(rules)
            spent = time.process_time() - before
        finally:
            os.chdir(inside)
    return f"{alerts:,} alerts among {records:,} records: {len(found):,} groups in {spent:.1f} CPU-seconds"


def stream(rules: IncidentRules, alerts: int = 100, parts: int = 20) -> str:
    """How long it takes to add a few alerts to an incident that has as many as are remembered."""
    nothing = Sum(1000, 0, 0)
    row = {"src_ip": "a", "dst_ip": "b", "dst_port": 80, "source_file": "", "p_value": 0.001, "score": 1.0, "p99.9": 0}

    def some(begin: int, n: int) -> list[Item]:
        numbers = range(begin, begin + n)
        traces = {number: Trace(number, nothing, nothing, nothing, nothing) for number in numbers}
        return [_item({**row, "row": number, "record_id": number}, 1000 * number, traces) for number in numbers]

    grouping, full = Grouping(rules), int(0.95 * rules.remembered)
    grouping.add(some(0, full))
    taken = [some(full + alerts * part, alerts) for part in range(parts)]
    before = time.process_time()
    for part in taken:
        grouping.add(part)
    spent = (time.process_time() - before) / parts
    return f"{alerts} alerts more of an incident of {full:,}: {spent:.2f} CPU-seconds"


def _store(day: int, n: int, share: float, random: np.random.Generator) -> None:
    """A day of one scanner and 1,000 benign hosts."""
    is_scan = random.random(n) < share * 0.5
    hosts = np.array([f"10.0.{each // 250}.{each % 250}" for each in range(1000)])
    columns: dict[str, Any] = {
        "record_id": np.arange(n, dtype=np.uint64) + day * n,
        "source_file": np.full(n, f"{day}.csv").tolist(),
        "row": np.arange(n),
        "timestamp": pa.array(np.sort(random.integers(day * 24 * HOUR, (day + 1) * 24 * HOUR, n))).cast(
            pa.timestamp("us")
        ),
        "protocol": np.full(n, 6),
        "src_ip": np.where(is_scan, "10.9.9.9", hosts[random.integers(0, 1000, n)]).tolist(),
        "src_port": random.integers(1024, 60_000, n),
        "dst_ip": hosts[random.integers(0, 1000, n)].tolist(),
        "dst_port": random.integers(1, 1024, n),
        "p_value": np.where(is_scan, 0.0005, random.random(n)),
        "score": random.random(n),
        "model_version": np.ones(n, np.int32),
    }
    table = pa.table(
        {name: columns.get(name, pa.nulls(n, kind.type)) for name, kind in zip(SCORED.names, SCORED, strict=True)}
    )
    flagged = table.filter(pa.array(is_scan | (columns["p_value"] < share * 0.5)))
    same = {name: flagged.column(name) for name in SCHEMA.names if name in flagged.column_names}
    m = len(flagged)
    given = {
        "alert": [key_of(each, "00") for each in flagged.column("record_id").to_pylist()],
        "time": flagged.column("timestamp"),
    }
    given |= {
        name: [text] * m for name, text in {"level": "p99", "verdict": "anomalous", "group": "", "model": "m"}.items()
    }
    given |= {name: ["00"] * m for name in ("source_sha256", "model_digest")}
    whole = {name: pa.nulls(m, SCHEMA.field(name).type) for name in SCHEMA.names} | same | given
    for room, rows in ((".", table.cast(SCORED)), ("alerts", pa.table(whole).select(SCHEMA.names).cast(SCHEMA))):
        folder = Path("data/scored") / room
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, folder / f"{day}.parquet")


def main() -> None:
    """Print the table that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("detect", "choose", "speed"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[5, 6, 7, 8])
    parser.add_argument("--quiet", type=int, default=9, help="benign weeks of each seed, beside the one with attacks")
    parser.add_argument("--keep", type=Path, help="folder that judged weeks are kept in")
    given = parser.parse_args()
    rules = config.load(Alerts, SHIPPED).incidents
    if given.what == "speed":
        print(speed(100_000, 1_000_000, rules), stream(rules), sep="\n")
        return
    with TemporaryDirectory() as work:
        keep = given.keep or Path(work)
        keep.mkdir(parents=True, exist_ok=True)
        print("\n".join({"detect": detect, "choose": choose}[given.what](given.seeds, given.quiet, keep, rules)))


if __name__ == "__main__":
    main()

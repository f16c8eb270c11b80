"""Weeks of simulated captures, judged record by record, on which ``benchmarks.incidents`` groups alerts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.context import attacks_of, beacons, records_of, trained
from pipeline.datasets.schema import NO_ATTACK
from pipeline.datasets.synthetic.captures import write_captures
from pipeline.serving.alerts.stretches import Item
from pipeline.serving.alerts.traces import COLUMNS, Tracer
from pipeline.serving.bundle import Bundle

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
        found += [item(row, time_of, traces) for row, time_of in zip(alerts.to_pylist(), times, strict=True)]
    return found


def item(row: Mapping[str, Any], moment: int, traces: Mapping[int, Any]) -> Item:
    """An alert of a judged record, at a moment in microseconds, with what the records around it add."""
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

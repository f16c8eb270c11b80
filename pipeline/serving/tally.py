"""What is counted while a file is scored, and the sample that is kept of it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.artifacts.tables import TableWriter
from pipeline.base.errors import RejectedError
from pipeline.calibration.calibration import Calibration
from pipeline.calibration.decisions import Promise, is_without_context
from pipeline.calibration.prediction import Prediction
from pipeline.datasets.base import count_reasons
from pipeline.datasets.rows import holds_no_record
from pipeline.evaluation import alarm_share
from pipeline.serving.arrivals import Incoming
from pipeline.serving.label_counts import LabelCounts

MOST_WORDS: Final = 10  # unknown ones of a column that a summary names


class Tally:
    """Counts of what was judged."""

    def __init__(self, calibration: Calibration) -> None:
        self.calibration = calibration
        self.decided: Counter[str] = Counter()
        self.verdicts: Counter[str] = Counter(benign=0, unknown=0, anomalous=0)
        self.alarms: Counter[str] = Counter(dict.fromkeys(calibration.thresholds, 0))
        self.labels = LabelCounts(calibration.thresholds)
        self.reasons: Counter[str] = Counter()
        self.unknown: dict[str, Counter[str]] = {}

    def add(self, judged: Prediction, unknown: Mapping[str, Counter[str]] | None = None) -> None:
        """Count what was decided, and the words that the model does not know."""
        self._know_not(unknown or {})
        self.verdicts.update(judged.verdict.tolist())
        self.decided.update(judged.decided)
        for name in self.alarms:
            self.alarms[name] += int(judged.flagged[name].sum())

    def join(self, other: "Tally") -> None:
        """Count what another one has counted, but for rows that could not be read."""
        self._know_not(other.unknown)
        self.verdicts.update(other.verdicts)
        self.decided.update(other.decided)
        self.alarms.update(other.alarms)
        self.labels.join(other.labels)

    def _know_not(self, unknown: Mapping[str, Counter[str]]) -> None:
        for name, words in unknown.items():
            self.unknown.setdefault(name, Counter()).update(words)

    def reject(self, rejected: pa.Table) -> None:
        """Count the rows that could not be read."""
        faulty = rejected.filter(pc.invert(holds_no_record(rejected)))
        count_reasons(self.reasons, faulty.column("reason").to_pylist())

    def require(self, file: Incoming) -> None:
        """Refuse a file of which nothing can be read."""
        if not self.verdicts.total():
            reason, _ = (self.reasons.most_common(1) or [("there is none", 0)])[0]
            raise RejectedError(f"{file.path}: not one of {self.reasons.total():,} rows can be read, because {reason}")

    def counts(self) -> dict[str, Any]:
        """Counts, how many alarms there would be if every record were benign, and how labelled records were judged."""
        promised = self.calibration.promised(self.decided)
        told = {name: expected(parts) for name, parts in promised.items()}
        return {
            "records": self.verdicts.total(),
            **self._contexts(),
            "rejected": self.reasons.total(),
            "verdicts": dict(self.verdicts),
            "unknown_words": {
                name: {"records": words.total(), "words": dict(words.most_common(MOST_WORDS))}
                for name, words in self.unknown.items()
                if words
            },
            "alarms": {name: {"alarms": count, **told.get(name, {})} for name, count in self.alarms.items()},
            **self.labels.counts(),
        }

    def _contexts(self) -> dict[str, int]:
        """How many records were judged with a context and how many without; nothing where the model reads none."""
        if self.calibration.alone is None:
            return {}
        n = self.verdicts.total()
        bare = sum(count for name, count in self.decided.items() if is_without_context(name))
        return {"with_context": n - bare, "without_context": bare}


def expected(parts: Sequence[Promise]) -> dict[str, Any]:
    """How many of benign records raise an alarm, by what each decision promises of those that it judged.

    Returns:
        ``expected``, on average; ``low`` and ``high``, between which the number lies by ``alarm_share.promised_by``;
        and what they follow from, ``promised`` and ``calibrated_on``. Where several decisions judged, ``promised`` is
        the mean share, ``calibrated_on`` the size of the one that judged most, and ``parts`` says all.
    """
    found = alarm_share.beside("", 0, parts)
    most = max(parts, key=lambda part: part.records)
    numbers = {"expected": round(found.expected, 1), "low": found.low, "high": found.high}
    about = {"promised": found.promised, "calibrated_on": most.calibrated_on}
    return {**numbers, **about, **({"parts": [part._asdict() for part in parts]} if len(parts) > 1 else {})}


def promises_of(summaries: Iterable[Mapping[str, Any]], name: str) -> list[Promise]:
    """What was promised of the records of several files at a threshold; nothing where one file was promised nothing."""
    records: Counter[tuple[float, int]] = Counter()
    for summary in summaries:
        told = summary["alarms"][name]
        if "promised" not in told:
            return []
        for part in told.get("parts", [{**told, "records": summary["records"], "share": told["promised"]}]):
            records[part["share"], part["calibrated_on"]] += part["records"]
    return [Promise(n, *of) for of, n in records.items()]


class Kept:
    """The raw columns of a few records, whatever the order and the batches; no more are in memory at once.

    Args:
        size: how many records.
        bound: of others that are kept already: what comes behind it is passed over.
    """

    columns: tuple[str, ...] = ("record_id",)
    first_by: tuple[tuple[str, str], ...] = (("record_id", "ascending"),)

    def __init__(self, size: int, bound: pa.Scalar | None = None) -> None:
        self.size = size
        self.kept: pa.Table | None = None
        self._given = bound

    @property
    def bound(self) -> pa.Scalar | None:
        """The value of the last record that is kept, in its order; None where there is room for more."""
        if self.kept is None or self.kept.num_rows < self.size:
            return self._given
        return self.kept.column(self.first_by[0][0])[-1]

    def add(self, records: pa.Table, score: NDArray[np.float64], columns: Sequence[str]) -> None:
        """Look at the raw ``columns`` of n more records; score is (n,)."""
        found = records.select([*self.columns, *columns]).append_column("score", pa.array(score))
        found = self._coming_first(found)
        if self.kept is not None and not found.num_rows:
            return
        few = self._first(found.unify_dictionaries())
        new = pa.table({name: _plain(few.column(name)) for name in few.column_names})
        self._keep(new)

    def join(self, other: "Kept") -> None:
        """Keep what another one, of other records, has kept, as far as it comes first."""
        if other.kept is None:
            return
        found = self._coming_first(other.kept)
        if self.kept is None or found.num_rows:
            self._keep(found)

    def _keep(self, new: pa.Table) -> None:
        both = new if self.kept is None else pa.concat_tables([self.kept, _like(new, self.kept.schema)])
        self.kept = self._first(both).combine_chunks()

    def _coming_first(self, table: pa.Table) -> pa.Table:
        """The rows that may come before the last one that is kept; all of them where there is room for more."""
        if (bound := self.bound) is None:
            return table
        name, order = self.first_by[0]
        reaches = pc.less_equal if order == "ascending" else pc.greater_equal
        return table.filter(reaches(table.column(name), bound))

    def _first(self, table: pa.Table) -> pa.Table:
        order = pc.sort_indices(table, sort_keys=list(self.first_by))
        return table.take(order.slice(0, self.size))

    def save(self, path: Path) -> None:
        """Write what is kept, as a Parquet file; nothing where no record came."""
        if self.kept is not None:
            with TableWriter(path, self.kept.schema) as writer:
                writer.write(self.kept)


class Sample(Kept):
    """The records of the smallest ids, which are hashes: a random sample."""


class Strongest(Kept):
    """The alerts of the highest scores."""

    columns = ("record_id", "source_file", "row")
    first_by = (("score", "descending"), ("record_id", "ascending"))


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column


def _like(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of ``schema``; empty where the table, say another part of an archive, has none such."""
    has = {*table.schema}
    n = table.num_rows
    columns = [table.column(each.name) if each in has else pa.nulls(n, each.type) for each in schema]
    return pa.table(columns, schema=schema)

"""Alarms among the records of a file whose labels are known: attacks that are found, and benign records that alarm."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.calibration.prediction import Prediction
from pipeline.datasets.schema import UNLABELLED

BENIGN: Final = "benign"
MOST_ATTACKS: Final = 50  # that a summary names, those of the most records


class LabelCounts:
    """Counts records and alarms by label. A record without a label does not count, and no record needs one.

    Args:
        thresholds: names of those whose alarms are counted.
    """

    def __init__(self, thresholds: Iterable[str]) -> None:
        self.records: Counter[str] = Counter()
        self.alarms: dict[str, Counter[str]] = {name: Counter() for name in thresholds}

    def add(self, records: pa.Table, predicted: Prediction) -> None:
        """Count n records by their column ``attack``; nothing where there is none."""
        if "attack" not in records.column_names or not _holds_words(records.schema.field("attack").type):
            return
        attack = records.column("attack").cast(pa.string())
        self.records.update(_counted(attack))
        for name, alarms in self.alarms.items():
            alarms.update(_counted(attack.filter(pa.array(predicted.flagged[name]))))

    def join(self, other: "LabelCounts") -> None:
        """Count what another one has counted."""
        self.records.update(other.records)
        for name, alarms in self.alarms.items():
            alarms.update(other.alarms[name])

    def counts(self) -> dict[str, Any]:
        """Under ``labels``: records and alarms of benign records, of all attacks and of each. Empty without a label."""
        attacks = [name for name, _ in self.records.most_common() if name != BENIGN]
        if not self.records:
            return {}
        by_attack = {name: self._of([name]) for name in attacks[:MOST_ATTACKS]}
        return {"labels": {"benign": self._of([BENIGN]), "attacks": self._of(attacks), "by_attack": by_attack}}

    def _of(self, labels: list[str]) -> dict[str, Any]:
        alarms = {name: sum(counts[label] for label in labels) for name, counts in self.alarms.items()}
        return {"records": sum(self.records[label] for label in labels), "alarms": alarms}


def _holds_words(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _counted(attack: pa.ChunkedArray) -> dict[str, int]:
    """How many records have each label."""
    found = {each["values"]: each["counts"] for each in pc.value_counts(attack).to_pylist()}
    return {name: count for name, count in found.items() if name not in (None, "", UNLABELLED)}

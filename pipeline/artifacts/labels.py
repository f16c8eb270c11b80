"""The verdicts of analysts: a log that only grows, a line of JSON for each verdict on a record.

::

    {"record_id": "0f3c...", "label": "confirmed", "attack": "bot", "by": "ada", "time": "2026-01-31T09:00:00+00:00",
     "note": "", "source_file": "monday.csv", "row": 17, "columns": {"flow_duration": 4.0, ...}}

A line holds the raw columns of the record as well. So the verdict and what it is about are written in one step, and a
record can be learnt when the file that it came in is gone. A later line on the same record overrides an earlier one.
Both stay. The log is under version control like code, so that verdicts can be reviewed and merged line by line.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.artifacts import paths
from pipeline.artifacts.files import append_line, read_lines
from pipeline.base.errors import ArtifactError

CONFIRMED, DISMISSED, BENIGN = "confirmed", "dismissed", "benign"


@dataclass(frozen=True)
class Label:
    """What an analyst says of a record.

    Attributes:
        record_id: of the record.
        attack: name of the attack; ``benign`` where the alert was dismissed.
        by: who says so.
        time: when, in UTC.
        note: why, in free words.
        source_file: of the record, as far as it is known.
        row: of the record in that file.
        columns: its raw values by the name of the column; none where they were not kept.
    """

    record_id: int
    attack: str
    by: str
    time: str
    note: str = ""
    source_file: str = ""
    row: int | None = None
    columns: Mapping[str, float | str] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """``confirmed`` or ``dismissed``."""
        return DISMISSED if self.attack == BENIGN else CONFIRMED

    def line(self) -> dict[str, Any]:
        """The label as JSON can hold it; numbers that are not finite are words."""
        whole = {name: _spelt(value) for name, value in self.columns.items()}
        own = vars(self) | {"record_id": f"{self.record_id:016x}", "columns": whole}
        order = ("record_id", "attack", "by", "time", "note", "source_file", "row", "columns")
        return {"record_id": own["record_id"], "label": self.verdict} | {name: own[name] for name in order}


def append(label: Label) -> None:
    """Add a label to the log, whole or not at all.

    Raises:
        ArtifactError: the log cannot be written.
    """
    append_line(paths.LABELS, label.line())


def read() -> list[Label]:
    """All labels, oldest first; none where there is no log. A torn line is left out.

    Raises:
        ArtifactError: a line is no label.
    """
    return [_label(number, line) for number, line in enumerate(read_lines(paths.LABELS), 1)]


def in_force(labels: Iterable[Label]) -> dict[int, Label]:
    """Record id -> the last label of the record."""
    return {label.record_id: label for label in labels}


def contradictions(labels: Sequence[Label]) -> list[str]:
    """A sentence for each record whose last labels by two people differ; the last one of all holds."""
    by_record: dict[int, dict[str, Label]] = {}
    for label in labels:
        of_record = by_record.setdefault(label.record_id, {})
        of_record.pop(label.by, None)  # so that the last line stands last
        of_record[label.by] = label
    differing = (list(each.values()) for each in by_record.values() if len({a.attack for a in each.values()}) > 1)
    return [f"{said[-1].record_id:016x}: {', '.join(map(_said, said))}; the last one holds" for said in differing]


def _said(label: Label) -> str:
    return f"{label.by} says {label.attack} ({label.time})"


def _spelt(value: float | str) -> float | str:
    return value if isinstance(value, str) or math.isfinite(value) else str(value)


def _id(text: str) -> int:
    if not re.fullmatch("[0-9a-fA-F]{16}", text):
        raise ValueError(f"{text!r} has not 16 hexadecimal digits")
    return int(text, 16)


def _name(attack: Any) -> str:
    if not isinstance(attack, str) or not attack.strip():
        raise ValueError(f"{attack!r} names no attack")
    return attack


def _label(number: int, line: Mapping[str, Any]) -> Label:
    try:
        known = {name: line[name] for name in ("by", "time", "note", "source_file", "row", "columns")}
        label = Label(_id(line["record_id"]), _name(line["attack"]), **known)
        if label.verdict != line["label"] or not isinstance(label.columns, Mapping):
            raise ValueError(f"{line['label']!r} does not fit the attack {label.attack!r}")
    except (KeyError, TypeError, ValueError) as error:
        remedy = "mend or remove it; `git log -p` shows what it was"
        raise ArtifactError(f"{paths.LABELS}, line {number}: is no label ({error!r}); {remedy}") from error
    return label

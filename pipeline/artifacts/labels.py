"""The verdicts of analysts: a log that only grows, a line of JSON for each verdict on a record.

::

    {"record_id": "0f3c...", "label": "confirmed", "attack": "bot", "by": "ada", "time": "2026-01-31T09:00:00+00:00",
     "note": "", "source_file": "monday.csv", "row": 17, "columns": {"flow_duration": 4.0, ...}}

A line holds the raw columns of the record as well. So the verdict and what it is about are written in one step, and a
record can be learnt when the file that it came in is gone. A later line on the same record overrides an earlier one.
Both stay. The log is under version control like code, so that verdicts can be reviewed and merged line by line.

Two labels are no verdict. ``unsure`` says that somebody has looked and cannot say; training passes the record over.
``taken_back`` takes back the last label that the same person gave the same record. What was said before holds again.
"""

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

from pipeline.artifacts import paths
from pipeline.artifacts.files import append_lines, read_lines
from pipeline.base import durable
from pipeline.base.errors import ArtifactError

CONFIRMED, DISMISSED, BENIGN = "confirmed", "dismissed", "benign"
UNSURE, TAKEN_BACK = "unsure", "taken_back"
_VERDICTS: Final = {BENIGN: DISMISSED, UNSURE: UNSURE, TAKEN_BACK: TAKEN_BACK}  # every other name is an attack


@dataclass(frozen=True)
class Label:
    """What an analyst says of a record.

    Attributes:
        record_id: of the record.
        attack: name of the attack; ``benign`` where the alert was dismissed, ``unsure`` where nobody can say, and
            ``taken_back`` where the last label of the same person no longer holds.
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
        """``confirmed``, ``dismissed``, ``unsure`` or ``taken_back``."""
        return _VERDICTS.get(self.attack, CONFIRMED)

    @property
    def decides(self) -> bool:
        """Whether it says what the record is, so that training can learn it."""
        return self.verdict in (CONFIRMED, DISMISSED)

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
    append_all([label])


def append_all(labels: Iterable[Label]) -> None:
    """Add labels to the log in one write. They are on the disk when this returns.

    Raises:
        ArtifactError: the log cannot be written; it is as it was.
    """
    append_lines(paths.LABELS, [label.line() for label in labels])


def read() -> list[Label]:
    """All labels, oldest first; none where there is no log. A torn line is left out.

    Raises:
        ArtifactError: a line is no label.
    """
    return [parsed(number, line) for number, line in enumerate(read_lines(paths.LABELS), 1)]


def tail(log: BinaryIO, inode: int, start: int) -> tuple[list[Label], tuple[int, int], bool]:
    """What was added to the log since it was read last.

    Args:
        log: open to be read.
        inode: of the log that was read last.
        start: how many of its bytes were read.

    Returns:
        The labels of the whole lines that are new; inode and bytes to give next time; and whether the log is another
        one by now, so that these labels are all.

    Raises:
        ArtifactError: a line is no label.
    """
    found = os.fstat(log.fileno())
    again = found.st_ino != inode or found.st_size < start
    start = 0 if again else start
    log.seek(start)
    content, newline, _ = log.read().rpartition(b"\n")
    lines = filter(None, map(durable.parsed, content.split(b"\n")))
    new = [parsed(number, line) for number, line in enumerate(lines, 1)]
    return new, (found.st_ino, start + len(content) + len(newline)), again


def standing(labels: Iterable[Label]) -> list[Label]:
    """The labels that nobody took back, in their order. A line that finds nothing to take back does nothing."""
    kept: dict[int, Label] = {}
    places: dict[tuple[int, str], list[int]] = {}
    for place, label in enumerate(labels):
        own = places.setdefault((label.record_id, label.by), [])
        if label.verdict != TAKEN_BACK:
            kept[place] = label
            own.append(place)
        elif own:
            del kept[own.pop()]
    return [*kept.values()]


def last(labels: Iterable[Label]) -> dict[int, Label]:
    """Record id -> the last label of the record that stands; it may be ``unsure``."""
    return {label.record_id: label for label in standing(labels)}


def in_force(labels: Iterable[Label]) -> dict[int, Label]:
    """Record id -> what training learns of the record: its last label, unless that is ``unsure``."""
    return {number: label for number, label in last(labels).items() if label.decides}


def contradictions(labels: Sequence[Label]) -> list[str]:
    """A sentence for each record whose last labels by two people differ; the last one of all holds.

    Labels that were taken back, and those that say ``unsure``, contradict nobody.
    """
    by_record: dict[int, dict[str, Label]] = {}
    for label in filter(lambda each: each.decides, standing(labels)):
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


def parsed(number: int, line: Mapping[str, Any]) -> Label:
    """The label that the line of this number holds.

    Raises:
        ArtifactError: it holds none.
    """
    try:
        known = {name: line[name] for name in ("by", "time", "note", "source_file", "row", "columns")}
        label = Label(_id(line["record_id"]), _name(line["attack"]), **known)
        if label.verdict != line["label"] or not isinstance(label.columns, Mapping):
            raise ValueError(f"{line['label']!r} does not fit the attack {label.attack!r}")
    except (KeyError, TypeError, ValueError) as error:
        remedy = "mend or remove it; `git log -p` shows what it was"
        raise ArtifactError(f"{paths.LABELS}, line {number}: is no label ({error!r}); {remedy}") from error
    return label

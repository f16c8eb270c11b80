"""The reading report: of each file, what was understood of it and what was not."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.base.escaping import printable
from pipeline.datasets.base import PASSED_OVER, Chunk, count_reasons
from pipeline.datasets.meaning import Meaning, Notes
from pipeline.datasets.rows import holds_no_record
from pipeline.datasets.schema import UNLABELLED

EXAMPLES: Final = 3  # of what could not be read
MOST: Final = 30  # labels and columns that are listed


class Finding:
    """What was found of one file, gathered chunk by chunk."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.meaning = Meaning()
        self.dialect = self.family = ""
        self.aside: tuple[str, ...] = ()
        self.remarks: tuple[str, ...] = ()
        self.labels: Counter[str] = Counter()
        self.attacks: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.passed_over: Counter[str] = Counter()
        self.rejected: list[dict[str, Any]] = []
        self.unread_times = 0
        self.unread: list[str] = []

    def add_records(self, attacks: Mapping[str, int]) -> None:
        """Count records of each attack."""
        self.attacks.update(attacks)

    def add_passed_over(self, reason: str, rows: int) -> None:
        """Count rows that hold no record."""
        count_reasons(self.passed_over, {reason: rows})

    def add_rejected(self, reason: str, rows: int) -> None:
        """Count rows that could not be read."""
        count_reasons(self.reasons, {reason: rows})

    def add_example(self, row: Mapping[str, Any]) -> None:
        """Keep a row that could not be read, if it is among the first."""
        if len(self.rejected) < EXAMPLES:
            self.rejected.append({key: row[key] for key in ("row", "column", "reason")})

    def add_notes(self, notes: Notes) -> None:
        """Take in what the rows showed of their file."""
        self.meaning, self.dialect, self.family = notes.meaning, notes.dialect, notes.family
        self.aside = tuple(dict.fromkeys([*self.aside, *notes.aside]))
        self.remarks = (*self.remarks, *notes.remarks)
        self.labels.update(notes.labels)
        self.unread_times += notes.unread_times
        self.unread = list(dict.fromkeys([*self.unread, *notes.unread]))[:EXAMPLES]

    def report(self) -> dict[str, Any]:
        """Ready for JSON; ``sentences`` says the same to a person."""
        read = self.meaning
        return {
            "records": self.attacks.total(),
            "rows_without_record": dict(self.passed_over.most_common(MOST)),
            "rows_not_read": dict(self.reasons.most_common(MOST)),
            "first_not_read": self.rejected,
            "remarks": list(self.remarks),
            "dialect": self.dialect,
            "family": self.family,
            "extractor": read.extractor and {**asdict(read.extractor), "title": read.extractor.title},
            "units": read.units and asdict(read.units),
            "times": read.times and self._times(),
            "labels": dict(self.labels.most_common(MOST)),
            "attacks": dict(self.attacks.most_common()),
            "columns_not_read": list(self.aside),
            "sentences": self.sentences(),
        }

    def _times(self) -> dict[str, Any]:
        found = self.meaning.times
        if found is None:
            return {}
        shown = {
            name: getattr(found, name) for name in ("sample", "order", "ambiguous", "afternoon", "epoch", "explicit")
        }
        return {**shown, "zone": found.zone.key, "not_read": self.unread_times, "first_not_read": self.unread}

    def sentences(self) -> list[str]:
        """What a person should know, the most important first."""
        read = self.meaning
        said = [f"{self.attacks.total():,} records."]
        said += [f"{_rows(n)} not read: {reason}." for reason, n in self.reasons.most_common(EXAMPLES)]
        rows = [(reason, n) for reason, n in self.passed_over.most_common() if not reason.startswith(PASSED_OVER)]
        said += [f"{_rows(n)} passed over: {reason}." for reason, n in rows[:EXAMPLES]]
        said += self.remarks
        said += [f"Its rows are {self.dialect}."] if self.dialect else []
        said += [f"One header mixes names of several families: {self.family}."] if " + " in self.family else []
        said += [read.extractor.sentence()] if read.extractor else []
        said += [read.units.sentence()] if read.units else []
        said += [read.times.sentence()] if read.times else []
        if self.unread_times:
            cells = ", ".join(map(repr, self.unread))
            said.append(f"Times that cannot be read: {self.unread_times:,}, such as {cells}. Their records have none.")
        said += self._label_sentences()
        if self.aside:
            more = f" and {len(self.aside) - MOST} more" if len(self.aside) > MOST else ""
            said.append(f"Columns that are not read: {', '.join(map(repr, self.aside[:MOST]))}{more}.")
        return said

    def _label_sentences(self) -> list[str]:
        if not self.labels:
            return ["There are no labels."]
        without, benign = self.attacks[UNLABELLED], self.attacks["benign"]
        n = self.attacks.total() - without - benign
        spelt = ", ".join(f"{text!r} ({count:,})" for text, count in self.labels.most_common(EXAMPLES))
        more = f" and {len(self.labels) - EXAMPLES} more" if len(self.labels) > EXAMPLES else ""
        said = f"Labels are {spelt}{more}: {benign:,} records are benign, {n:,} are attacks"
        return [f"{said}, and of {without:,} nothing is known." if without else f"{said}."]


class Findings:
    """What was found of all files."""

    def __init__(self) -> None:
        self.files: dict[str, Finding] = {}

    def add(self, chunk: Chunk) -> None:
        """Take in a chunk."""
        for row in _counted(chunk.records, "attack"):
            self._of(row["source_file"]).add_records({row["attack"]: row["count_all"]})
        without = holds_no_record(chunk.rejected)
        for row in _counted(chunk.rejected.filter(without), "reason"):
            self._of(row["source_file"]).add_passed_over(row["reason"], row["count_all"])
        faulty = chunk.rejected.filter(pc.invert(without))
        for row in _counted(faulty, "reason"):
            self._of(row["source_file"]).add_rejected(row["reason"], row["count_all"])
        for row in faulty.slice(0, EXAMPLES).to_pylist():
            self._of(row["source_file"]).add_example(row)
        if chunk.notes is not None:
            self._of(chunk.notes.source).add_notes(chunk.notes)

    def report(self) -> dict[str, Any]:
        """Name of each file -> its report."""
        return {name: self.files[name].report() for name in sorted(self.files)}

    def extractors(self) -> list[dict[str, str]]:
        """The different tools that wrote the files, where they were looked at."""
        found = {each.meaning.extractor for each in self.files.values() if each.meaning.extractor}
        return [asdict(each) for each in sorted(found, key=lambda each: (each.tool, each.first_packet))]

    def about(self, file: str) -> dict[str, Any]:
        """What later stages may ask of a file: who wrote it, and in which units; nothing where it was not looked at."""
        read = self._of(file).meaning
        found = {"extractor": read.extractor and asdict(read.extractor), "units": read.units and asdict(read.units)}
        return {name: value for name, value in found.items() if value}

    def text(self) -> str:
        """All reports as plain text."""
        parts = (["", *self.files[name].sentences()] for name in sorted(self.files))
        named = zip(sorted(self.files), parts, strict=True)
        return "\n\n".join(
            printable(name) + "\n".join(f"  {printable(line)}" if line else "" for line in lines)
            for name, lines in named
        )

    def _of(self, name: str) -> Finding:
        return self.files.setdefault(name, Finding(name))


def _counted(table: pa.Table, by: str) -> list[dict[str, Any]]:
    """How many rows of each source there are of each kind."""
    counts: list[dict[str, Any]] = table.group_by(["source_file", by]).aggregate([([], "count_all")]).to_pylist()
    return counts


def _rows(n: int) -> str:
    return "1 row is" if n == 1 else f"{n:,} rows are"

"""Counts of what a data set holds, chunk by chunk."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from pipeline.base.errors import DataError, RejectedError
from pipeline.datasets import labelling
from pipeline.datasets.base import Chunk, Dataset, count_reasons
from pipeline.datasets.findings import Findings
from pipeline.datasets.labels import family
from pipeline.datasets.rows import COMMENTED, NO_RECORD, REPEATED, holds_no_record
from pipeline.datasets.schema import UNLABELLED, Column


class Tally:
    """Counts per file, and the first three rejected rows."""

    def __init__(self) -> None:
        self.files: dict[str, Counter[str]] = {}
        self.rejected: Counter[str] = Counter()
        self.without = Counter(dict.fromkeys(NO_RECORD, 0))  # reason -> rows that hold no record
        self.passed_over: Counter[str] = Counter()  # kind -> lines that are none by intent, such as other events
        self.distrusted = 0
        self.examples: list[dict[str, Any]] = []
        self.findings = Findings()
        self.contradictions: dict[str, str] = {}  # file -> a time whose day and month stand the other way round
        self.digest = 0  # of all record ids, whatever their order

    @property
    def records(self) -> int:
        """Records so far."""
        return sum(counts.total() for counts in self.files.values())

    @property
    def attacks(self) -> Counter[str]:
        """Records of each attack so far, ``benign`` and ``unlabelled`` among them."""
        return sum(self.files.values(), Counter[str]())

    def add(self, chunk: Chunk, distrusted: int) -> None:
        """Count the rows of ``chunk``; ``distrusted`` says how many of its records are."""
        for row in chunk.records.group_by(["source_file", "attack"]).aggregate([([], "count_all")]).to_pylist():
            self.files.setdefault(row["source_file"], Counter())[row["attack"]] += row["count_all"]
        self.digest ^= int(np.bitwise_xor.reduce(chunk.records.column("record_id").to_numpy()))
        self.findings.add(chunk)
        if chunk.notes and chunk.notes.contradiction:
            self.contradictions.setdefault(chunk.notes.source, chunk.notes.contradiction)
        without = holds_no_record(chunk.rejected)
        faulty = chunk.rejected.filter(pc.invert(without))
        count_reasons(self.without, chunk.rejected.filter(without).column("reason").to_pylist())
        self.distrusted += distrusted
        self.passed_over.update(chunk.passed_over)
        self.rejected.update(faulty.column("source_file").to_pylist())
        self.examples += faulty.slice(0, 3 - len(self.examples)).to_pylist() if len(self.examples) < 3 else []

    @property
    def blank(self) -> int:
        """Rows that hold no record: blank ones, comments, and those that repeat the header."""
        return self.without.total()

    def shares(self) -> dict[str, tuple[int, int]]:
        """Numbers of rejected, blank and distrusted rows, each with the number that it is a part of."""
        rejected, records = self.rejected.total(), self.records
        return {
            "rejected": (rejected, rejected + records),
            "blank": (self.blank, self.blank + rejected + records),
            "distrusted": (self.distrusted, records),
        }

    def check(self, max_share: float, kept: Path) -> None:
        """Refuse too many rejected rows, but for those that hold no record, and times that contradict each other.

        Args:
            max_share: largest share of rejected rows.
            kept: the file that holds the rejected rows, for the message.

        Raises:
            RejectedError: with the first three rejected rows.
            DataError: day and month change places in a file.
        """
        for file, time in self.contradictions.items():
            raise DataError(
                f"{file}: the time {time!r} has day and month the other way round than the rows before it; read the "
                "parts of the file apart, or set ingest.time_format"
            )
        rejected = self.rejected.total()
        if not self.records or rejected > max_share * (rejected + self.records):
            rows = "; ".join(map(_sentence, self.examples))
            raise RejectedError(
                f"{rejected:,} of {rejected + self.records:,} rows cannot be read, more than the {max_share:g} "
                f"that ingest.max_rejected_share allows ({rows}); all are kept in {kept}"
            )

    def source(self, name: str, dataset: Dataset, further: Mapping[str, str] | None = None) -> dict[str, Any]:
        """What later stages read of the data: its columns, its attacks, and the number of records of each.

        Args:
            name: of the data set.
            dataset: that was read.
            further: attack -> family of attacks beside those of the data set.
        """
        found = {attack for counts in self.files.values() for attack in counts}
        families = dict(dataset.families or {attack: family(attack) for attack in found})
        families |= ({UNLABELLED: UNLABELLED} if UNLABELLED in found else {}) | dict(further or {})
        return {
            "dataset": f"{name} {dataset.title}".strip(),
            **({"extraction": dict(dataset.extraction)} if dataset.extraction else {}),
            **({"label_settings": dict(dataset.label_settings)} if dataset.label_settings else {}),
            "synthetic": dataset.is_synthetic,
            "records": self.records,
            "labels": labelling.found(self.attacks),
            "rejected": self.rejected.total(),
            "blank": self.blank,
            "repeated_headers": self.without[REPEATED],
            "comments": self.without[COMMENTED],
            "distrusted": self.distrusted,
            "passed_over": dict(sorted(self.passed_over.items())),
            "digest": f"{self.digest:016x}",
            "files": {
                file: {
                    "records": counts.total(),
                    "rejected": self.rejected[file],
                    "attacks": dict(counts),
                    **self.findings.about(file),
                }
                for file, counts in sorted(self.files.items())
            },
            "extractors": self.findings.extractors(),
            "families": dict(sorted(families.items())),
            "columns": [_described(column) for column in dataset.columns],
        }


def _described(column: Column) -> dict[str, Any]:
    """A column as JSON: only what differs from the defaults, without its headers in the files."""
    usual = vars(Column(name="", unit=""))
    return {key: value for key, value in vars(column).items() if key != "headers" and value != usual[key]}


def _sentence(example: dict[str, Any]) -> str:
    column = f", column {example['column']!r}" if example["column"] else ""
    return f"{example['source_file']}, row {example['row']}{column}: {example['reason']}"

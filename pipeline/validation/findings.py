"""What the suite found in the records (counts, examples, ranges, duplicates), and whether the line must stop."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.base.errors import ExpectationError
from pipeline.validation.rules import Trust
from pipeline.validation.sample import Sample
from pipeline.validation.shortcuts import Shortcuts

BUDGETED = ("labels", "duplicates", "undefined numbers", "ranges", "identities")  # kinds of rules that count records
MOST_WORDS = 100  # that a report lists of one feature
Value = float | int | str | bool | None
ClassKey = tuple[str, str, str]  # attack, source file, day


@dataclass(frozen=True)
class Example:
    """One offending row: where it lies in the raw files, and what it holds."""

    source_file: str
    row: int
    value: Value

    def __str__(self) -> str:
        return f"({self.source_file}, row {self.row}, {self.value})"


@dataclass(frozen=True)
class Finding:
    """The verdict on one expectation over all batches.

    Attributes:
        expectation: Great Expectations' name of it, say ``expect_column_values_to_be_between``.
        kind: the heading that it belongs to, say ``labels`` or ``ranges``.
        text: what is expected, in words.
        columns: the columns that it is about.
        hard: whether a breach stops the line.
        unexpected: rows that break it (columns, or classes, where it is about those).
        total: rows that were checked.
        allowed: share of them that may break it.
        passed: whether no more than the allowed share breaks it.
        examples: the first three rows that break it.
        detail: what rows cannot show, say which column is missing.
    """

    expectation: str
    kind: str
    text: str
    columns: tuple[str, ...]
    hard: bool
    unexpected: int
    total: int
    allowed: float
    passed: bool
    examples: tuple[Example, ...] = ()
    detail: str = ""

    @property
    def share(self) -> float:
        """Share of the rows that break it."""
        return self.unexpected / self.total if self.total else float(self.unexpected > 0)

    @property
    def subject(self) -> str:
        """The columns by name, shortened where they are many."""
        shown = ", ".join(self.columns[:3])
        return f"{shown} and {len(self.columns) - 3} more" if len(self.columns) > 3 else shown or "table"

    def __str__(self) -> str:
        counted = f"broken by {self.unexpected:,} of {self.total:,} ({self.share:.3%}, allowed {self.allowed:.3%})"
        shown = ", ".join(str(example) for example in self.examples) or self.detail
        return f"{self.expectation}: {self.subject}: {self.text}: {counted}: {shown}"


@dataclass(frozen=True)
class Range:
    """Observed values of a feature; the percentiles are those of a random sample of 20,000 records.

    ``low`` to ``p99`` are None where no value is finite.
    """

    low: float | None
    high: float | None
    p01: float | None
    p25: float | None
    p50: float | None
    p75: float | None
    p99: float | None
    nulls: int
    infinite: int


@dataclass(frozen=True)
class Duplicates:
    """Records that are equal in all features.

    Attributes:
        repeated: records that repeat an earlier one.
        groups: distinct records that occur more than once.
        members: records in those groups, the first of each included.
        across_files: records in groups that span several source files.
        disagreeing_labels: records in groups where y differs: label noise that no model can learn.
        disagreeing_attacks: records in groups where the attack differs.
        by_attack: ``repeated`` for each attack.
        disagreeing_by_attack: ``disagreeing_attacks`` for each attack.
    """

    repeated: int = 0
    groups: int = 0
    members: int = 0
    across_files: int = 0
    disagreeing_labels: int = 0
    disagreeing_attacks: int = 0
    by_attack: Mapping[str, int] = field(default_factory=dict)
    disagreeing_by_attack: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Findings:
    """All that the suite found.

    Attributes:
        rows: records that were checked.
        results: one finding for each expectation, in the order of the suite.
        ranges: by feature that is a number.
        words: by feature that is a word, the number of records that have each, the most frequent first; "" for none.
        duplicates: the audit of exact duplicates.
        classes: number of records by attack, source file and day.
        shortcuts: the shortcut audit.
        suite: the suite as Great Expectations writes it.
        trust: how far each record can be trusted, and the rules that it breaks.
        sample: the records of each class that the shortcut audit looked at.
    """

    rows: int
    results: tuple[Finding, ...]
    ranges: Mapping[str, Range]
    words: Mapping[str, Mapping[str, int]]
    duplicates: Duplicates
    classes: Mapping[ClassKey, int]
    shortcuts: Shortcuts
    suite: Mapping[str, Any]
    trust: Trust = field(default_factory=Trust, compare=False)
    sample: Sample = field(default_factory=Sample, compare=False)

    @property
    def breaches(self) -> tuple[Finding, ...]:
        """Hard expectations that failed."""
        return tuple(finding for finding in self.results if finding.hard and not finding.passed)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Soft expectations that failed."""
        return tuple(finding for finding in self.results if not finding.hard and not finding.passed)

    @property
    def attacks(self) -> dict[str, int]:
        """Number of records by attack, the most frequent first."""
        total: Counter[str] = Counter()
        for (attack, _, _), number in self.classes.items():
            total[attack] += number
        return dict(total.most_common())

    def check(self) -> None:
        """Stop here if a hard expectation is breached.

        Raises:
            ExpectationError: names the expectation, the column, the count and three offending rows.
        """
        if not self.breaches:
            return
        first, *others = self.breaches
        shown = ", ".join(f"{other.subject} ({other.text})" for other in others[:5])
        are = "expectation is" if len(others) == 1 else "expectations are"
        raise ExpectationError(f"{first}" + (f"; {len(others)} more hard {are} breached: {shown}" if others else ""))

    def broken_at(self, limit: float) -> dict[str, list[str]]:
        """The hard rules, and the soft ones, that more than this share of the records break."""
        over = [found for found in self.results if found.kind in BUDGETED and found.share > limit]
        return {
            name: [f"{found.subject}: {found.text}" for found in over if found.hard is hard]
            for name, hard in (("hard", True), ("soft", False))
        }

    def counts(self, by: int) -> dict[str, dict[str, int]]:
        """Records of each attack by source file (``by`` 1) or by day (2)."""
        table: dict[str, dict[str, int]] = {}
        for key, number in sorted(self.classes.items()):
            row = table.setdefault(key[by], {})
            row[key[0]] = row.get(key[0], 0) + number
        return table

    def summary(self) -> dict[str, Any]:
        """One page of JSON: what was checked, what failed, the duplicates, the classes."""
        return {
            "rows": self.rows,
            "passed": not self.breaches,
            "expectations": len(self.results),
            "failed_hard": len(self.breaches),
            "failed_soft": len(self.warnings),
            "findings": [_plain(finding) for finding in self.results if finding.unexpected],
            "duplicates": asdict(self.duplicates),
            "attacks": self.attacks,
            "attacks_by_source_file": self.counts(by=1),
            "attacks_by_day": self.counts(by=2),
        }

    def intervals(self) -> dict[str, dict[str, Any]]:
        """Observed ranges by feature, or counts of its words, ready for JSON."""
        counted = {name: _most(counts) for name, counts in self.words.items()}
        return {name: asdict(observed) for name, observed in self.ranges.items()} | counted


def _most(counts: Mapping[str, int]) -> dict[str, Any]:
    words = {word: number for word, number in counts.items() if word}
    most = dict(list(words.items())[:MOST_WORDS])
    others = sum(words.values()) - sum(most.values())
    return {"words": len(words), "records": most, "other_records": others, "nulls": counts.get("", 0)}


def _plain(finding: Finding) -> dict[str, Any]:
    return asdict(finding) | {"columns": list(finding.columns), "share": finding.share}

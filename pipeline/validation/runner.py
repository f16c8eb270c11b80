"""Counts the rows that break each rule, batch after batch, and lets Great Expectations judge the sums.

A rule is an expectation of Great Expectations. Running one on a batch takes 10 ms, whatever the batch holds, and its
limit would apply to that batch alone. So ``rules.broken`` finds the rows that break a rule, and Great Expectations
gets one frame at the end: a row for each rule, with the number of records that break it and the number that may.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.base.errors import ExpectationError
from pipeline.validation.findings import Example, Finding
from pipeline.validation.rules import Broken, Mask, broken, described
from pipeline.validation.suite import Expectation, Suite, great_expectations

EXAMPLES = 3
Look = Callable[[Sequence[str], int], Example]  # columns, position in the frame -> what stands there


@dataclass
class Count:
    """How many of the rows so far break a rule."""

    rule: Expectation
    unexpected: int = 0
    total: int = 0
    examples: tuple[Example, ...] = ()
    detail: str = ""

    @property
    def allowed(self) -> float:
        """How many of these rows may break it; the margin is that of rounding."""
        return float(self.rule.meta["allowed"]) * self.total * (1 + 1e-12)

    def add(self, rows: Mask, look: Look | None, detail: str) -> None:
        """Take in the rows of a frame that break the rule, and show the first of them."""
        self.unexpected += int(rows.sum())
        self.detail = self.detail or detail
        if look is not None:
            first = np.flatnonzero(rows)[: EXAMPLES - len(self.examples)]
            self.examples += tuple(look(self.rule.meta["columns"], int(row)) for row in first)

    def finding(self, passed: bool) -> Finding:
        """The verdict."""
        meta = self.rule.meta
        return Finding(
            expectation=self.rule.expectation_type,
            kind=meta["kind"],
            text=self.rule.description,
            columns=tuple(meta["columns"]),
            hard=meta["hard"],
            unexpected=self.unexpected,
            total=self.total,
            allowed=meta["allowed"],
            passed=passed,
            examples=self.examples,
            detail=self.detail,
        )


class Counts:
    """The counts of all rules of a suite."""

    def __init__(self, suite: Suite) -> None:
        self._counts = [Count(rule) for rule in suite.expectations]

    def add(self, scope: str, frame: pd.DataFrame, look: Look | None = None, detail: str = "") -> list[Broken]:
        """Count the rows of a frame that break the rules of a scope.

        Args:
            scope: see ``suite.py``.
            frame: the columns that the rules of the scope are about.
            look: finds the examples.
            detail: what stands in a finding without examples.

        Returns:
            The rules that rows of the frame break.
        """
        hurt = []
        for count in self._counts:
            if count.rule.meta["scope"] == scope:
                rows = broken(count.rule, frame)
                count.total += len(rows)
                if rows.any():
                    count.add(rows, look, detail)
                    hurt.append(described(count.rule, rows))
        return hurt

    def findings(self) -> tuple[Finding, ...]:
        """The verdicts, in the order of the suite."""
        sums = {
            "unexpected": [count.unexpected for count in self._counts],
            "allowed": [count.allowed for count in self._counts],
        }
        failed = over_limit(pd.DataFrame(sums))
        return tuple(count.finding(passed=place not in failed) for place, count in enumerate(self._counts))


def over_limit(counts: pd.DataFrame) -> set[int]:
    """The places of the rows in which ``unexpected`` exceeds ``allowed``, by Great Expectations.

    Raises:
        ExpectationError: if Great Expectations could not judge the frame.
    """
    gx = great_expectations()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    within = gx.expectations.ExpectColumnPairValuesAToBeGreaterThanB(
        column_A="allowed", column_B="unexpected", or_equal=True
    )
    batch = context.data_sources.pandas_default.read_dataframe(counts)
    found = batch.validate(within, result_format="COMPLETE")
    if not found.success and not found.result:
        raise ExpectationError(f"the counts could not be judged: {found.exception_info}")
    return set(found.result.get("unexpected_index_list") or ())

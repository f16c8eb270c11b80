"""Great Expectations over batch after batch: counts are summed, and budgets judged on the sums."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.base.errors import ExpectationError
from pipeline.validation.findings import Example, Finding
from pipeline.validation.suite import Expectation, Suite, great_expectations

EXAMPLES = 3
Look = Callable[[Sequence[str], int], Example]  # columns, position in the frame -> what stands there
FORMAT = {"result_format": "BASIC", "partial_unexpected_count": EXAMPLES}


@dataclass
class Tally:
    """What an expectation has seen so far."""

    expectation: Expectation
    unexpected: int = 0
    total: int = 0
    examples: tuple[Example, ...] = ()
    detail: str = ""

    def finding(self) -> Finding:
        """The verdict."""
        meta = self.expectation.meta
        return Finding(
            expectation=self.expectation.expectation_type,
            kind=meta["kind"],
            text=self.expectation.description,
            columns=tuple(meta["columns"]),
            hard=meta["hard"],
            unexpected=self.unexpected,
            total=self.total,
            allowed=meta["allowed"],
            passed=self.unexpected <= meta["allowed"] * self.total * (1 + 1e-12),
            examples=self.examples,
            detail=self.detail,
        )


class Judge:
    """Runs the expectations of a suite, scope by scope, in a context that lives in memory only."""

    def __init__(self, suite: Suite) -> None:
        context = great_expectations().get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False}
        asset = context.data_sources.add_pandas("records").add_dataframe_asset("frame")
        self._batch = asset.add_batch_definition_whole_dataframe("frame")
        self._tallies = {_key(expectation): Tally(expectation) for expectation in suite.expectations}

    def judge(self, scope: str, frame: pd.DataFrame, look: Look | None = None, detail: str = "") -> list[Expectation]:
        """Add the verdicts on ``frame``; ``look`` finds the examples, ``detail`` stands where there are none.

        Returns:
            The expectations that rows of the frame break.

        Raises:
            ExpectationError: if Great Expectations could not judge the frame.
        """
        doubtful = []
        for tally in self._tallies.values():
            if tally.expectation.meta["scope"] != scope:
                continue
            if _surely_kept(tally.expectation, frame):
                tally.total += len(frame)
            else:
                doubtful.append(tally.expectation)
        hurt = []
        for result in self._validate(doubtful, frame):
            tally = self._tallies[_key(result.expectation_config)]
            unexpected, total = _count(result.result)
            tally.unexpected += unexpected
            tally.total += total
            if unexpected:
                hurt.append(tally.expectation)
                tally.detail = tally.detail or detail
                _exemplify(tally, frame, result, look)
        return hurt

    def findings(self) -> tuple[Finding, ...]:
        """The verdicts on all frames so far, in the order of the suite."""
        return tuple(tally.finding() for tally in self._tallies.values())

    def _validate(self, expectations: Sequence[Expectation], frame: pd.DataFrame) -> Sequence[Any]:
        if not expectations:
            return ()
        suite = great_expectations().ExpectationSuite(name="doubtful", expectations=list(expectations))
        if all(hasattr(expectation, "column") for expectation in expectations):
            frame = frame[list(dict.fromkeys(expectation.column for expectation in expectations))]
        results: Sequence[Any] = (
            self._batch.get_batch({"dataframe": frame}).validate(suite, result_format=FORMAT).results
        )
        for result in results:
            if not result.success and not result.result:
                raise ExpectationError(f"{result.expectation_config.type} could not be judged: {result.exception_info}")
        return results


def _surely_kept(expectation: Expectation, frame: pd.DataFrame) -> bool:
    """Whether no value of the column can break the expectation, by its bounds and the column's extremes alone.

    Great Expectations needs about 10 ms for each expectation on each batch, whatever it holds; nearly all are kept.
    """
    kind = type(expectation).__name__
    if kind == "ExpectColumnValuesToNotBeNull":
        return not frame[expectation.column].hasnans
    if kind != "ExpectColumnValuesToBeBetween" or frame.empty:
        return False
    values = frame[expectation.column].to_numpy()
    low, high = expectation.min_value, expectation.max_value
    return (low is None or bool(values.min() >= low)) and (high is None or bool(values.max() <= high))  # NaN: False


def _exemplify(tally: Tally, frame: pd.DataFrame, result: Any, look: Look | None) -> None:
    column = result.expectation_config.kwargs.get("column")
    wanted = EXAMPLES - len(tally.examples)
    if look is None or column is None or not wanted or "partial_unexpected_list" not in result.result:
        return
    # A value that is unexpected once is so wherever it stands: the first rows with these values are the first breaches.
    values = result.result["partial_unexpected_list"]
    hit = frame[column].isna() if any(pd.isna(value) for value in values) else frame[column].isin(values)
    rows = np.flatnonzero(hit)[:wanted]
    tally.examples += tuple(look(tally.expectation.meta["columns"], int(row)) for row in rows)


def _count(result: dict[str, Any]) -> tuple[int, int]:
    """(unexpected, total) of rows, or of columns or classes where the expectation is about those."""
    if "element_count" in result:
        return result["unexpected_count"], result["element_count"]
    if "missing_count" in result:  # distinct values
        return result["missing_count"], 2
    return len(result.get("details", {}).get("mismatched", ())), max(len(result["observed_value"]), 1)


def _key(expectation: Any) -> tuple[str, ...]:
    return (expectation.meta["kind"], expectation.description, *expectation.meta["columns"])

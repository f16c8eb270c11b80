"""Two floats that cut the line of scores into benign, unknown and anomalous."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.base.errors import DataError, SplitError

VERDICTS: Final = ("benign", "unknown", "anomalous")


class Interval(TypedDict):
    """An interval of scores; a ``None`` at the left is minus infinity, at the right plus infinity.

    ``closed`` names the side that belongs to the interval: ``right`` or ``neither``.
    """

    left: float | None
    right: float | None
    closed: str


Intervals = dict[str, Interval | None]


@dataclass(frozen=True)
class Thresholds:
    """A partition of the scores: benign <= low < unknown <= high < anomalous.

    Attributes:
        low: the highest score that is benign; may be infinite.
        high: the highest score that is not anomalous; may be infinite.

    Raises:
        ValueError: if one of them is NaN, or low > high.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.high:  # also refuses NaN
            raise ValueError(f"Thresholds: needs low <= high, given low={self.low}, high={self.high}")

    def verdict(self, scores: ArrayLike) -> NDArray[np.str_]:
        """(n,) verdicts, each one of ``benign``, ``unknown``, ``anomalous``.

        Raises:
            DataError: if a score is NaN, which no interval holds.
        """
        values = without_nan(scores, "verdict")
        above = (values > self.low).astype(np.intp) + (values > self.high)
        return np.array(VERDICTS)[above]

    def intervals(self) -> Intervals:
        """The three intervals in JSON's own types; one that holds no real number is ``None``."""
        edges = (-math.inf, self.low, self.high, math.inf)
        return {name: _interval(*edges[i : i + 2]) for i, name in enumerate(VERDICTS)}

    @classmethod
    def from_intervals(cls, intervals: Mapping[str, Interval | None]) -> "Thresholds":
        """The inverse of ``intervals()``.

        Raises:
            ValueError: if a verdict is missing, or the intervals do not meet.
        """
        if set(intervals) != set(VERDICTS):
            raise ValueError(f"Thresholds: needs the intervals {', '.join(VERDICTS)}, given {', '.join(intervals)}")
        benign, anomalous = intervals["benign"], intervals["anomalous"]
        low = -math.inf if benign is None else _number(benign["right"], math.inf)
        high = math.inf if anomalous is None else _number(anomalous["left"], -math.inf)
        thresholds = cls(low, high)
        if thresholds.intervals() != dict(intervals):
            raise ValueError(f"Thresholds: the intervals do not cut the line in three: {dict(intervals)}")
        return thresholds


@dataclass(frozen=True, eq=False)
class Analysis:
    """What a strategy saw in the scores, to be drawn.

    Attributes:
        edges: (k + 1,) ascending edges of its histogram; a score beyond them is counted in the bin at that end.
        tail: (m, 2) points (score, density) of the tail that it fitted; the density is one of all scores, so that the
            tail holds the share of the scores that lie in it. m = 0 where no tail was fitted.
    """

    edges: NDArray[np.float64]
    tail: NDArray[np.float64]


class Strategy(Protocol):
    """Built from settings, then called with (n,) scores: where to cut them."""

    def __call__(self, scores: ArrayLike, previous: Thresholds | None = None) -> Thresholds:
        """Thresholds fitted on ``scores``, (n,).

        Args:
            scores: (n,), higher = more anomalous.
            previous: the thresholds of the last update of a training; None at the first, and outside of trainings.

        Raises:
            DataError: if a score is NaN, or if all are infinite and the strategy reads a distribution from them.
            SplitError: if there are no scores, or fewer than what the settings ask for can be read from.
        """
        ...

    def analysis(self, scores: ArrayLike, previous: Thresholds | None = None) -> Analysis:
        """What the thresholds of ``scores``, (n,), are read from; arguments and errors as above."""
        ...


def without_nan(scores: ArrayLike, who: str) -> NDArray[np.float64]:
    """The scores as (n,) float64, so that a comparison with a threshold is never rounded to the scores' own type.

    Raises:
        DataError: if one of them is NaN, with how many and the first position.
    """
    values = np.asarray(scores, dtype=np.float64)
    missing = np.isnan(values)
    if missing.any():
        raise DataError(
            f"{who}: {missing.sum()} of {values.size} scores are NaN, the first at position {missing.argmax()}; "
            "a score must be a number"
        )
    return values


def reference(scores: ArrayLike, who: str) -> NDArray[np.float64]:
    """The scores that a strategy is fitted on, as (n,) float64 with n > 0 and no NaN.

    Raises:
        SplitError: if there are none.
        DataError: if one of them is NaN.
    """
    values = without_nan(scores, who)
    if values.size == 0:
        raise SplitError(f"{who}: no scores to fit thresholds on; give it at least one calibration record")
    return values


def finite(scores: ArrayLike, who: str) -> NDArray[np.float64]:
    """The scores that have a place in a histogram, as (n,) float64 with n > 0, ascending.

    Infinite ones have none; nor have those beyond 1e300, the differences of which would overflow. They are judged by
    the thresholds that the others give.

    Raises:
        SplitError: if there are no scores.
        DataError: if one of them is NaN, or none is finite.
    """
    values = reference(scores, who)
    kept = np.sort(values[np.abs(values) <= 1e300])
    if kept.size == 0:
        raise DataError(
            f"{who}: all {values.size} scores are infinite, so they have no distribution to read thresholds from; "
            "the model that gave them has not converged"
        )
    return kept


def _interval(left: float, right: float) -> Interval | None:
    if left == right:
        return None
    return {
        "left": None if math.isinf(left) else left,
        "right": None if math.isinf(right) else right,
        "closed": "neither" if right == math.inf else "right",
    }


def _number(bound: float | None, infinity: float) -> float:
    return infinity if bound is None else float(bound)

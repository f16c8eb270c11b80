"""Two floats that cut the line of scores into benign, unknown and anomalous."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.errors import DataError, SplitError

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


class Strategy(Protocol):
    """Built from settings, then called with (n,) scores: where to cut them."""

    def __call__(self, scores: ArrayLike) -> Thresholds:
        """Thresholds fitted on ``scores``, (n,).

        Raises:
            DataError: if a score is NaN.
            SplitError: if there are no scores.
        """
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

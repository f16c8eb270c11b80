"""How surprising a score is, in a unit that all scores share."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.base.errors import DataError, SplitError

Floats = NDArray[np.float64]

KNOTS: Final = 513


@dataclass(frozen=True)
class Surprisal:
    """Surprise of a score: -log P(a benign score is as high), continuous and strictly increasing over all reals.

    Between the knots, which are quantiles of the calibration scores, -log of the empirical survival is interpolated
    (a tie counts one half, so the survival is neither 0 nor 1). Above the last knot u, the tail is exponential::

        surprise(s) = surprise(u) + (s - u) / E[S - u | S > u]

    Below the first knot v it falls towards 0, and never rewards a benign look without bound::

        surprise(s) = surprise(v) / (1 + (v - s) / scale)

    Attributes:
        knots: (k,) ascending scores.
        surprises: (k,) surprise at each knot, ascending and positive.
        above: mean excess above the last knot, in units of the score.
        below: scale of the fall below the first knot, in units of the score.
    """

    knots: Floats
    surprises: Floats
    above: float
    below: float

    @classmethod
    def fit(cls, scores: ArrayLike, exceeding: int = 20) -> Self:
        """The tail of benign calibration scores, (n,).

        Half of the knots are even in rank, half in the logarithm of the rank from the top, so that a heavy tail is
        followed to where the scores end. The exponential begins below the ``exceeding`` highest scores, or below the
        higher half of a few. Constant scores give one knot, and their magnitude as the scale on both sides.

        Raises:
            SplitError: if there are no scores.
            DataError: if a score is NaN or infinite.
        """
        values = np.sort(finite_scores(scores))
        n = values.size
        tail = min(exceeding, n // 2)
        body = np.linspace(0, n - 1 - tail, KNOTS // 2 + 1)
        top = n - 1 - np.geomspace(max(n // 2, 1), max(tail, 1), KNOTS // 2)  # surprise grows by equal steps
        at = np.concatenate([body, top]).round().clip(min=0).astype(np.intp)
        knots = np.unique(values[at])
        higher = n - np.searchsorted(values, knots, side="right")
        tied = n - np.searchsorted(values, knots, side="left") - higher
        excess = values[values > knots[-1]] - knots[-1]
        varied = values[0] < values[-1]  # the deviation of a constant may be rounded to more than 0
        spread = (float(values.std()) if varied else 0.0) or max(1.0, float(np.abs(values[0])))
        above = float(excess.mean()) if excess.size else spread
        below = float(np.median(values) - values[0]) or spread
        least = 1e-9 * spread  # a scale of nearly 0 would overflow in the division
        return cls(knots, -np.log((higher + tied / 2) / n), max(above, least), max(below, least))

    def surprise(self, scores: ArrayLike) -> Floats:
        """(n,) surprise, at least 0, of ``scores``, (n,)."""
        s = np.asarray(scores, dtype=np.float64)
        first, last = self.knots[0], self.knots[-1]
        inside = np.interp(s, self.knots, self.surprises)
        over = np.maximum(s - last, 0) / self.above
        under = np.maximum(first - s, 0) / self.below
        surprise: Floats = np.where(s < first, self.surprises[0] / (1 + under), inside + over)
        return surprise


def finite_scores(scores: ArrayLike) -> Floats:
    """(n,) benign calibration scores as numbers.

    Raises:
        SplitError: if there are none.
        DataError: if one is NaN or infinite.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.size == 0:
        raise SplitError("calibration: no benign records to calibrate on; enlarge the calibration split")
    broken = ~np.isfinite(values)
    if broken.any():
        raise DataError(
            f"calibration: {broken.sum()} of {values.size} benign scores are NaN or infinite, the first at position "
            f"{broken.argmax()}; the model that gave them has not converged"
        )
    return values

"""Thresholds at two percentiles of the scores."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.calibration.thresholds.base import Analysis, Thresholds, finite, reference
from pipeline.calibration.thresholds.knuth import Histogram


class Percentile:
    """``low`` and ``high`` percent of the scores lie at or below the two thresholds, ties aside.

    Percentiles interpolate linearly between order statistics, as in Chhetri, Thapa, Chen, "Latent Sculpting"
    (arXiv 2512.22179, 2025); beside an infinite score the next higher order statistic is taken.

    Args:
        low: percentile of the threshold between benign and unknown, 0 to 100.
        high: percentile of the threshold between unknown and anomalous, low to 100.

    Raises:
        ValueError: if they are not in 0 <= low <= high <= 100.

    Example:
        >>> Percentile(low=50, high=90)([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0])
        Thresholds(low=5.0, high=9.0)
    """

    def __init__(self, low: float = 95.0, high: float = 99.0) -> None:
        if not 0 <= low <= high <= 100:
            raise ValueError(f"needs 0 <= low <= high <= 100, given low={low}, high={high}")
        self.low = low
        self.high = high

    def __call__(self, scores: ArrayLike, previous: Thresholds | None = None) -> Thresholds:
        """Thresholds at the two percentiles of ``scores``, (n,), whatever the ``previous`` ones were.

        Raises:
            DataError: if a score is NaN.
            SplitError: if there are no scores.
        """
        low, high = percentiles(scores, [self.low, self.high])
        return Thresholds(float(low), float(high))

    def analysis(self, scores: ArrayLike, previous: Thresholds | None = None) -> Analysis:
        """The histogram of ``scores``, (n,).

        Raises:
            DataError: if a score is NaN, or none is finite.
            SplitError: if there are no scores.
        """
        return Analysis(Histogram.fit(finite(scores, "percentile")).edges, np.empty((0, 2)))

    def __repr__(self) -> str:
        return f"Percentile(low={self.low}, high={self.high})"


def percentiles(scores: ArrayLike, levels: Sequence[float]) -> NDArray[np.float64]:
    """(k,) percentiles of ``scores``, (n,), at ascending ``levels``, (k,), in percent.

    Raises:
        DataError: if a score is NaN.
        SplitError: if there are no scores.
    """
    values = reference(scores, "percentile")
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf, mended in the next line
        linear = np.percentile(values, levels)
    at = np.where(np.isnan(linear), np.percentile(values, levels, method="higher"), linear)
    return np.maximum.accumulate(at)  # rounding must not swap two levels

"""Two rules for users of the library: thresholds chosen by hand, and a mixture of confidence rules."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.calibration.confidence import Confidence
from pipeline.calibration.thresholds.base import Analysis, Thresholds, finite, reference
from pipeline.calibration.thresholds.knuth import Histogram


class Manual:
    """Thresholds that a person has chosen, the same at every update.

    Args:
        low: the highest score that is benign.
        high: the highest score that is not anomalous; None means the same as ``low``, so that nothing is unknown.

    Raises:
        ValueError: if one of them is NaN, or low > high.

    Example:
        >>> Manual(0.2, 0.5)([0.1, 0.3, 0.9])
        Thresholds(low=0.2, high=0.5)
    """

    def __init__(self, low: float, high: float | None = None) -> None:
        self._thresholds = Thresholds(float(low), float(low if high is None else high))

    def __call__(self, scores: ArrayLike, previous: Thresholds | None = None) -> Thresholds:
        """The chosen thresholds, whatever the ``scores``, (n,), are.

        Raises:
            DataError: if a score is NaN.
            SplitError: if there are no scores.
        """
        reference(scores, "manual")
        return self._thresholds

    def analysis(self, scores: ArrayLike, previous: Thresholds | None = None) -> Analysis:
        """The histogram of ``scores``, (n,), for a figure; errors as above, and if no score is finite."""
        return Analysis(Histogram.fit(finite(scores, "manual")).edges, np.empty((0, 2)))

    def __repr__(self) -> str:
        return f"Manual(low={self._thresholds.low}, high={self._thresholds.high})"


class Mixture:
    """The weighted mean of any number of confidence rules: sum of w_k c_k / sum of w_k.

    Args:
        parts: (weight, rule) of each; a weight is at least 0, and one of them is above 0.

    Raises:
        ValueError: if there is no part, or a weight is outside its limits.

    Example:
        >>> Mixture((2, Binary()), (1, Ecdf()), (1, my_rule))
    """

    def __init__(self, *parts: tuple[float, Confidence]) -> None:
        weights = [float(weight) for weight, _ in parts]
        if not all(0 <= weight < np.inf for weight in weights) or not sum(weights) > 0:
            raise ValueError(f"Mixture: needs weights of at least 0, one of them above 0, given {weights}")
        self.weights: Sequence[float] = [weight / sum(weights) for weight in weights]
        self.rules: Sequence[Confidence] = [rule for _, rule in parts]

    def __call__(self, scores: ArrayLike, thresholds: Thresholds) -> NDArray[np.float32]:
        """(n,) confidence of ``scores``, (n,).

        Raises:
            DataError: if a score is NaN.
        """
        confidences = [np.asarray(rule(scores, thresholds), dtype=np.float64) for rule in self.rules]
        return np.average(confidences, axis=0, weights=self.weights).clip(-1, 1).astype(np.float32)

    def __repr__(self) -> str:
        parts = ", ".join(f"({weight:g}, {rule!r})" for weight, rule in zip(self.weights, self.rules, strict=True))
        return f"Mixture({parts})"

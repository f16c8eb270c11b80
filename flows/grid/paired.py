"""Who is ahead where two configurations were tried on the same splits."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev


@dataclass(frozen=True)
class Difference:
    """The mean of paired differences, with an interval.

    Attributes:
        n: how many pairs.
        mean: of the differences.
        low: lower end of the interval; None for a single pair.
        high: its upper end.
    """

    n: int
    mean: float
    low: float | None
    high: float | None

    @property
    def sign(self) -> int:
        """1 where the first is ahead, -1 where the second is, 0 where the interval holds both."""
        if self.low is None or self.high is None:
            return 0
        return (self.low > 0) - (self.high < 0)


def difference(first: Sequence[float], second: Sequence[float], test_to_train: float, level: float) -> Difference:
    """What the first has more than the second, over splits drawn from the same records.

    The corrected resampled t interval: splits share records, so that the plain variance of the mean, s^2 / n, is too
    small; s^2 (1 / n + test_to_train) takes its place. It speaks of other splits of these records, not of others.

    Source: Nadeau and Bengio, "Inference for the Generalization Error" (Machine Learning 52, 2003), section 3.

    Args:
        first: (n,) a figure of one configuration for each split.
        second: (n,) that of another on the same splits.
        test_to_train: size of a test split over that of the training split.
        level: of the interval.

    Raises:
        ValueError: there is no pair, or not as many of one as of the other.
    """
    gaps = [a - b for a, b in zip(first, second, strict=True)]
    if not gaps:
        raise ValueError("a difference needs one pair at least")
    mean = fmean(gaps)
    if len(gaps) == 1:
        return Difference(1, mean, None, None)
    from scipy.stats import t

    half = float(t.ppf(0.5 + level / 2, len(gaps) - 1)) * stdev(gaps) * math.sqrt(1 / len(gaps) + test_to_train)
    return Difference(len(gaps), mean, mean - half, mean + half)

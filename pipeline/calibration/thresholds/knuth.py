"""A histogram with the number of bins that the scores themselves support."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

# A far outlier, or an atom that most scores share, makes every finer grid look better (Knuth 2006 on digitized data).
# Without a cap the bins would be as many as memory holds.
MOST_BINS: Final = 500
FEWEST_SCORES: Final = 4  # a bin, on average: where most bins are empty, the posterior is flat, and its top is chance
FENCE: Final = 10.0  # interquartile ranges: 13 deviations beyond the quartile of a Gaussian, 1 in 250,000 exponentials


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of scores in bins of equal width.

    Attributes:
        edges: (k + 1,) ascending.
        inside: (k,) scores between the first and the last edge.
        counts: (k,) all scores: those beyond an end are added to the bin there.
    """

    edges: NDArray[np.float64]
    inside: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def fit(cls, scores: NDArray[np.float64], fence: float | None = FENCE) -> Self:
        """The histogram of finite, ascending ``scores``, (n,), n > 0; constant ones give one bin of no width.

        It reaches no further than ``fence`` interquartile ranges beyond the quartiles, so that a few far scores do not
        push all others into one bin; None, or a range of 0: it reaches to the first and last score. Knuth's rule is one
        for a density, which has no ties; those of duplicated records or half precision are spread out before.
        """
        first, last = _limits(scores, fence)
        kept = scores[(scores >= first) & (scores <= last)]
        if first == last:
            return cls(np.array([first, last]), np.array([kept.size]), np.array([scores.size]))
        unit = _spread((kept - first) / (last - first))  # in units of the range, no shift or scale moves a bin
        bins = optimal_bins(unit, most=max(1, min(MOST_BINS, unit.size // FEWEST_SCORES)))
        share, inside = np.linspace(0, 1, bins + 1), _counts(unit, bins)
        counts = inside.copy()
        counts[0] += np.searchsorted(scores, first, side="left")
        counts[-1] += scores.size - np.searchsorted(scores, last, side="right")
        edges = np.maximum.accumulate((first * (1 - share) + last * share).clip(first, last))  # rounding swaps none
        return cls(edges, inside, counts)


def optimal_bins(unit: ArrayLike, most: int = MOST_BINS) -> int:
    """The most probable number of bins, at most ``most``, for ascending values in [0, 1], (n,).

    Every number is tried: the posterior has many local maxima.
    """
    values = np.asarray(unit, dtype=np.float64)
    posterior = [log_posterior(_counts(values, bins)) for bins in range(1, most + 1)]
    return 1 + int(np.argmax(posterior))


def log_posterior(counts: ArrayLike) -> float:
    """Log-probability, up to a constant, of a number of bins M in which n values lie with counts n_k, (M,)::

        n log M + log G(M/2) - M log G(1/2) - log G(n + M/2) + sum_k log G(n_k + 1/2)

    Source: Knuth, "Optimal data-based binning for histograms" (arXiv physics/0605197, 2006). SSAD 0.1.3 puts the number
    of bins where the counts n_k belong, which gives the same 250 bins for any data.
    """
    n_k = np.asarray(counts, dtype=np.float64)
    n, bins = n_k.sum(), n_k.size
    prior = gammaln(bins / 2) - bins * gammaln(0.5) - gammaln(n + bins / 2)
    return float(n * np.log(bins) + prior + gammaln(n_k + 0.5).sum())


def _limits(scores: NDArray[np.float64], fence: float | None) -> tuple[float, float]:
    first, last = float(scores[0]), float(scores[-1])
    lower, upper = (float(quartile) for quartile in np.percentile(scores, [25, 75]))
    if fence is None or lower == upper:
        return first, last
    reach = fence * (upper - lower)
    return max(first, lower - reach), min(last, upper + reach)


def _spread(unit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ascending values in [0, 1] of which tied ones are spread evenly, half the way to the values beside them.

    At least over one bin of the width 2 IQR n^(-1/3), beyond which n values do not resolve a density. Source: Freedman,
    Diaconis, "On the histogram as a density estimator" (Zeitschrift fuer Wahrscheinlichkeitstheorie 57, 1981).
    """
    distinct, start, times = np.unique(unit, return_index=True, return_counts=True)
    lower, upper = np.percentile(unit, [25, 75])
    half = (upper - lower) * unit.size ** (-1 / 3)
    middle = (distinct[1:] + distinct[:-1]) / 2
    left = np.maximum(np.minimum(np.append(0, middle), distinct - half), 0)
    right = np.minimum(np.maximum(np.append(middle, 1), distinct + half), 1)
    left, right = np.where(times == 1, distinct, left), np.where(times == 1, distinct, right)
    place = (np.arange(unit.size) - np.repeat(start, times) + 0.5) / np.repeat(times, times)
    return np.sort(np.repeat(left, times) + place * np.repeat(right - left, times))


def _counts(unit: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """(bins,) counts of ascending values in [0, 1]; a value on an edge belongs to the bin above, 1 to the last."""
    below = np.searchsorted(unit, np.linspace(0, 1, bins + 1)[1:-1], side="left")
    return np.diff(below, prepend=0, append=unit.size)

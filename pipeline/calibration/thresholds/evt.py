"""Thresholds from extreme value theory: peaks over a threshold."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.calibration.thresholds.base import Analysis, Thresholds, finite
from pipeline.calibration.thresholds.knuth import Histogram
from pipeline.calibration.thresholds.pareto import GeneralisedPareto

Floats = NDArray[np.float64]
Beginning = Literal["quantile", "iqr", "lower"]


class EVT:
    """``low`` = u, where the tail begins; ``high`` is exceeded with the probability ``q`` by scores of the same kind.

    A generalised Pareto distribution with scale sigma and shape xi is fitted to the excesses over u of the N_t of n
    scores that exceed it::

        high = u + sigma/xi ((q n / N_t)^-xi - 1)

    Sources: Siffer, Fouque, Termier, Largouet, "Anomaly detection in streams with extreme value theory" (KDD 2017);
    Najari, Berlemont, Lefebvre, Duffner, Garcia, GRAnD: in the preprint (2021) u is the 80 % quantile and
    q = 0.01, in the slides of AINA 2022 u = Q3 + 1.5 IQR and q = 0.001. SSAD 0.1.3 inverts the ratio, q N_t / n.

    Nothing is above u in constant scores: then ``high`` = u, as where more than ``q`` is asked of a smaller tail.
    Where contamination is dense, the tail that is fitted ends with it: a strict ``q`` then finds few of its records.

    Not in the papers: ``u="lower"`` is the fence of ``iqr`` read from the lower half of the scores, which are the same
    for a symmetric distribution: Q3 + alpha (Q3 - Q1) = median + (1 + 2 alpha) (median - Q1). Q3 lies among the
    contaminated scores where they are a quarter, the median where they are half. Unlike a quantile, a fence leaves out
    little where little stands out.

    Args:
        q: risk: share of the scores above ``high``, in (0, 1).
        u: ``quantile`` of the scores; ``iqr``: Q3 + ``alpha`` (Q3 - Q1); ``lower``: median + (1 + 2 ``alpha``)
            (median - Q1).
        quantile: in [0, 1).
        alpha: at least 0.

    Raises:
        ValueError: if a number is outside its limits.
    """

    def __init__(self, q: float = 1e-3, u: Beginning = "iqr", quantile: float = 0.8, alpha: float = 1.5) -> None:
        if not 0 < q < 1 or not 0 <= quantile < 1 or not alpha >= 0:
            raise ValueError(
                f"needs 0 < q < 1, 0 <= quantile < 1 and alpha >= 0, given q={q}, quantile={quantile}, alpha={alpha}"
            )
        self.q = q
        self.u: Beginning = u
        self.quantile = quantile
        self.alpha = alpha

    def __call__(self, scores: ArrayLike, previous: Thresholds | None = None) -> Thresholds:
        """Thresholds at the beginning of the tail of ``scores``, (n,), and at the risk; ``previous`` is not used.

        Raises:
            DataError: if a score is NaN, or none is finite.
            SplitError: if there are no scores.
        """
        tail = self._tail(finite(scores, "evt"))
        if tail.share <= self.q or tail.excess is None:
            return Thresholds(tail.u, tail.u)
        return Thresholds(tail.u, tail.u + tail.excess.exceeded_by(self.q / tail.share))

    def analysis(self, scores: ArrayLike, previous: Thresholds | None = None) -> Analysis:
        """The histogram of ``scores``, (n,), and the density of the fitted tail in it; errors as above."""
        values = finite(scores, "evt")
        tail, edges = self._tail(values), Histogram.fit(values).edges
        if tail.excess is None:
            return Analysis(edges, np.empty((0, 2)))
        at = np.linspace(tail.u, max(float(edges[-1]), tail.u), 200)
        return Analysis(edges, np.stack([at, tail.share * tail.excess.density(at - tail.u)], axis=1))

    def __repr__(self) -> str:
        return f"EVT(q={self.q}, u={self.u!r}, quantile={self.quantile}, alpha={self.alpha})"

    def _tail(self, values: Floats) -> "_Tail":
        u = self._beginning(values)
        excess = values[values > u] - u
        return _Tail(u, excess.size / values.size, GeneralisedPareto.fit(excess) if excess.size else None)

    def _beginning(self, values: Floats) -> float:
        if self.u == "quantile":
            return float(np.quantile(values, self.quantile))
        lower, median, upper = np.percentile(values, [25, 50, 75])
        if self.u == "lower":
            return float(median + (1 + 2 * self.alpha) * (median - lower))
        return float(upper + self.alpha * (upper - lower))


class _Tail(NamedTuple):
    """Where it begins, which share of the scores lies in it, and how far they reach; None where there are none."""

    u: float
    share: float
    excess: GeneralisedPareto | None

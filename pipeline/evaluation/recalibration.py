"""How far may thresholds follow traffic in which attacks are not known?"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.base.errors import SplitError
from pipeline.calibration.thresholds.base import without_nan
from pipeline.evaluation.drift import cut


@dataclass(frozen=True)
class Recalibration:
    """Calibration scores that follow recent traffic, and thresholds that move with them.

    Attributes:
        old: (n,) calibration scores before, ascending.
        new: (n,) calibration scores after, ascending.
        ratio: benign tail mass now as a multiple of the mass at calibration, before the cap.
        kept: how many recent records looked benign.
    """

    old: NDArray[np.float64]
    new: NDArray[np.float64]
    ratio: float
    kept: int

    @classmethod
    def fit(cls, reference: ArrayLike, recent: ArrayLike, looks: float, body: float, step: float) -> Self:
        """Let the calibration scores follow recent scores, some of which may be those of unknown attacks.

        Recent records that look benign, with a p-value above ``looks``, are a truncated sample: their quantiles are too
        low, and thresholds set there would sink each time. So the tail keeps the shape that it had at calibration, and
        its mass is estimated where the sample is whole. Let W be the share of the calibration scores with a p-value in
        (looks, body], B the share of the scores above, and h the share of the recent benign-looking records in the same
        window. A tail of r times the mass at calibration gives h = r W / (1 - r B), hence ::

            r = h / (W + h B)

        and a threshold of level alpha moves to the old quantile of level alpha / r. A shifted exponential tail is
        proportional to the old one, and surprise, -log of a survival, has an exponential tail. Below the window the
        recent scores are taken as they are.

        An attacker who owns a share e of the traffic can move r down to 1 - e or, with all of it in the window, up to
        1 + e / (W (1 - e)). In any case the odds of each calibration score's p-value change at most by the factor
        ``step``. So the false positive rate on traffic as at calibration stays between alpha / step and alpha step,
        within the sampling error of the calibration itself.

        Args:
            reference: (n,) calibration scores.
            recent: (m,) scores of recent records.
            looks: p-value above which a record looks benign.
            body: p-value above which the body of the distribution lies; larger than ``looks``.
            step: largest factor by which odds may change, above 1.

        Raises:
            SplitError: no recent record looks benign, or no calibration score lies in the window.
            ValueError: the levels or the step are out of their limits.
        """
        if not 0 < looks < body < 1 or step <= 1:
            raise ValueError(f"needs 0 < looks < body < 1 < step, given looks={looks}, body={body}, step={step}")
        old, now = np.sort(without_nan(reference, "drift")), without_nan(recent, "drift")
        lower, upper = cut(old, body), cut(old, looks)
        kept = np.sort(now[now < upper])
        window, above = float(((lower <= old) & (old < upper)).mean()), float((old >= upper).mean())
        if not kept.size or not window:
            raise SplitError(
                f"drift: {kept.size} of {now.size} recent records look benign, and {window:.1%} of the calibration "
                f"scores have a p-value in ({looks:g}, {body:g}]; both are needed"
            )
        share = float((kept >= lower).mean())
        ratio = share / (window + share * above)
        new = _mixed(kept[kept < lower], old[old >= lower], ratio * (window + above), old.size)
        return cls(old, _capped(old, new, step), ratio, kept.size)

    def move(self, thresholds: Iterable[float]) -> tuple[float, ...]:
        """The moved thresholds, ascending: each lies above as large a share of the calibration scores as before.

        A threshold beyond all calibration scores, or one that would become infinite, stays where it is.

        Raises:
            DataError: if one is NaN.
        """
        values = without_nan(list(thresholds), "drift")
        at = np.searchsorted(self.old, values, side="right") - 1
        return tuple(np.maximum.accumulate([self._moved(*pair) for pair in zip(values, at, strict=True)]).tolist())

    def _moved(self, threshold: float, at: int) -> float:
        if not 0 <= at < self.old.size - 1 or not np.isfinite([*self.old[at : at + 2], *self.new[at : at + 2]]).all():
            return threshold
        between = (threshold - self.old[at]) / (self.old[at + 1] - self.old[at])
        return float(self.new[at] + between * (self.new[at + 1] - self.new[at]))


def _mixed(body: NDArray[np.float64], tail: NDArray[np.float64], mass: float, n: int) -> NDArray[np.float64]:
    """(n,) even quantiles of a body and a tail that is ``mass`` of the whole."""
    mass = mass if body.size else 1.0
    weights = np.concatenate([
        np.full(body.size, (1 - mass) / max(body.size, 1)), np.full(tail.size, mass / tail.size)
    ])  # fmt: skip
    levels = (np.arange(n) + 0.5) / n
    at = np.searchsorted(np.cumsum(weights), levels).clip(max=weights.size - 1)
    mixed: NDArray[np.float64] = np.concatenate([body, tail])[at]
    return mixed


def _capped(old: NDArray[np.float64], new: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """Clip each new score so that the odds of its old p-value change by at most a factor of ``step``."""
    n = old.size
    p = np.arange(n, 0, -1) / (n + 1)  # of each old score, without counting itself
    lowest = np.ceil((n + 1) * (1 - step * p / (1 + (step - 1) * p)) - 1e-9)
    highest = np.floor((n + 1) * (1 - p / (step - (step - 1) * p)) + 1e-9)
    low, high = (old[rank.clip(1, n).astype(np.intp) - 1] for rank in (lowest, highest))
    capped: NDArray[np.float64] = np.clip(new, low, high)
    return capped

"""Has benign traffic changed since calibration, since when, and how far may the thresholds follow it?

Three questions, arrays in and numbers out. Attacks must not pass for drift, so all three look at records that look
benign alone: those whose score lies below a cut, an order statistic of the calibration scores. Both samples are cut at
the same score; if nothing has changed, what is left of them is exchangeable again, so the selection biases no test.
"""

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import ks_2samp

from pipeline.base.errors import SplitError
from pipeline.calibration.thresholds.base import without_nan
from pipeline.settings.retraining import DriftLimits

Floats = NDArray[np.float64]
Outcome = Literal["stable", "recalibrate", "train"]

BETS: Final = (-1.0, 0.0, 1.0)  # on many low p-values, on nothing, on many high ones


def cut(reference: ArrayLike, level: float) -> float:
    """The score below which a record looks benign: its p-value under ``reference``, (n,), is above ``level``.

    It is an order statistic of the reference: whatever the distribution, reference and recent scores strictly below it
    are exchangeable if all of them were.

    Raises:
        SplitError: if ``level`` is so small that no reference score is that high.
    """
    values = np.sort(without_nan(reference, "drift"))
    rank = math.floor(level * (values.size + 1))
    if rank < 1:
        raise SplitError(f"drift: {values.size:,} calibration scores cannot tell a p-value of {level:g}; use more")
    return float(values[values.size - rank])


# Has it changed?


@dataclass(frozen=True)
class Change:
    """One quantity, then and now.

    Attributes:
        name: of the score or the feature.
        distance: Kolmogorov-Smirnov distance in [0, 1]: the largest difference of the two distribution functions.
        p_value: of the two-sample test, corrected for the number of quantities.
        reference: how many values there were at calibration.
        recent: how many there are now.
    """

    name: str
    distance: float
    p_value: float
    reference: int
    recent: int

    def exceeds(self, alpha: float, size: float) -> bool:
        """Whether it is significant and large: with many records everything is significant."""
        return self.p_value <= alpha and self.distance >= size


def compare(reference: Mapping[str, ArrayLike], recent: Mapping[str, ArrayLike]) -> tuple[Change, ...]:
    """Two-sample Kolmogorov-Smirnov tests, one for each quantity, corrected together by Holm's method.

    The effect size is the KS distance itself: unlike the population stability index it needs no bins. A value that is
    missing counts as one below all others, so that a change of their share counts too; a column of 0 and 1 has the
    difference of the shares as its distance. Ties make the test conservative.

    Args:
        reference: name -> (n,) values at calibration.
        recent: name -> (m,) values of recent records, under the same names.

    Raises:
        SplitError: if there are no values on one side.
    """
    tests = [(name, _ordered(values), _ordered(recent[name])) for name, values in reference.items()]
    for name, then, now in tests:
        if not then.size or not now.size:
            raise SplitError(
                f"drift: {name!r} has {then.size} calibration and {now.size} recent values; both need some"
            )
    found = [ks_2samp(then, now, method="asymp") for _, then, now in tests]
    corrected = holm([float(test.pvalue) for test in found])
    return tuple(
        Change(name, float(test.statistic), float(p_value), then.size, now.size)
        for (name, then, now), test, p_value in zip(tests, found, corrected, strict=True)
    )


def holm(p_values: ArrayLike) -> Floats:
    """(k,) p-values corrected so that at most a share alpha of all comparisons rejects any true hypothesis at alpha.

    It holds however the tests depend on each other, and features of traffic do: bytes, packets and rates say much the
    same. Benjamini and Yekutieli's method holds as widely, but controls the share of false discoveries, and where one
    is looking for any drift at all its first step is stricter by the factor 1 + 1/2 + ... + 1/k.

    Source: Holm, "A simple sequentially rejective multiple test procedure" (1979).
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected


def decide(score: Change, features: Sequence[Change], martingale: float, limits: DriftLimits) -> tuple[Outcome, str]:
    """What to do about it, and why.

    Args:
        score: the change of the score.
        features: the changes of the features.
        martingale: highest log of the test martingale; it may stand for the significance of the score's change.
        limits: when a change counts.
    """
    large = [change.name for change in features if change.exceeds(limits.alpha, limits.large)]
    proven = score.p_value <= limits.alpha or martingale >= -math.log(limits.alpha)
    told = f"the score has moved by a KS distance of {score.distance:.3f}"
    if proven and score.distance >= limits.large:
        return "train", f"{told}, {limits.large:g} or more: other traffic than the model was trained on"
    if features and len(large) >= max(1.0, limits.features * len(features)):
        return "train", f"{len(large)} of {len(features)} features have moved by {limits.large:g} or more"
    if proven and score.distance >= limits.small:
        return "recalibrate", f"{told}, {limits.small:g} or more"
    return "stable", f"{told}, below {limits.small:g}" if proven else f"{told}, which chance would do too"


# Since when?


def p_values(reference: ArrayLike, recent: ArrayLike, seed: int) -> Floats:
    """(m,) smoothed conformal p-values of ``recent``, (m,), each among ``reference``, (n,), and all before it::

        p = (#{higher} + tau #{equal, itself among them}) / (n + i),  tau uniform

    If all scores are exchangeable, these are independent and uniform, ties or not. P-values against the reference alone
    would not be: they share its sampling error, which a martingale finds in long traffic.

    Source: Vovk, Nouretdinov, Gammerman, "Testing exchangeability on-line" (ICML 2003), section 2.
    """
    then, now = np.sort(without_nan(reference, "drift")), without_nan(recent, "drift")
    higher = then.size - np.searchsorted(then, now, side="right")
    equal = then.size - np.searchsorted(then, now, side="left") - higher
    tau = np.random.default_rng(seed).random(now.size)
    seen: list[float] = []
    p = np.empty(now.size)
    for i, value in enumerate(now.tolist()):
        above = i - bisect_right(seen, value)
        ties = i - bisect_left(seen, value) - above
        p[i] = (higher[i] + above + tau[i] * (equal[i] + ties + 1)) / (then.size + i + 1)
        insort(seen, value)
    return p


def jumper(p: ArrayLike, rate: float = 0.01) -> Floats:
    """(m,) natural logs of the Simple Jumper's capital after each of the p-values, (m,).

    It bets 1 + e (p - 1/2) against uniform p-values, e in -1, 0, 1, and moves a share ``rate`` of its capital from each
    bet to all of them before each. Starting with 1, it ever reaches 1 / alpha with a probability of at most alpha if
    the p-values are independent and uniform (Ville's inequality).

    Source: Vovk, Petej, Nouretdinov, Ahlberg, Carlsson, Gammerman, "Retrain or not retrain: conformal test martingales
    for change-point detection" (COPA 2021), algorithm 1.

    Raises:
        ValueError: if the rate is not in (0, 1].
    """
    if not 0 < rate <= 1:
        raise ValueError(f"jumper: needs a rate in (0, 1], given {rate}")
    shares, log = [1 / len(BETS)] * len(BETS), 0.0
    path = []
    for value in np.asarray(p, dtype=np.float64).tolist():
        bets = [
            ((1 - rate) * share + rate / len(BETS)) * (1 + bet * (value - 0.5))
            for share, bet in zip(shares, BETS, strict=True)
        ]
        gain = sum(bets)
        shares = [bet / gain for bet in bets]
        log += math.log(gain)
        path.append(log)
    return np.array(path)


# How far may the thresholds follow?


@dataclass(frozen=True)
class Recalibration:
    """Calibration scores and thresholds, moved.

    Attributes:
        old: (n,) calibration scores before, ascending.
        new: (n,) calibration scores after, ascending.
        ratio: benign tail mass now, as a multiple of that at calibration; before the cap.
        kept: how many recent records looked benign.
    """

    old: Floats
    new: Floats
    ratio: float
    kept: int

    @classmethod
    def fit(cls, reference: ArrayLike, recent: ArrayLike, looks: float, body: float, step: float) -> Self:
        """Let the calibration scores follow recent ones, attacks among which are not known.

        Recent records that look benign, with a p-value above ``looks``, are a truncated sample: a quantile of theirs is
        too low, and thresholds that were set there would sink from time to time. So the tail keeps the shape that it
        had at calibration, and its mass is estimated where the sample is whole. With W the share of the calibration
        scores with a p-value in (looks, body], B that of the scores above, and h the share of the recent benign-looking
        records in the same window, a tail of r times the mass at calibration gives h = r W / (1 - r B), hence ::

            r = h / (W + h B)

        and a threshold of level alpha moves to the old quantile of level alpha / r. Proportional tails are what a shift
        of an exponential tail has, and surprise, -log of a survival, has one. Below the window the scores are the
        recent ones.

        An attacker who owns a share e of the traffic moves r to 1 - e at least and, all of it in the window, to
        1 + e / (W (1 - e)) at most. Whatever is found, the odds of each calibration score's p-value change by the
        factor ``step`` at most: the realised false positive rate of traffic as at calibration stays between alpha /
        step and alpha step, within the sampling error of the calibration itself.

        Args:
            reference: (n,) calibration scores.
            recent: (m,) scores of recent records.
            looks: p-value above which a record looks benign.
            body: p-value above which the body of the distribution lies; above ``looks``.
            step: largest factor, above 1.

        Raises:
            SplitError: if no recent record looks benign, or no calibration score lies in the window.
            ValueError: if the levels or the step are out of their limits.
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
        """Where thresholds, ascending, lie now: above as large a share of the calibration scores as before.

        One beyond all calibration scores, or that would become infinite, stays where it is.

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


def _mixed(body: Floats, tail: Floats, mass: float, n: int) -> Floats:
    """(n,) even quantiles of a body and a tail that is ``mass`` of the whole."""
    mass = mass if body.size else 1.0
    weights = np.concatenate([
        np.full(body.size, (1 - mass) / max(body.size, 1)), np.full(tail.size, mass / tail.size)
    ])  # fmt: skip
    levels = (np.arange(n) + 0.5) / n
    at = np.searchsorted(np.cumsum(weights), levels).clip(max=weights.size - 1)
    mixed: Floats = np.concatenate([body, tail])[at]
    return mixed


def _capped(old: Floats, new: Floats, step: float) -> Floats:
    """``new``, each score of which stays between those old ones whose p-values have the odds times and by ``step``."""
    n = old.size
    p = np.arange(n, 0, -1) / (n + 1)  # of each old score, itself left out
    lowest = np.ceil((n + 1) * (1 - step * p / (1 + (step - 1) * p)) - 1e-9)
    highest = np.floor((n + 1) * (1 - p / (step - (step - 1) * p)) + 1e-9)
    low, high = (old[rank.clip(1, n).astype(np.intp) - 1] for rank in (lowest, highest))
    capped: Floats = np.clip(new, low, high)
    return capped


def _ordered(values: ArrayLike) -> Floats:
    """(n,) values with a place in the order: one that is missing is below all others."""
    numbers = np.asarray(values, dtype=np.float64)
    return np.where(np.isnan(numbers), -np.inf, numbers)

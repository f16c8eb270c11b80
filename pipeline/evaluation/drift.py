"""Has benign traffic changed since calibration?

``pipeline.evaluation.martingale`` asks since when, ``pipeline.evaluation.recalibration`` how far thresholds may follow.
Attacks must not pass for drift, so all three use only records that look benign: those with a score below a cut, which
is an order statistic of the calibration scores. Both samples are cut at the same score. If nothing has changed, the
remaining records are exchangeable again, so the selection biases no test.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import ks_2samp

from pipeline.base.errors import SplitError
from pipeline.calibration.thresholds.base import without_nan
from pipeline.evaluation.alarm_share import Alarms, worst
from pipeline.settings.retraining import DriftLimits

Floats = NDArray[np.float64]
Outcome = Literal["stable", "recalibrate", "train", "attacks", "unknown"]


def cut(reference: ArrayLike, level: float) -> float:
    """The score below which a record looks benign: its p-value under ``reference``, (n,), is above ``level``.

    It is an order statistic of the reference. So, whatever the distribution, the reference and recent scores strictly
    below it are exchangeable if all of them were.

    Raises:
        SplitError: if ``level`` is so small that no reference score is that high.
    """
    values = np.sort(without_nan(reference, "drift"))
    rank = math.floor(level * (values.size + 1))
    if rank < 1:
        raise SplitError(f"drift: {values.size:,} calibration scores cannot tell a p-value of {level:g}; use more")
    return float(values[values.size - rank])


@dataclass(frozen=True)
class Change:
    """The change of one quantity since calibration.

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

    The effect size is the KS distance itself; unlike the population stability index it needs no bins. A missing value
    counts as lower than all others, so a change in the share of missing values counts too. The distance of a column of
    0 and 1 is the difference of the shares. Ties make the test conservative.

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

    It holds for any dependence between the tests, and features of traffic do depend on each other: bytes, packets and
    rates measure much the same. Benjamini and Yekutieli's method holds as widely, but it controls the share of false
    discoveries. To find any drift at all, its first step is stricter by the factor 1 + 1/2 + ... + 1/k.

    Source: Holm, "A simple sequentially rejective multiple test procedure" (1979).
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected


def decide(
    score: Change,
    features: Sequence[Change],
    martingale: float,
    limits: DriftLimits,
    alarms: Sequence[Alarms] = (),
) -> tuple[Outcome, str]:
    """What to do about the changes, and why.

    Far more alarms than promised are never ``stable``, and thresholds never follow them: what the model calls benign
    there may be wrong. Where the records that look benign are as they were, attacks are under way. Where these have
    changed too, the model does not know the traffic.

    Args:
        score: the change of the score.
        features: the changes of the features.
        martingale: highest log of the test martingale; it may stand for the significance of the score's change.
        limits: when a change counts.
        alarms: of each threshold on all recent records.
    """
    outcome, reason = _of_benign(score, features, martingale, limits)
    broken = worst(alarms, limits.alarms)
    if broken is None:
        return outcome, reason
    if outcome == "stable":
        return "attacks", f"{broken}, while the records that look benign are as they were: look at the alarms"
    return "unknown", f"{broken}: the model does not know this network ({reason})"


def _of_benign(
    score: Change, features: Sequence[Change], martingale: float, limits: DriftLimits
) -> tuple[Outcome, str]:
    """What the records that look benign ask for."""
    large = [change.name for change in features if change.exceeds(limits.alpha, limits.large)]
    proven = score.p_value <= limits.alpha or martingale >= -math.log(limits.alpha)
    moved = f"the score has moved by a KS distance of {score.distance:.3f}"
    if proven and score.distance >= limits.large:
        return "train", f"{moved}, {limits.large:g} or more: other traffic than the model was trained on"
    if features and len(large) >= max(1.0, limits.features * len(features)):
        return "train", f"{len(large)} of {len(features)} features have moved by {limits.large:g} or more"
    if proven and score.distance >= limits.small:
        return "recalibrate", f"{moved}, {limits.small:g} or more"
    return "stable", f"{moved}, below {limits.small:g}" if proven else f"{moved}, which chance would do too"


def _ordered(values: ArrayLike) -> Floats:
    """(n,) values in which a missing one is lower than all others."""
    numbers = np.asarray(values, dtype=np.float64)
    return np.where(np.isnan(numbers), -np.inf, numbers)

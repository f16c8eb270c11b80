"""Does a model raise as many alarms as it promised? If not, there are attacks, or it does not know the traffic."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln

from pipeline.calibration.decisions import Promise
from pipeline.calibration.thresholds.conformal import Guarantee, interval

LEVEL = 0.95  # probability with which the number of alarms lies where it is expected


@dataclass(frozen=True)
class Alarms:
    """The alarms of one threshold on recent records.

    Attributes:
        threshold: its name.
        records: how many there are.
        alarms: how many of them it flags.
        promised: share of benign records that it was set for.
        low: least number of alarms to be expected, if the records are like those of the calibration.
        high: the largest.
    """

    threshold: str
    records: int
    alarms: int
    promised: float
    low: int
    high: int

    @property
    def kept(self) -> bool:
        """Whether there are as many as chance allows, neither more nor fewer."""
        return self.low <= self.alarms <= self.high

    @property
    def share(self) -> float:
        """Share of the records that it flags."""
        return self.alarms / self.records

    @property
    def expected(self) -> float:
        """How many there are on average, if the promise is kept."""
        return self.promised * self.records

    def exceeds(self, factor: float) -> bool:
        """Whether there are more than chance allows, and more than ``factor`` times as many as promised."""
        return self.alarms > self.high and self.alarms > factor * self.expected

    def __str__(self) -> str:
        return f"{self.alarms:,} alarms at {self.threshold} where {self.low:,} to {self.high:,} were promised"


def promised(records: int, share: float, calibrated_on: int, level: float = LEVEL) -> tuple[int, int]:
    """Between which numbers the alarms on benign records lie, as a threshold from calibration scores promises.

    The number is beta-binomial: the rate of the threshold itself varies, and the records do; see
    ``thresholds.conformal.interval``.

    Args:
        records: how many there are.
        share: of benign records that the threshold was set for.
        calibrated_on: benign records that it was fitted on.
        level: probability with which the number lies there.
    """
    if not records:
        return 0, 0
    low, high = interval(calibrated_on, share, level, tested=records)
    return round(low * records), round(high * records)


def promised_by(parts: Iterable[Promise], level: float = LEVEL) -> tuple[int, int]:
    """Between which numbers the alarms lie on records that several decisions judged.

    Ends are added. Thresholds with and without a context were fitted on much the same records, so that both are high or
    low together. Those of groups are not, and the sum allows more than it need.
    """
    ends = [promised(*part, level) for part in parts]
    return sum(low for low, _ in ends), sum(high for _, high in ends)


def none_at_all(parts: Iterable[Promise], alike: int = 1) -> float:
    """The probability that not one of the records raises an alarm, if they keep to what was promised.

    The rate of a threshold from N calibration scores is Beta(r, N + 1 - r), r the rank of the threshold from the top,
    so that a threshold which came out too high counts, too::

        P(K = 0) = E[(1 - rate)^n] = B(r, N + 1 - r + n) / B(r, N + 1 - r)

    for n independent records. Several decisions multiply. Sources: Vovk, "Conditional validity of inductive conformal
    predictors" (ACML 2012), proposition 2; Skellam, "A Probability Distribution Derived from the Binomial Distribution"
    (1948), for K = 0.

    Args:
        parts: what each decision promises of the records that it judged.
        alike: so many records count as one: those that come together are alike, and not independent.
    """
    logs = 0.0
    for n, share, calibrated_on in parts:
        rank = max(1, Guarantee().rank(calibrated_on, share))
        others = calibrated_on + 1 - rank
        logs += float(betaln(rank, others + n / alike) - betaln(rank, others))
    return math.exp(logs)


def counted(
    flagged: Mapping[str, NDArray[np.bool_]], promises: Mapping[str, Sequence[Promise]], level: float = LEVEL
) -> tuple[Alarms, ...]:
    """The alarms of each threshold that promises a rate.

    Args:
        flagged: name of a threshold -> (n,) which records it flags.
        promises: what ``Calibration.promised`` says of these records.
        level: probability with which the number of alarms lies where it is expected.
    """
    return tuple(beside(name, int(flagged[name].sum()), parts, level) for name, parts in promises.items())


def beside(threshold: str, alarms: int, parts: Sequence[Promise], level: float = LEVEL) -> Alarms:
    """So many alarms beside what was promised of the records that each decision judged."""
    records = sum(part.records for part in parts)
    share = sum(part.records * part.share for part in parts) / records if len(parts) > 1 and records else parts[0].share
    return Alarms(threshold, records, alarms, share, *promised_by(parts, level))


def worst(alarms: Sequence[Alarms], factor: float) -> Alarms | None:
    """The threshold that is furthest above its promise; None where each keeps it."""
    broken = [each for each in alarms if each.exceeds(factor)]
    return max(broken, key=lambda each: each.alarms / max(each.expected, 1e-12), default=None)

"""Thresholds with a guarantee: how often benign records exceed them is bounded for any distribution and any n.

What holds: benign records that are exchangeable with the calibration records exceed a threshold at most as often as the
risk says. What does not: nothing is said of attacks that no score was given of, nor of benign traffic that has drifted.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betainc, betaincinv

from pipeline.base.errors import SplitError
from pipeline.calibration.thresholds.base import Analysis, Thresholds, finite, reference
from pipeline.calibration.thresholds.beta_binomial import quantile
from pipeline.calibration.thresholds.knuth import Histogram

Kind = Literal["marginal", "pac"]
ROUNDING: Final = 1e-12  # relative; the smallest risk times n + 1 must not be rounded to less than 1


@dataclass(frozen=True)
class Guarantee:
    """Which of n calibration scores is a threshold at a risk.

    ``marginal``: a new record exceeds it with a probability of at most the risk, on average over calibration sets::

        P(S_new > S_(k)) <= 1 - k / (n + 1) <= risk,   k = ceil((1 - risk) (n + 1)),   S_(1) <= ... <= S_(n)

    for exchangeable scores. ``pac`` (training-conditional): with probability ``certainty`` over the calibration set,
    the share of all records that exceed it is at most the risk::

        P(P(S > S_(k)) <= risk) >= P(Bin(n, risk) >= n + 1 - k) >= certainty,   with the smallest such k

    for independent ones. What ties with a threshold does not exceed it, so both hold with ties too.

    Sources: Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World" (2005), section 2.2; Vovk, "Conditional
    validity of inductive conformal predictors" (ACML 2012), propositions 2a and 2b.

    Attributes:
        kind: ``marginal`` or ``pac``.
        certainty: of ``pac``, in (0, 1); not read by ``marginal``.

    Raises:
        ValueError: if one is outside its limits.
    """

    kind: Kind = "marginal"
    certainty: float = 0.95

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"needs the guarantee {' or '.join(get_args(Kind))}, given guarantee={self.kind!r}")
        if not 0 < self.certainty < 1:
            raise ValueError(f"needs 0 < certainty < 1, given certainty={self.certainty}")

    def rank(self, n: int, risk: float) -> int:
        """Of n scores, the threshold at ``risk``, in (0, 1), is the one of this rank from the top, n + 1 - k.

        It is 0 where n scores are too few.

        Raises:
            ValueError: if ``risk`` is outside its limits.
        """
        _in_limits(risk=risk)
        if self.kind == "marginal":
            return min(n, math.floor(risk * (n + 1) * (1 + ROUNDING)))
        least = self.certainty * (1 - ROUNDING)
        return bisect_right(range(1, n + 1), -least, key=lambda rank: -float(betainc(rank, n + 1 - rank, risk)))

    def smallest_risk(self, n: int) -> float:
        """The smallest risk that n scores support, n > 0; the threshold at it is the highest of them."""
        return 1 / (n + 1) if self.kind == "marginal" else -math.expm1(math.log1p(-self.certainty) / n)

    def records_needed(self, risk: float) -> int:
        """How many scores support ``risk``, in (0, 1), at least."""
        _in_limits(risk=risk)
        exact = 1 / risk - 1 if self.kind == "marginal" else math.log1p(-self.certainty) / math.log1p(-risk)
        return max(1, math.ceil(exact * (1 - ROUNDING)))

    def require(self, n: int, risk: float, of: str = "calibration scores", setting: str = "risk") -> int:
        """The ``rank`` of the threshold at ``risk``, at least 1; ``of`` what, and which ``setting``, errors say.

        Raises:
            SplitError: if they are too few, with the smallest risk that they support and the number that is needed.
            ValueError: if ``risk`` is outside its limits.
        """
        if rank := self.rank(n, risk):
            return rank
        sure = f" with a certainty of {self.certainty:g}" if self.kind == "pac" else ""
        smallest = f" below {_rounded_up(self.smallest_risk(n)):g}" if n else ""
        raise SplitError(
            f"conformal: {n:,} {of} support no {setting}{smallest} ({self.kind} guarantee{sure}), given {risk:g}; "
            f"it needs at least {self.records_needed(risk):,} of them: give more, or allow a higher {setting}"
        )

    def threshold(
        self, scores: ArrayLike, risk: float | None, of: str = "calibration scores", setting: str = "risk"
    ) -> float:
        """The score that records like those of ``scores``, (n,), exceed at most as often as ``risk`` says.

        None stands for the smallest risk that they support. Of tied scores it is that score, which none exceeds.

        Raises:
            DataError: if a score is NaN.
            SplitError: if there are no scores, or too few for ``risk``; the message names ``of`` and ``setting``.
            ValueError: if ``risk`` is outside (0, 1).
        """
        values = reference(scores, f"conformal, {of}")
        at = values.size - (1 if risk is None else self.require(values.size, risk, of, setting))
        return float(np.partition(values, at)[at])


def interval(
    n: int, risk: float, certainty: float = 0.95, guarantee: Guarantee | None = None, tested: int | None = None
) -> tuple[float, float]:
    """Between which shares the realised FPR of a threshold from n calibration scores lies, with ``certainty``.

    The FPR over all benign records is Beta(r, n + 1 - r), r the rank of the threshold from the top; the share of
    alarms among some ``tested`` ones is beta-binomial. Scores are independent and without ties here: ties lower the
    FPR, so that the upper end holds with them too.

    Args:
        n: calibration scores.
        risk: nominal FPR, in (0, 1).
        certainty: that it lies there, in (0, 1); as often below as above.
        guarantee: of the threshold; marginal by default.
        tested: how many benign records the FPR is measured on; None: on all that there ever are.

    Raises:
        SplitError: if n scores are too few for the risk.
        ValueError: if a number is outside its limits.

    Example:
        >>> [round(share, 3) for share in interval(500, 0.01)]
        [0.003, 0.02]
    """
    _in_limits(certainty=certainty)
    rank = (guarantee or Guarantee()).require(n, risk)
    ends = np.array([(1 - certainty) / 2, (1 + certainty) / 2])
    if tested is None:
        low, high = betaincinv(rank, n + 1 - rank, ends)
        return float(low), float(high)
    if tested < 1:
        raise ValueError(f"needs tested >= 1, given tested={tested}")
    low, high = (quantile(end, tested, rank, n + 1 - rank) / tested for end in ends.tolist())
    return low, high


class Conformal:
    """``high`` is exceeded by a share of at most ``risk`` of the benign records, ``low`` by at most ``doubt``.

    Where scores of seen attacks are given (``of``), ``low`` is theirs: at most ``miss`` of the attacks like them lie at
    or below it. So each class has its own conformal set, and a record is

    - benign at or below ``low``, where attacks seldom lie;
    - anomalous above ``high``, where benign records seldom lie;
    - unknown between them, where both do.

    Where neither does, ``low`` would be above ``high`` and becomes ``high``: what is unlike benign records raises an
    alarm. Each of the two bounds has the guarantee by itself; with ``pac``, both at once at least 2 ``certainty`` - 1.

    Source: Vovk, "Conditional validity of inductive conformal predictors" (ACML 2012), on label-conditional validity.

    Args:
        risk: largest share of benign records above ``high``, in (0, 1); None: the smallest that the scores support.
        doubt: largest share of benign records above ``low`` where no attacks are given, ``risk`` to 1; None: ``risk``.
        miss: largest share of seen attacks at or below ``low``, in (0, 1); None: the smallest that they support.
        guarantee: ``marginal`` (on average over calibration sets) or ``pac`` (for this one, with ``certainty``).
        certainty: of ``pac``, in (0, 1).

    Raises:
        ValueError: if one is outside its limits.

    Example:
        >>> Conformal(risk=0.1, doubt=0.2)([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
        Thresholds(low=7.0, high=8.0)
    """

    def __init__(
        self,
        risk: float | None = None,
        doubt: float | None = None,
        miss: float | None = None,
        guarantee: Kind = "marginal",
        certainty: float = 0.95,
    ) -> None:
        _in_limits(risk=risk, doubt=doubt, miss=miss)
        if risk is not None and doubt is not None and doubt < risk:
            raise ValueError(f"needs risk <= doubt, given risk={risk}, doubt={doubt}")
        self.risk = risk
        self.doubt = risk if doubt is None else doubt
        self.miss = miss
        self.guarantee = Guarantee(guarantee, certainty)

    def __call__(self, scores: ArrayLike, previous: Thresholds | None = None) -> Thresholds:
        """Thresholds from benign ``scores``, (n,), whatever the ``previous`` ones were; errors as in ``of``."""
        return self.of(scores)

    def of(self, benign: ArrayLike, attack: ArrayLike | None = None) -> Thresholds:
        """Thresholds from scores of benign calibration records, (n,), and of seen attacks, (m,), that no fit has read.

        Raises:
            DataError: if a score is NaN.
            SplitError: if there are no benign scores, or those of a class are too few for what is asked of them; where
                there are no attacks at all (None, or m = 0), nothing is.
        """
        high = self.guarantee.threshold(benign, self.risk, "benign calibration scores", "risk")
        if attack is None or np.size(attack) == 0:
            low = self.guarantee.threshold(benign, self.doubt, "benign calibration scores", "doubt")
        else:
            downwards = -np.asarray(attack, dtype=np.float64)
            lowest = -self.guarantee.threshold(downwards, self.miss, "scores of seen attacks", "miss")
            low = math.nextafter(lowest, -math.inf)  # an attack that ties with it is not missed
        return Thresholds(min(low, high), high)

    def analysis(self, scores: ArrayLike, previous: Thresholds | None = None) -> Analysis:
        """The histogram of ``scores``, (n,).

        Raises:
            DataError: if a score is NaN, or none is finite.
            SplitError: if there are no scores.
        """
        return Analysis(Histogram.fit(finite(scores, "conformal")).edges, np.empty((0, 2)))

    def __repr__(self) -> str:
        return (
            f"Conformal(risk={self.risk}, doubt={self.doubt}, miss={self.miss}, "
            f"guarantee={self.guarantee.kind!r}, certainty={self.guarantee.certainty})"
        )


def _in_limits(**shares: float | None) -> None:
    for name, share in shares.items():
        if share is not None and not 0 < share < 1:
            raise ValueError(f"needs 0 < {name} < 1, given {name}={share}")


def _rounded_up(share: float) -> float:
    """To three digits, so that what a message says is supported."""
    unit = 10.0 ** (math.floor(math.log10(share)) - 2)
    return math.ceil(share / unit) * unit

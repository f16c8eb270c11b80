"""Where alarms begin on one line of scores, and the names of the groups that may each have a line of their own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from pipeline.calibration.surprisal import Floats
from pipeline.calibration.thresholds.base import Strategy, Thresholds
from pipeline.calibration.thresholds.conformal import Conformal, Guarantee
from pipeline.calibration.thresholds.percentile import Percentile
from pipeline.calibration.thresholds.percentile import percentiles as percentiles_of

LEAST_OF_A_GROUP: Final = Guarantee().records_needed(0.01)  # 99 benign calibration records: what 1 % needs
UNKNOWN: Final = ""  # the group of a record that does not tell

Names = NDArray[np.object_]


@dataclass(frozen=True)
class Decision:
    """Thresholds on scores, fitted on benign calibration records: all of them, or those of a group.

    Attributes:
        reference: (n,) scores of the records, ascending.
        thresholds: name -> score above which a record is flagged: ``p99``, ``p97`` ...
        intervals: where benign ends and anomalous begins.
    """

    reference: Floats
    thresholds: Mapping[str, float]
    intervals: Thresholds

    @classmethod
    def fit(
        cls, scores: Floats, percentiles: Sequence[float], strategy: Strategy, attacks: Floats | None = None
    ) -> Self:
        """Conformal thresholds: a new benign record exceeds ``p99`` with a probability of at most 1 %.

        It must be exchangeable with these records. Where there are too few of them for a level, its threshold is their
        highest score, which 1 / (n + 1) of all benign records exceed.

        Args:
            scores: (n,) of benign records.
            percentiles: in percent, one for each named threshold.
            strategy: fits the intervals.
            attacks: (k,) scores of seen attacks, for a strategy that tells what is like them.
        """
        named = {f"p{percent:g}": _at_level(scores, percent) for percent in percentiles}
        return cls(np.sort(scores), named, _intervals(scores, strategy, attacks))

    @classmethod
    def published(
        cls, scores: Floats, cut: Floats, percentiles: Sequence[float], strategy: Callable[[Floats], Thresholds]
    ) -> Self:
        """Thresholds at plain percentiles of other scores of the records, ``cut``, (n,), which promise nothing."""
        named = {f"p{percent:g}": float(percentiles_of(cut, [percent])[0]) for percent in percentiles}
        return cls(np.sort(scores), named, strategy(cut))

    def p_value(self, score: ArrayLike) -> Floats:
        """(n,) conformal p-values of scores: (1 + #{calibration >= score}) / (n + 1).

        A benign record that is exchangeable with the calibration records has p <= a with a probability of at most a,
        where one model has seen none of them; ``pipeline.calibration.cross_conformal`` says what holds for several.
        Source: Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World" (2005), section 2.2.
        """
        n = self.reference.size
        return (1 + n - np.searchsorted(self.reference, np.asarray(score, dtype=np.float64), side="left")) / (n + 1)

    def state(self) -> dict[str, Any]:
        """What of it JSON can hold: all but ``reference``."""
        intervals = self.intervals.intervals()
        return {"n": self.reference.size, "thresholds": dict(self.thresholds), "intervals": intervals}

    @classmethod
    def load(cls, values: Mapping[str, Any], reference: Floats) -> Self:
        """The decision whose ``state`` this is.

        Raises:
            KeyError: if a part is missing.
            ValueError: if the intervals do not cut the line in three.
        """
        return cls(reference, dict(values["thresholds"]), Thresholds.from_intervals(values["intervals"]))


def group_names(values: NDArray[Any]) -> Names:
    """(n,) names of groups of the values of a record column, (n,): numbers as they are written, "" where none is."""
    codes, found = pd.factorize(np.asarray(values))
    names = np.array(
        [*(each if isinstance(each, str) else f"{each + 0.0:.15g}" for each in found), UNKNOWN], dtype=object
    )
    named: Names = names[codes]  # what is missing has the code -1
    return named


def frequent(groups: Names) -> list[str]:
    """The groups, of (n,) names, that have records enough for a decision of their own."""
    names, counts = np.unique(groups.astype(str), return_counts=True)
    return [str(name) for name in names[counts >= LEAST_OF_A_GROUP] if name != UNKNOWN]


def _intervals(scores: Floats, strategy: Strategy, attacks: Floats | None) -> Thresholds:
    """Where benign ends and anomalous begins; percentiles are conformal ones here, so that they mean what p99 means."""
    if isinstance(strategy, Conformal):
        return strategy.of(scores, attacks)
    if isinstance(strategy, Percentile):
        return Thresholds(_at_level(scores, strategy.low), _at_level(scores, strategy.high))
    return strategy(scores)


def _at_level(scores: Floats, percent: float) -> float:
    """The conformal threshold of (n,) benign scores that ``percent`` % of all benign ones do not exceed."""
    if percent in (0, 100):  # which are no levels
        return float(scores.min() if percent == 0 else scores.max())
    rank = Guarantee().rank(scores.size, 1 - percent / 100)
    return float(np.sort(scores)[-max(rank, 1)])

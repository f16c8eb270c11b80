"""Which decision judges a record: that for all, that of its group, or that for records without a context."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.calibration.named_thresholds import UNKNOWN, Decision, Names
from pipeline.calibration.surprisal import Floats
from pipeline.calibration.thresholds.base import Thresholds

WITHOUT_CONTEXT: Final = "without context"  # what judges a record that has none, where others have one

Move = Callable[[Iterable[float]], tuple[float, ...]]
"""Ascending scores to where they lie now, ascending too."""


class Promise(NamedTuple):
    """What one decision promises of the records that it judged: how many there are, and how many alarms are false.

    ``share`` is that of benign records which a threshold was set for, ``calibrated_on`` how many it was fitted on.
    """

    records: int
    share: float
    calibrated_on: int


@dataclass(frozen=True)
class Decisions:
    """One decision for all records of a kind, and one for each frequent group of them.

    Attributes:
        whole: the decision for all, fitted on all calibration records of this kind.
        groups: name of a group -> its decision.
    """

    whole: Decision
    groups: Mapping[str, Decision] = field(default_factory=dict)

    def names(self, groups: Names) -> Names:
        """(n,) groups whose own decision judges, "" where it is the one for all; ``groups`` is (n,)."""
        known = groups.astype(str)
        return np.where(np.isin(known, list(self.groups)), known, UNKNOWN).astype(object)

    def moved(self, reference: Floats, move: Move) -> Self:
        """The decision for all follows; those of groups stay: more records of one group move none of them.

        Args:
            reference: (n,) calibration scores after the move, ascending.
            move: where a threshold lies now.
        """
        old = self.whole
        names = sorted(old.thresholds, key=lambda name: old.thresholds[name])
        named = dict(zip(names, move(old.thresholds[name] for name in names), strict=True))
        low, high = move([old.intervals.low, old.intervals.high])
        ordered = {name: named[name] for name in old.thresholds}
        return replace(self, whole=Decision(reference, ordered, Thresholds(low, high)))

    def state(self) -> dict[str, Any]:
        """What of it JSON can hold; without a trace of groups where there are none."""
        own = {name: decision.state() for name, decision in self.groups.items()}
        return {**self.whole.state(), **({"groups": own} if own else {})}

    def arrays(self, prefix: str = "") -> dict[str, NDArray[Any]]:
        """The calibration scores of each decision."""
        own = {f"{prefix}group.{name}.reference": decision.reference for name, decision in self.groups.items()}
        return {f"{prefix}reference": self.whole.reference, **own}

    @classmethod
    def load(cls, values: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], prefix: str = "") -> Self:
        """Those whose ``state`` and ``arrays`` these are.

        Raises:
            KeyError: a part is missing.
            ValueError: the intervals of one do not cut the line in three.
        """
        groups = {
            name: Decision.load(each, arrays[f"{prefix}group.{name}.reference"])
            for name, each in values.get("groups", {}).items()  # an older calibration knows none
        }
        return cls(Decision.load(values, arrays[f"{prefix}reference"]), groups)


def without_context(group: str) -> str:
    """The name of the decision on records of a group that have no context; of ``UNKNOWN``: on all such records."""
    return f"{group}, {WITHOUT_CONTEXT}" if group else WITHOUT_CONTEXT


def is_without_context(name: str) -> bool:
    """Whether this is the name of a decision on records without a context."""
    return name == WITHOUT_CONTEXT or name.endswith(f", {WITHOUT_CONTEXT}")


def all_without_context(names: Names) -> NDArray[np.bool_]:
    """(n,) which names are those of decisions on records without a context."""
    found, codes = np.unique(names.astype(str), return_inverse=True)
    bare: NDArray[np.bool_] = np.array([is_without_context(name) for name in found.tolist()], bool)[codes]
    return bare


def lacks_context(context: ArrayLike) -> NDArray[np.bool_]:
    """(n,) which records have no context, by its score, (n,)."""
    lacking: NDArray[np.bool_] = np.isnan(np.asarray(context, dtype=np.float64))
    return lacking

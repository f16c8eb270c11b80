"""How well one feature alone finds attacks: its AUROC against the benign records.

The AUROC is the probability that an attack record has a larger value than a benign one, a tie counting one half
(Fawcett, "An introduction to ROC analysis", 2006).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.schema import UNLABELLED, Column
from pipeline.validation.sample import Sample

Array = NDArray[np.float64]
MIN_RECORDS = 5  # of a class; fewer say nothing
NEAR = 10  # values on each side that are looked at to see where attacks lie


@dataclass(frozen=True)
class FeatureAuroc:
    """How well a feature tells attacks from benign records; 0.5 is chance.

    Attributes:
        feature: its name.
        reading: ``rank`` (larger or smaller values) or ``value`` (how often a value is that of an attack).
        pooled: AUROC of all attack records of the sample, in the direction that serves ``mean``.
        mean: mean of the attacks' AUROC in one direction, the same for all.
        by_attack: AUROC of each attack, in the direction that serves it.
        by_place: AUROC of the share of attacks among the nearest values: that of a number which tells attacks by where
            it lies, though it does not grow with them, as a row number or a time does; 0.5 where values repeat much.
    """

    feature: str
    reading: str
    pooled: float
    mean: float
    by_attack: dict[str, float]
    by_place: float = 0.5

    @property
    def of_all(self) -> float:
        """How well it tells all attacks at once: the smaller of both, so that it misses few records and few attacks."""
        return min(self.pooled, self.mean)


def feature_aurocs(sample: Sample, columns: Sequence[Column]) -> tuple[FeatureAuroc, ...]:
    """One for each of the F features, over the attacks with enough records; none without benign records.

    Words, ports, and numbers with no more values than there are classes, are names: they are read by value. All other
    numbers are read by rank. There a missing number is the smallest.
    """
    benign, groups = _groups(sample)
    if len(benign) < MIN_RECORDS or not groups:
        return ()
    rows = np.concatenate([benign, *groups.values()])
    among = _Among(len(benign), tuple(groups), np.repeat(np.arange(len(groups)), [*map(len, groups.values())]))
    half = sample.half[rows]
    aurocs = []
    for index, column in enumerate(columns):
        values = np.nan_to_num(sample.x[rows, index], nan=-np.inf, posinf=np.inf, neginf=-np.inf)
        nominal = column.categorical or column.unit == "port" or _few(values, len(sample.attacks))
        aurocs.append(
            among.by_value(column.name, values, half) if nominal else among.by_rank(column.name, values, half)
        )
    return tuple(aurocs)


@dataclass(frozen=True)
class _Among:
    """b benign records, then k attack records; ``group``, (k,), is the index of an attack's name."""

    benign: int
    attacks: tuple[str, ...]
    group: NDArray[np.intp]

    def by_rank(self, feature: str, values: Array, half: NDArray[np.intp]) -> FeatureAuroc:
        """Values and half: (b + k,)."""
        pooled, by_attack = self._auroc(values)
        mean = float(by_attack.mean())
        pooled, mean = (pooled, mean) if mean >= 0.5 else (1 - pooled, 1 - mean)
        own = self._named(np.maximum(by_attack, 1 - by_attack))
        return FeatureAuroc(feature, "rank", pooled, mean, own, self._by_place(values, half))

    def _by_place(self, values: Array, half: NDArray[np.intp]) -> float:
        """Values and half: (b + k,); numbers that repeat much are no row numbers and no times."""
        if len(np.unique(values)) < len(values) / 2:
            return 0.5
        pooled, by_attack = self._auroc(_near(values, half, np.arange(len(values)) >= self.benign))
        return min(pooled, float(by_attack.mean()))

    def by_value(self, feature: str, values: Array, half: NDArray[np.intp]) -> FeatureAuroc:
        """Values and half: (b + k,). Values are encoded with the attack rate in the other half of the records."""
        _, codes = np.unique(values, return_inverse=True)
        is_attack = np.arange(len(values)) >= self.benign
        pooled, by_attack = self._auroc(_shares(codes, half, is_attack))
        own = np.empty(len(self.attacks))
        for index in range(len(own)):
            rows = np.concatenate([np.arange(self.benign), self.benign + np.flatnonzero(self.group == index)])
            one = _shares(codes[rows], half[rows], is_attack[rows])
            own[index] = placements(one[: self.benign], one[self.benign :]).mean()
        return FeatureAuroc(feature, "value", pooled, float(by_attack.mean()), self._named(np.maximum(own, 0.5)))

    def _auroc(self, values: Array) -> tuple[float, Array]:
        """That of all attack records, and (A,) those of the attacks."""
        above = placements(values[: self.benign], values[self.benign :])
        return float(above.mean()), np.bincount(self.group, above) / np.bincount(self.group)

    def _named(self, auroc: Array) -> dict[str, float]:
        return dict(zip(self.attacks, auroc.tolist(), strict=True))


def placements(benign: Array, attack: Array) -> Array:
    """(k,) share of the benign values that lie below each of k attack values, a tie counting one half."""
    ordered = np.sort(benign)
    left, right = (np.searchsorted(ordered, attack, side) for side in ("left", "right"))
    return (left + right) / (2 * len(ordered))


def _shares(codes: NDArray[np.intp], half: NDArray[np.intp], is_attack: NDArray[np.bool_]) -> Array:
    """(n,) attack rate of a record's code in the other half; near that of all records where the code is rare there."""
    shares = np.empty(len(codes))
    size, rate = int(codes.max()) + 1, float(is_attack.mean())
    for side in (0, 1):
        other = half != side
        attacks, records = (np.bincount(codes[rows], minlength=size) for rows in (other & is_attack, other))
        shares[~other] = ((attacks + rate) / (records + 1))[codes[~other]]
    return shares


def _near(values: Array, half: NDArray[np.intp], is_attack: NDArray[np.bool_]) -> Array:
    """(n,) share of attacks among the values of the other half that lie nearest, equal ones all included."""
    shares = np.empty(len(values))
    for side in (0, 1):
        own, other = half == side, np.flatnonzero(half != side)
        order = other[np.argsort(values[other], kind="stable")]
        attacks = np.concatenate([[0], np.cumsum(is_attack[order])])
        first, last = (np.searchsorted(values[order], values[own], at) for at in ("left", "right"))
        first, last = np.maximum(first - NEAR, 0), np.minimum(last + NEAR, len(order))
        shares[own] = (attacks[last] - attacks[first]) / np.maximum(last - first, 1)
    return shares


def _groups(sample: Sample) -> tuple[NDArray[np.intp], dict[str, NDArray[np.intp]]]:
    """Rows of the benign records, and of each attack that has enough of them."""
    rows = {attack: np.flatnonzero(sample.attack == index) for index, attack in enumerate(sample.attacks)}
    benign = rows.pop("benign", np.empty(0, np.intp))
    _ = rows.pop(UNLABELLED, None)  # neither benign nor an attack
    return benign, {attack: at for attack, at in rows.items() if len(at) >= MIN_RECORDS}


def _few(values: Array, most: int) -> bool:
    """Whether there are at most ``most`` different values."""
    return len(np.unique(values[: 64 * most])) <= most and len(np.unique(values)) <= most

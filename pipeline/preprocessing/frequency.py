"""How rarely a value occurs: for columns whose numbers are names, such as a port."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

RARITY: Final = "_rarity"


class RarityFit:
    """How many of some rows have which value; NaN and Infinity are none."""

    def __init__(self, values: NDArray[np.float64]) -> None:
        found, counts = np.unique(values[np.isfinite(values)], return_counts=True)
        self.counts: Counter[float] = Counter(dict(zip((found + 0.0).tolist(), counts.tolist(), strict=True)))
        self.rows = len(values)

    def add(self, other: "RarityFit") -> None:
        """Count the rows of ``other`` too."""
        self.counts.update(other.counts)
        self.rows += other.rows


@dataclass(frozen=True)
class Frequency:
    """Surprise of a value, -log of the share of other rows that have it, standardised over the rows of the fit::

        r(v) = log((N + 1) / max(n(v), 1))

    of N rows, n(v) of which have v. A value that one row alone has is as rare as one that none has, so that a row of
    the fit, which has seen itself, and a new one are measured alike.

    Attributes:
        values: (V,) those that two rows or more have, ascending.
        counts: (V,) how many.
        rows: N.
    """

    values: NDArray[np.float64]
    counts: NDArray[np.float64]
    rows: int

    @classmethod
    def of(cls, counts: Mapping[float, int], rows: int) -> Self:
        """That of ``rows`` rows, of which ``counts`` counts those with a value."""
        often = sorted(value for value, count in counts.items() if count > 1)
        return cls(np.array(often, dtype=np.float64), np.array([counts[v] for v in often], dtype=np.float64), rows)

    def encode(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) of values, (n,)."""
        rarity = np.full(len(values), np.log(self.rows + 1.0))
        if len(self.values):
            at = np.searchsorted(self.values, values).clip(max=len(self.values) - 1)
            known = self.values[at] == values
            rarity[known] -= np.log(self.counts[at[known]])
        mean, spread = self._moments()
        return (rarity - mean) / spread

    def _moments(self) -> tuple[float, float]:
        """Mean and deviation over the rows of the fit; a deviation of 0 counts as 1."""
        rarity = np.log(self.rows + 1.0) - np.append(np.log(self.counts), 0.0)
        weight = np.append(self.counts, self.rows - self.counts.sum()) / max(self.rows, 1)
        mean = float((weight * rarity).sum())
        return mean, float(np.sqrt((weight * np.square(rarity - mean)).sum())) or 1.0

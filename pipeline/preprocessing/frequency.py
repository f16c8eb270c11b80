"""How rare a value is: for columns whose numbers are names, such as a port."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

FREQUENCY: Final = "_rarity"


class FrequencyFit:
    """Counts how many rows have each value; NaN and Infinity are not counted as values."""

    def __init__(self, values: NDArray[np.float64]) -> None:
        found, counts = np.unique(values[np.isfinite(values)], return_counts=True)
        self.counts: Counter[float] = Counter(dict(zip((found + 0.0).tolist(), counts.tolist(), strict=True)))
        self.rows = len(values)

    def add(self, other: "FrequencyFit") -> None:
        """Include the rows of ``other``."""
        self.counts.update(other.counts)
        self.rows += other.rows


@dataclass(frozen=True)
class Frequency:
    """Surprise of a value, -log of the share of other rows that have it, standardised over the rows of the fit::

        r(v) = log((N + 1) / max(n(v), 1))

    where n(v) of N rows have v. A value that only one row has counts as rare as one that no row has. Otherwise a row of
    the fit, which counts itself, would look less rare than a new row with the same value.

    Attributes:
        values: (V,) values that at least two rows have, ascending.
        counts: (V,) how many rows have each.
        rows: N.
    """

    values: NDArray[np.float64]
    counts: NDArray[np.float64]
    rows: int

    @classmethod
    def of(cls, counts: Mapping[float, int], rows: int) -> Self:
        """The encoding for ``rows`` rows, where ``counts`` says how many have each value."""
        often = sorted(value for value, count in counts.items() if count > 1)
        return cls(np.array(often, dtype=np.float64), np.array([counts[v] for v in often], dtype=np.float64), rows)

    def encode(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The standardised surprise of values, (n,) to (n,)."""
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

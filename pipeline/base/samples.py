"""Samples: the rows that every stage after preprocess maps, with their identity and labels."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)

CONTEXT: Final = "context"
SCORES: Final = ("margin", "detector", "head", CONTEXT)
"""What the scores of a record are called, in the order of every table and function.

There need be no head and no context. Where there is a context, a record without one has the score NaN there.
"""


@dataclass(frozen=True)
class Samples:
    """Rows that keep their identity while ``x`` is mapped from features to latent to score.

    Attributes:
        record_id: (n,) uint64, stable over runs.
        y: (n,) int8, 1 for an attack.
        attack: (n,) str objects, canonical attack name, ``benign`` where y is 0.
        confidence: (n,) float32 in [-1, 1], +1 surely benign, -1 surely anomalous, 0 unknown.
        balanced: (n,) bool, whether the row belongs to the balanced subset that an encoder trains on.
        x: (n, F) float32.
        columns: the F names of the columns of x.
    """

    record_id: NDArray[np.uint64]
    y: NDArray[np.int8]
    attack: NDArray[np.object_]
    confidence: NDArray[np.float32]
    balanced: NDArray[np.bool_]
    x: NDArray[np.float32]
    columns: tuple[str, ...]

    def __post_init__(self) -> None:
        rows = {name: len(getattr(self, name)) for name in ("record_id", "y", "attack", "confidence", "balanced", "x")}
        if len(set(rows.values())) > 1:
            raise ValueError(f"Samples: the arrays differ in their rows: {rows}")
        if self.x.ndim != 2 or self.x.shape[1] != len(self.columns):
            raise ValueError(f"Samples: x has shape {self.x.shape}, but there are {len(self.columns)} column names")

    def __len__(self) -> int:
        return len(self.record_id)

    def select(self, rows: NDArray[np.bool_] | NDArray[np.intp] | slice) -> Self:
        """The same samples at ``rows``: a mask, indices or a slice."""
        return replace(
            self,
            record_id=self.record_id[rows],
            y=self.y[rows],
            attack=self.attack[rows],
            confidence=self.confidence[rows],
            balanced=self.balanced[rows],
            x=self.x[rows],
        )

    def without_last_column(self) -> Self:
        """The same rows without the last column of x, such as the margin behind a latent."""
        return self.map(lambda x: np.ascontiguousarray(x[:, :-1]), self.columns[:-1])

    def map(self, function: Callable[[NDArray[np.float32]], NDArray[np.float32]], columns: tuple[str, ...]) -> Self:
        """The same rows with ``x`` replaced by ``function(x)``, whose columns are named ``columns``."""
        return replace(self, x=function(self.x), columns=columns)

    @property
    def benign(self) -> NDArray[np.bool_]:
        """(n,) mask of the rows with y = 0."""
        mask: NDArray[np.bool_] = self.y == 0
        return mask

    @property
    def trusted(self) -> NDArray[np.bool_]:
        """(n,) mask of the rows with y = 0 that are not taken for attacks: their confidence is at least 0."""
        mask: NDArray[np.bool_] = self.benign & (self.confidence >= 0)
        return mask


def joined(parts: Sequence[Samples]) -> Samples:
    """The rows of ``parts``, which have the same columns, one after the other."""
    first = parts[0]
    return replace(
        first,
        record_id=np.concatenate([part.record_id for part in parts]),
        y=np.concatenate([part.y for part in parts]),
        attack=np.concatenate([part.attack for part in parts]),
        confidence=np.concatenate([part.confidence for part in parts]),
        balanced=np.concatenate([part.balanced for part in parts]),
        x=np.concatenate([part.x for part in parts]),
    )


BLOCK: Final = 256  # rows or columns that fit into a cache


def transposed(matrix: NDArray[T]) -> NDArray[T]:
    """(m, n) of (n, m), in memory too. Block by block this takes a fifth of the time of one copy."""
    rows, columns = matrix.shape
    found = np.empty((columns, rows), matrix.dtype)
    for start in range(0, max(rows, columns), BLOCK):
        part = slice(start, start + BLOCK)
        if rows >= columns:
            found[:, part] = matrix[part].T
        else:
            found[part] = matrix[:, part].T
    return found


_GOLDEN, _MIX, _LAST = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_HALF = np.uint64(32)


def row_hash(columns: Iterable[NDArray[np.generic]]) -> NDArray[np.uint64]:
    """(n,) 64-bit content hashes of rows, which are given as columns, (n,) each.

    Equal rows have equal hashes; among 3 million unequal rows a collision has a probability of about 2e-7.
    -0.0 counts as 0.0 and every NaN as the same NaN. Each step can be inverted, so no information is lost; its
    constants are those of splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
    """
    hashed: NDArray[np.uint64] | None = None
    for column in columns:
        bits = _bits(column)
        hashed = bits + _GOLDEN if hashed is None else np.bitwise_xor(hashed, bits, out=hashed)
        hashed *= _MIX
        hashed ^= np.right_shift(hashed, _HALF, out=bits)
    if hashed is None:
        raise ValueError("row_hash: no columns given")
    hashed *= _LAST
    return hashed ^ (hashed >> _HALF)


def _bits(column: NDArray[np.generic]) -> NDArray[np.uint64]:
    """A copy of the column as 64 bits for each value."""
    if column.dtype.kind in "iub":
        return column.astype(np.uint64 if column.dtype.kind == "u" else np.int64).view(np.uint64)
    values: NDArray[np.float64] = np.add(column, 0.0, dtype=np.float64)  # -0.0 becomes 0.0
    undefined = np.isnan(values)
    if undefined.any():
        values[undefined] = np.nan
    return values.view(np.uint64)

"""Exact search for the nearest rows, which looks into few cells of them."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]  # float32 or float64, as the references are
Whole = NDArray[np.int64]

SLACK: Final = 16  # rounding units by which a squared distance may be wrong, relative to the squared lengths
FAR: Final = 1000  # radii
ROWS_AT_ONCE: Final = 8192
PAIRS: Final = 2**16  # of rows, that are compared exactly at once
_SLACK: Final = {kind: SLACK * float(np.finfo(kind).eps) for kind in "fd"}


class Search:
    """Which references are nearest to a row, by Euclidean distance.

    All references of a cell with centre c and radius r are at least |z - c| - r away from z. A cell is left out where k
    references are known to be nearer than that (Fukunaga, Narendra, "A Branch and Bound Algorithm for Computing
    k-Nearest Neighbors", 1975). So the result is exact. Records of a network lie in clusters: about 20 cells are
    searched for a row, however many there are.

    Distances inside a cell are computed from its centre, so their rounding error is relative to the size of the cell.
    References that are level but for this error are compared once more in float64. So the neighbours of a row do not
    depend on the rows beside it.

    Args:
        reference: (R, F) rows; those of a cell stand together.
        sizes: (C,) rows of each cell, at least 1.
    """

    def __init__(self, reference: Floats, sizes: Whole) -> None:
        self.reference = rows = reference
        self.starts = sizes.cumsum() - sizes
        cells = np.split(rows, self.starts[1:])
        self.centres = np.stack([cell.sum(0) for cell in cells]) / sizes[:, None].astype(rows.dtype)
        self.squares, self.columns = [], []
        for cell, centre in zip(cells, self.centres, strict=True):
            apart = cell - centre
            self.squares.append(np.einsum("rf,rf->r", apart, apart))
            self.columns.append(np.multiply(apart.T, -2, order="C"))  # (F, size)
        self.radii = np.sqrt(np.array([each.max() for each in self.squares], rows.dtype))

    def nearest(self, z: Floats, k: int) -> Whole:
        """(n, k) positions of the references that are nearest to each row of z, (n, F), the nearest first."""
        with np.errstate(all="ignore"):  # a row whose length overflows is infinitely far from all
            parts = [self._of_cells(z[at : at + ROWS_AT_ONCE], k) for at in range(0, len(z), ROWS_AT_ONCE)]
        return np.concatenate([np.zeros((0, k), np.int64), *parts])

    def _of_cells(self, z: Floats, k: int) -> Whole:
        """The cell with the nearest centre first, then each that may hold a nearer reference."""
        centre, least = self._distances(z)
        rows, first = np.arange(len(z)), centre.argmin(1)
        found = _Found(len(z), k, z.dtype)
        order = np.argsort(first, kind="stable")
        self._visit(z, first[order], rows[order], least, found)
        least[rows, first] = np.inf
        cells, others = np.nonzero((least < found.reach[:, None]).T)
        self._visit(z, cells, others, least, found)
        return found.nearest(z, self.reference)

    def _distances(self, z: Floats) -> tuple[Floats, Floats]:
        """Squared distances of z, (n, F), from the centres, and the least distances from a reference, (n, C) each."""
        lengths = np.einsum("nf,nf->n", z, z)[:, None] + np.einsum("cf,cf->c", self.centres, self.centres)
        squares = lengths - 2 * (z @ self.centres.T)
        sure = np.maximum(squares - _rounding(lengths), 0)
        return squares, np.sqrt(sure, out=sure) - self.radii

    def _visit(self, z: Floats, cells: Whole, rows: Whole, least: Floats, found: "_Found") -> None:
        """Search for row rows[i] in cell cells[i] where it may hold a nearer reference.

        Args:
            z: (n, F).
            cells: (p,), ascending.
            rows: (p,).
            least: (n, C) distances from a reference of each cell, at least.
            found: what is known so far; it learns the rest.
        """
        begin = np.flatnonzero(np.diff(cells, prepend=-1))
        for cell, some in zip(cells[begin].tolist(), np.split(rows, begin)[1:], strict=True):
            still = some[least[some, cell] < found.reach[some]]
            if len(still):
                self._search(z[still], cell, still, found)

    def _search(self, z: Floats, cell: int, rows: Whole, found: "_Found") -> None:
        """Search for the ``rows``, which are z, (m, F), in one cell."""
        apart = z - self.centres[cell]
        length, radius = np.einsum("mf,mf->m", apart, apart), self.radii[cell]
        squares = apart @ self.columns[cell]
        squares += self.squares[cell]
        squares += length[:, None]
        # From that far all references of the cell are level but for rounding.
        unsure = np.where(length < (FAR * radius) ** 2, _rounding(length + radius**2), 0)
        found.add(rows, squares, unsure, self.starts[cell])


class _Found:
    """The references that may be the nearest ones, as far as they are known.

    Attributes:
        squares: (n, k) squared distances that the nearest ones surely do not exceed.
        reach: (n,) the largest of these distances; infinite while there are fewer than k.
    """

    def __init__(self, rows: int, k: int, dtype: np.dtype[Any]) -> None:
        self.squares = np.full((rows, k), np.inf, dtype)
        self.reach = np.full(rows, np.inf, dtype)
        self.rows: list[Whole] = []
        self.which: list[Whole] = []
        self.least: list[Floats] = []

    def add(self, rows: Whole, squares: Floats, unsure: Floats, start: int) -> None:
        """Take in the references from ``start`` on.

        Args:
            rows: (m,) whose distances from them are known.
            squares: (m, size) these distances, squared.
            unsure: (m,) by which they may be wrong.
            start: position of the first reference.
        """
        largest = self._shrink(rows, _least(squares, self.squares.shape[1]) + unsure[:, None])
        at = np.flatnonzero(squares <= (largest + unsure)[:, None])
        row, place = np.divmod(at, squares.shape[1])
        self.rows.append(rows[row])
        self.which.append(place + start)
        self.least.append(squares.ravel()[at] - unsure[row])

    def _shrink(self, rows: Whole, squares: Floats) -> Floats:
        """(m,) the largest squared distances of the rows, now that further ones, (m, up to k), are known."""
        k = self.squares.shape[1]
        known = self.squares[rows]
        if k == 1:
            both = np.maximum(np.minimum(known, squares), 0)
        else:
            both = _least(np.maximum(np.concatenate([known, squares], axis=1), 0), k)
        self.squares[rows] = both
        largest: Floats = both[:, 0] if k == 1 else both.max(1)
        self.reach[rows] = np.sqrt(largest)
        return largest

    def nearest(self, z: Floats, reference: Floats) -> Whole:
        """(n, k) positions by exact distances of z, (n, F), from the references, (R, F); of equal ones the first."""
        nearest = np.zeros(self.squares.shape, np.int64)
        if not self.rows:
            return nearest
        rows, which, least = (np.concatenate(each) for each in (self.rows, self.which, self.least))
        may = least <= self.squares.max(1)[rows]
        rows, which = rows[may], which[may]
        order = np.lexsort((which, _squared(z, rows, reference, which), rows))
        rows, which = rows[order], which[order]
        rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
        first = rank < self.squares.shape[1]
        nearest[rows[first], rank[first]] = which[first]
        return nearest


def _rounding(lengths: Floats) -> Floats:
    """By how much a squared distance that is computed by a product may be wrong, given the squared lengths."""
    wrong: Floats = lengths * _SLACK[lengths.dtype.char]
    return wrong


def _least(values: Floats, k: int) -> Floats:
    """(n, k) the k least values of each row, (n, m), in any order; all m if there are fewer."""
    if k >= values.shape[1]:
        return values
    least: Floats = values.min(1, keepdims=True) if k == 1 else np.partition(values, k - 1, axis=1)[:, :k]
    return least


def _squared(z: Floats, rows: Whole, reference: Floats, which: Whole) -> NDArray[np.float64]:
    """(p,) squared distances of pairs, in float64, so that they depend on nothing but the pair."""
    parts = [slice(start, start + PAIRS) for start in range(0, len(rows), PAIRS)]
    apart = (z[rows[part]].astype(np.float64) - reference[which[part]] for part in parts)
    squares = [np.einsum("pf,pf->p", each, each) for each in apart]
    return np.concatenate(squares) if squares else np.zeros(0)

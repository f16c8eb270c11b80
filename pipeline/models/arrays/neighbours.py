"""Exact search for the nearest rows, which looks into few cells of them, and at few of their axes first."""

from functools import cached_property
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]  # float32 or float64, as the references are
Short = NDArray[np.float32]
Double = NDArray[np.float64]
Whole = NDArray[np.int64]

AXES: Final = 24  # of a short row
DRAWN: Final = 100_000  # references, about, from which the axes are found; a value that few have can make an axis
SLACK: Final = 32  # rounding units by which a squared distance between short rows may be wrong, relative to the lengths
FAR: Final = 1e4  # squared length in that of the middle reference, from which on a row is compared with all references
ROWS_AT_ONCE: Final = 8192
BLOCK: Final = 256  # rows whose distances from all cells fit into a cache
PAIRS: Final = 512  # of rows, that do
MOST_PAIRS: Final = 2**25  # of rows and references that are looked at between two looks at whole rows: memory
AFAR: Final = 32  # rows that are compared with all references at once
_SLACK: Final = SLACK * float(np.finfo(np.float32).eps)


class Search:
    """Which references are nearest to a row, by Euclidean distance; of equal ones the first.

    A row is made short: its components along the ``AXES`` principal axes of the references, and the length of the rest.
    The distance between two short rows is at most that between the rows. Records of a network lie along few axes, so it
    is nearly that. All references of a cell with centre c and radius r, both short, are at least |z - c| - r away from
    z. So a cell is left out where k references are known to be nearer than that, and then each reference whose short
    distance is larger (Fukunaga, Narendra, "A Branch and Bound Algorithm for Computing k-Nearest Neighbors", 1975). Of
    32,000 references about 2,000 are looked at, and about 10 compared as they are.

    Bounds have room for rounding, and what is left is compared in float64. So the result is exact, and the neighbours
    of a row do not depend on the rows beside it. Rows that are very far away are compared with all references.

    Args:
        reference: (R, F) rows; those of a cell stand together.
        sizes: (C,) rows of each cell, at least 1.
    """

    def __init__(self, reference: Floats, sizes: Whole) -> None:
        self.reference, self.ends = reference, sizes.cumsum()
        self.starts = self.ends - sizes
        drawn = reference[:: max(1, len(reference) // DRAWN)]
        self.middle = drawn.mean(0, dtype=np.float64)
        apart = drawn - self.middle.astype(reference.dtype)
        _, axes = np.linalg.eigh((apart.T @ apart).astype(np.float64))
        self.axes = np.ascontiguousarray(axes[:, ::-1][:, :AXES])
        short, squares = self._short(reference)
        self.far = FAR * float(np.median(squares))
        self._cells(short, squares.astype(np.float32), sizes)

    def _short(self, z: Floats) -> tuple[Short, Double]:
        """Short rows of z, (n, F), and their squared lengths, (n,)."""
        short, squares = np.empty((len(z), self.axes.shape[1] + 1), np.float32), np.empty(len(z))
        for at in range(0, len(z), BLOCK):
            part = slice(at, at + BLOCK)
            apart = z[part] - self.middle
            along = apart @ self.axes
            squares[part] = np.einsum("nf,nf->n", apart, apart)
            rest = squares[part] - np.einsum("na,na->n", along, along)
            short[part, :-1], short[part, -1] = along, np.sqrt(np.maximum(rest, 0))
        return short, squares

    def _cells(self, short: Short, squares: Short, sizes: Whole) -> None:
        """Keep what short rows of references, (R, A), and their squared lengths, (R,), are multiplied by.

        With s = [short z, 1, limit], the product with the column of a reference is its squared distance from z, less
        the squared length of z, less the limit; and likewise with the column of a cell.
        """
        one = np.ones_like(squares)
        slack = np.repeat(np.maximum.reduceat(squares, self.starts), sizes) * np.float32(_SLACK)
        columns = np.column_stack([-2 * short, squares - slack, -one])
        self.columns = [np.ascontiguousarray(part.T) for part in np.split(columns, self.starts[1:])]
        centres = np.add.reduceat(short, self.starts, axis=0) / sizes[:, None].astype(np.float32)
        apart = short - np.repeat(centres, sizes, axis=0)
        radii = np.sqrt(np.maximum.reduceat(np.einsum("ra,ra->r", apart, apart), self.starts)) * np.float32(1 + _SLACK)
        length = np.einsum("ca,ca->c", centres, centres)
        self.centres = np.column_stack([-2 * centres, length])
        self.balls = np.column_stack([-2 * centres, length * (1 - _SLACK) - radii**2, -2 * radii]).astype(np.float32)

    def nearest(self, z: Floats, k: int) -> Whole:
        """(n, k) positions of the references that are nearest to each row of z, (n, F), the nearest first."""
        with np.errstate(all="ignore"):  # a row whose length overflows is infinitely far from all
            parts = [self._of_part(z[at : at + ROWS_AT_ONCE], k) for at in range(0, len(z), ROWS_AT_ONCE)]
        return np.concatenate([np.zeros((0, k), np.int64), *parts])

    def _of_part(self, z: Floats, k: int) -> Whole:
        short, squares = self._short(z)
        near = squares < self.far
        if near.all():
            return self._of_near(z, short, squares, k)
        found = np.empty((len(z), k), np.int64)
        found[~near] = self._of_far(z[~near], k)
        if near.any():
            found[near] = self._of_near(z[near], short[near], squares[near], k)
        return found

    def _of_near(self, z: Floats, short: Short, squares: Double, k: int) -> Whole:
        """``nearest``, of rows whose short rows and squared lengths are given."""
        reach = self._reach(z, short, self._first_cells(short), k)  # (n,) squared distance of k references, at most
        visited = self._visited(short, squares, reach)
        pairs = (self.ends - self.starts).astype(np.float32) @ visited.astype(np.float32)  # (n,) that are looked at
        asked = self._asked(short, squares, reach)
        ends = np.flatnonzero(np.diff(pairs.cumsum() // MOST_PAIRS)) + 1
        parts = [slice(*each) for each in pairwise([0, *ends.tolist(), len(z)])]
        found = [self._of_cells(z[part], asked[part], visited[:, part], reach[part], k) for part in parts]
        return np.concatenate(found)

    def _of_cells(self, z: Floats, asked: Short, visited: NDArray[np.bool_], reach: Double, k: int) -> Whole:
        """``nearest``, of rows whose cells and reach are known."""
        rows, which, least = self._candidates(asked, visited)
        if k == 1:
            may = self._closer(z, rows, which, least, reach)
            rows, which = rows[may], which[may]
        return self._chosen(z, rows, which, k)

    def _closer(self, z: Floats, rows: Whole, which: Whole, least: Short, reach: Double) -> NDArray[np.bool_]:
        """(p,) which pairs may still be the nearest, once the pair with the least short distance of a row is compared.

        Then a first look in the precision of the rows leaves about one for each.
        """
        best = np.full(len(z), np.inf, np.float32)
        np.minimum.at(best, rows, least)
        first = np.flatnonzero(least == best[rows])
        closest = reach.copy()
        np.minimum.at(closest, rows[first], _squared(z, rows[first], self.reference, which[first]) * (1 + _SLACK))
        may = least <= (closest - reach * (1 - _SLACK))[rows]
        some = np.flatnonzero(may)
        rows, which = rows[some], which[some]
        squares = _squared(z, rows, self.reference, which)
        smallest = np.full(len(z), np.inf, squares.dtype)
        np.minimum.at(smallest, rows, squares)
        may[some] = squares <= smallest[rows] * (1 + 4 * (z.shape[1] + 4) * float(np.finfo(squares.dtype).eps))
        return may

    def _first_cells(self, short: Short) -> Whole:
        """(n,) the cell with the nearest centre."""
        blocks = (short[at : at + BLOCK] for at in range(0, len(short), BLOCK))
        found = [(block @ self.centres[:, :-1].T + self.centres[:, -1]).argmin(1) for block in blocks]
        return np.concatenate([np.zeros(0, np.int64), *found])

    def _reach(self, z: Floats, short: Short, first: Whole, k: int) -> Double:
        """(n,) squared distance from the k-th of the references whose short rows are nearest in the first cell."""
        order = np.argsort(first, kind="stable")
        cells, begin = np.unique(first[order], return_index=True)
        guessed = np.empty((len(z), k), np.int64)
        asked = np.column_stack([short, np.ones(len(z), np.float32)])
        for cell, rows in zip(cells.tolist(), np.split(order, begin[1:]), strict=True):
            start, columns = self._at_least(cell, k)
            squares = asked[rows] @ columns[:-1]
            least = squares.argmin(1)[:, None] if k == 1 else np.argpartition(squares, k - 1, axis=1)[:, :k]
            guessed[rows] = least + start
        rows = np.repeat(np.arange(len(z)), k)
        squares = _squared(z, rows, self.reference, guessed.ravel()).reshape(len(z), k).astype(np.float64)
        reach: Double = squares.max(1) * (1 + _SLACK)
        return reach

    def _at_least(self, cell: int, k: int) -> tuple[int, Short]:
        """Where a cell begins, and its columns; with those of its neighbours where it has fewer than k references."""
        first, last = cell, cell + 1
        while self.ends[last - 1] - self.starts[first] < k:
            first, last = max(first - 1, 0), min(last + 1, len(self.columns))
        columns = self.columns[first:last]
        return int(self.starts[first]), columns[0] if len(columns) == 1 else np.concatenate(columns, axis=1)

    def _visited(self, short: Short, squares: Double, reach: Double) -> NDArray[np.bool_]:
        """(C, n) whether a cell may hold a reference within reach: |z - c|^2 <= (root of the reach + r)^2."""
        asked = self._asked(short, squares, reach)
        limit, asked[:, -1] = asked[:, -1].copy(), np.sqrt(reach)
        visited = np.empty((len(self.balls), len(short)), bool)
        for at in range(0, len(short), BLOCK):
            part = slice(at, at + BLOCK)
            np.less_equal(self.balls @ asked[part].T, limit[part], out=visited[:, part])
        return visited

    @staticmethod
    def _asked(short: Short, squares: Double, reach: Double) -> Short:
        """(n, A + 2) what the columns are multiplied by."""
        limit = reach - squares * (1 - _SLACK)
        return np.column_stack([short, np.ones(len(short)), limit]).astype(np.float32)

    def _candidates(self, asked: Short, visited: NDArray[np.bool_]) -> tuple[Whole, Whole, Short]:
        """(p,) rows, references that may be within reach of them, and squared short distances, less the reach."""
        every, which, least = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
        for cell in np.flatnonzero(visited.any(1)).tolist():
            rows = visited[cell].nonzero()[0]
            columns = self.columns[cell]
            squares = (asked.take(rows, axis=0) @ columns).ravel()
            place = (squares <= 0).nonzero()[0]
            row = place // columns.shape[1]
            least.append(squares.take(place))
            every.append(rows.take(row))
            which.append(place - row * columns.shape[1] + self.starts[cell])
        return np.concatenate(every), np.concatenate(which), np.concatenate(least)

    def _chosen(self, z: Floats, rows: Whole, which: Whole, k: int) -> Whole:
        """(n, k) the nearest of the pairs of rows and references, (p,) each."""
        nearest = np.zeros((len(z), k), np.int64)
        if k == 1:
            alone = np.bincount(rows, minlength=len(z))[rows] == 1
            nearest[rows[alone], 0] = which[alone]
            rows, which = rows[~alone], which[~alone]
        squares = _squared(z, rows, self.reference, which, np.float64)
        order = np.lexsort((which, squares, rows))
        rows, which = rows[order], which[order]
        rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
        first = rank < k
        nearest[rows[first], rank[first]] = which[first]
        return nearest

    def _of_far(self, z: Floats, k: int) -> Whole:
        """``nearest``, of rows that all references are far from: their distances are what float64 makes of them."""
        columns, squares = self._doubles
        found = np.empty((len(z), k), np.int64)
        for at in range(0, len(z), AFAR):
            part = np.zeros((AFAR, z.shape[1]))  # products of the same shape round in the same way
            some = z[at : at + AFAR]
            part[: len(some)] = some - self.middle
            apart = (squares + part @ columns)[: len(some)]
            least = np.sort(np.argpartition(apart, k - 1, axis=1)[:, :k], axis=1)
            order = np.take_along_axis(apart, least, axis=1).argsort(axis=1, kind="stable")
            found[at : at + AFAR] = np.take_along_axis(least, order, axis=1)
        return found

    @cached_property
    def _doubles(self) -> tuple[Double, Double]:
        """What rows in float64 are multiplied by, (F, R), and the squared lengths of the references, (R,)."""
        apart = self.reference - self.middle
        return -2 * apart.T, np.einsum("rf,rf->r", apart, apart)


def _squared(z: Floats, rows: Whole, reference: Floats, which: Whole, dtype: Any = None) -> Floats:
    """(p,) squared distances of pairs, by their differences, so that they depend on nothing but the pair."""
    parts = [slice(start, start + PAIRS) for start in range(0, len(rows), PAIRS)]
    apart = (
        np.subtract(z.take(rows[part], axis=0), reference.take(which[part], axis=0), dtype=dtype) for part in parts
    )
    squares = [np.einsum("pf,pf->p", each, each) for each in apart]
    return np.concatenate([np.zeros(0, reference.dtype if dtype is None else dtype), *squares])

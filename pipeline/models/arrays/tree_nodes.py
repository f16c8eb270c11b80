"""Trees as vectors: all rows walk down all of them at once, and again where one entry of a row is another."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Whole = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Nodes:
    """T trees, whose nodes lie in one vector. A leaf leads to itself.

    Attributes:
        root: (T,) node that each tree begins at; the nodes of a tree stand together.
        feature, threshold: (N,) which entry a node looks at, and up to which value it goes to the left.
        left, right: (N,) the nodes behind it.
        depth: of the deepest tree.
    """

    root: Whole
    feature: Whole
    threshold: Floats
    left: Whole
    right: Whole
    depth: int

    @cached_property
    def after(self) -> Whole:
        """(2 N,) the left and the right node behind each."""
        return np.stack([self.left, self.right], axis=1).ravel()

    def leaves(self, x: Floats) -> Whole:
        """(B, T) leaf of each row of x, (B, F), in each tree."""
        node = np.broadcast_to(self.root, (len(x), len(self.root)))
        for _ in range(self.depth):
            node = self._next(node, np.take_along_axis(x, self.feature.take(node), axis=1))
        return node

    def detours(self, x: Floats, reference: Floats) -> tuple[tuple[Whole, Whole, Whole, Whole], Whole]:
        """As ``Trees.detours``."""
        node, found = np.broadcast_to(self.root, (len(x), len(self.root))), [np.zeros((4, 0), np.int64)]
        for _ in range(self.depth):
            entry = self.feature.take(node)
            usual, other = (self._next(node, np.take_along_axis(each, entry, axis=1)) for each in (x, reference))
            row, tree = np.nonzero(usual != other)
            found.append(np.stack([row, tree, entry[row, tree], other[row, tree]]))
            node = usual
        every = np.concatenate(found, axis=1)
        key = (every[0] * len(self.root) + every[1]) * x.shape[1] + every[2]
        order = key.argsort(kind="stable")  # of several detours of one way by one entry the first counts
        first = order[np.diff(key[order], prepend=-1) != 0]
        row, tree, entry, begin = every[:, first]
        return (row, tree, entry, self._end(begin, row, entry, np.stack([x, reference]))), node

    def _end(self, node: Whole, row: Whole, entry: Whole, both: Floats) -> Whole:
        """(p,) the leaves behind nodes for rows of x, of which one entry each is that of ``reference``: (2, B, F)."""
        begin, rows = row * both.shape[2], both[0].size
        for _ in range(self.depth):
            looked = self.feature.take(node)
            node = self._next(node, both.take(begin + looked + rows * (looked == entry)))
        return node

    def _next(self, node: Whole, value: Floats) -> Whole:
        """The nodes that follow, where the entries that they look at have these values."""
        found: Whole = self.after.take(2 * node + (value > self.threshold.take(node)))
        return found

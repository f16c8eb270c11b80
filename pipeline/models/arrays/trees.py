"""Boosted trees: which leaf each row comes to, what the leaves add up to, and where one other entry leads elsewhere."""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.models.arrays.small_trees import SmallTrees
from pipeline.models.arrays.tree_nodes import Nodes

ROWS_AT_ONCE: Final = 512  # whose comparisons with all nodes fit into a cache

Whole = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]


class Detours(NamedTuple):
    """Where rows would leave their way if one entry were another.

    Attributes:
        row, tree, entry: (p,) each: which way, and by which entry; ascending by row, then by tree.
        leaf: (p,) that they would come to then.
    """

    row: Whole
    tree: Whole
    entry: Whole
    leaf: Whole


class Trees:
    """G sets of T trees each, as a model stores them. A row goes to the left up to a threshold; NaN goes to the left.

    Trees of few leaves are looked up (``small_trees``), others are walked. Both find the same leaves.

    Args:
        root: (G T,) node that each tree begins at; the nodes of a tree stand together.
        feature, threshold: (N,) which entry a node looks at, and up to which value it goes to the left.
        left, right: (N,) the nodes behind it; a leaf leads to itself.
        value: (N,) log-odds that a leaf adds.
        start: (G,) log-odds before the first tree.
        depth: of the deepest tree.
    """

    def __init__(
        self,
        root: Whole,
        feature: Whole,
        threshold: Floats,
        left: Whole,
        right: Whole,
        value: Floats,
        start: Floats,
        depth: int,
    ) -> None:
        self.nodes = Nodes(root, feature, threshold, left, right, int(depth))
        self.value, self.start = value.astype(np.float64), start.astype(np.float64)
        self.small = SmallTrees.of(self.nodes, self.value, len(start))

    def leaves(self, x: Floats) -> Whole:
        """(B, G T) leaf of each row of x, (B, F), in each tree."""
        way = self.nodes if self.small is None else self.small
        parts = [way.leaves(x[at : at + ROWS_AT_ONCE]) for at in range(0, len(x), ROWS_AT_ONCE)]
        return np.concatenate([np.zeros((0, len(self.nodes.root)), np.int64), *parts])

    def odds(self, x: Floats) -> NDArray[np.float64]:
        """(B, G) log-odds of x, (B, F), by each set of trees. Those of a row do not depend on the rows beside it."""
        parts = [self._odds(x[at : at + ROWS_AT_ONCE]) for at in range(0, len(x), ROWS_AT_ONCE)]
        return np.concatenate([np.zeros((0, len(self.start))), *parts])

    def _odds(self, x: Floats) -> NDArray[np.float64]:
        if self.small is not None:
            return self.start + self.small.sums(x)
        found: NDArray[np.float64] = self.start + self.sums(self.nodes.leaves(x))
        return found

    def sums(self, leaves: Whole) -> NDArray[np.float64]:
        """(B, G) what the leaves, (B, G T), of each set of trees add up to."""
        sets = len(self.start)
        shape = len(leaves), sets, leaves.shape[1] // sets
        found: NDArray[np.float64] = self.value.take(leaves).reshape(shape).sum(2)
        return found

    def detours(self, x: Floats, reference: Floats) -> tuple[Detours, Whole]:
        """Where rows of x, (B, F), would leave their way with one entry of ``reference``; and their (B, G T) leaves."""
        way = self.nodes if self.small is None else self.small
        found, leaves = way.detours(x, reference)
        return Detours(*found), leaves

    def replaced(self, x: Floats, reference: Floats) -> NDArray[np.float64]:
        """(B, F, G) log-odds of x, (B, F), if one entry alone takes its value in ``reference``."""
        detours, leaves = self.detours(x, reference)
        row, tree, entry, end = detours
        sets = len(self.start)
        change = self.value.take(end) - self.value.take(leaves[row, tree])
        place = (row * x.shape[1] + entry) * sets + tree // (len(self.nodes.root) // sets)
        changes = np.bincount(place, change, x.size * sets).reshape(*x.shape, sets)
        found: NDArray[np.float64] = (self.start + self.sums(leaves))[:, None] + changes
        return found

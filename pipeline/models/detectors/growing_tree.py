"""One tree while it grows on histograms; a histogram that nobody reads is not counted.

Each split of a tree chooses from a share of the features, drawn anew. scikit-learn's trees count the histograms of all
features at every node. Here a node counts those that its own split, or a node below it, looks at. The counting and the
choice of a split are the library's own compiled parts, so the trees are the same to the last bit. These parts are
private. A test compares the trees with those of the public class.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.models.detectors.binning import BINS, Binned

Floats = NDArray[np.float64]
Rows = NDArray[np.uint32]

LEAST_ROWS: Final = 20  # of a leaf
LEAST_HESSIAN: Final = 1e-3  # of a leaf
NODE: Final = np.dtype(
    [
        ("leaf", "?"),
        ("feature", "i8"),
        ("threshold", "f8"),
        ("left", "i8"),
        ("right", "i8"),
        ("value", "f8"),
        ("bin", "u1"),
    ]
)


@dataclass(frozen=True)
class Growth:
    """How trees grow; the settings are those of ``Boosting``.

    Attributes:
        trees, leaves, l2, seed: as there.
        shrinkage: its ``learning_rate``.
        feature_share: its ``share``.
        sample: as there; None: all rows.
    """

    trees: int
    leaves: int
    shrinkage: float
    feature_share: float
    l2: float
    seed: int
    sample: int | None = None


class Node:
    """A node while its tree grows.

    Attributes:
        depth: steps from the root.
        begin, end: of its rows.
        gradients, hessians: their sums.
        value: of the node if it is a leaf.
        split: the best one, once it is known.
        children: once it is split.
        above, beside: its parent and its sibling, where its histograms are what the sibling's leave of the parent's.
        counted: rows, in the order in which they are counted, where they are counted.
        table: (F, bins) histograms, as far as ``known``, (F,).
    """

    def __init__(self, depth: int, begin: int, end: int, sums: tuple[float, float, float], features: int) -> None:
        self.depth, self.begin, self.end = depth, begin, end
        self.gradients, self.hessians, self.value = sums
        self.split: Any = None
        self.children: tuple[Node, ...] = ()
        self.above: Node | None = None
        self.beside: Node | None = None
        self.counted: Rows | None = None
        self.table: Any = None
        self.known = np.zeros(features, bool)

    def __lt__(self, other: "Node") -> bool:
        """Whether it is split before another one."""
        return bool(self.split.gain > other.split.gain)


class Tree:
    """A tree that has grown, on (n,) gradients and Hessians."""

    def __init__(
        self,
        binned: Binned,
        gradients: NDArray[np.float32],
        hessians: NDArray[np.float32],
        growth: Growth,
        generator: np.random.Generator,
    ) -> None:
        from sklearn.ensemble._hist_gradient_boosting.histogram import HistogramBuilder
        from sklearn.ensemble._hist_gradient_boosting.splitting import Splitter

        self.n, self.features = binned.codes.shape
        self.growth, self.generator, self.leaves = growth, generator, list[Node]()
        counting = (binned.codes, BINS + 1, gradients, hessians, False, 1)
        # The library's builder puts the gradients of a node in order. Those of the root stay as they are in its own.
        self.of_root, self.of_others = HistogramBuilder(*counting), HistogramBuilder(*counting)
        none = np.zeros(self.features, np.uint8)
        used = np.array([len(each) + 1 for each in binned.thresholds], np.uint32)
        limits = (growth.l2, LEAST_HESSIAN, LEAST_ROWS, 0.0)
        self.splitter = Splitter(
            binned.codes, used, BINS, none, none, none.astype(np.int8), *limits, False, 1.0, generator, 1
        )
        self.partition = np.asarray(self.splitter.partition)
        self.every: list[Node] = []
        self.root = self._planted()
        self._grow()
        for node in self.every:  # nodes that know each other are not freed at once, and a table is large
            node.above = node.beside = node.table = None

    def rows(self, node: Node) -> Rows:
        """The rows of a node."""
        found: Rows = self.partition[node.begin : node.end]
        return found

    def _planted(self) -> Node:
        """The root."""
        root = Node(0, 0, self.n, (0.0, 0.0, 0.0), self.features)
        self.every.append(root)
        first = self._table(root, np.zeros(1, np.uint32))[0]
        root.gradients, root.hessians = first["sum_gradients"].sum(), first["sum_hessians"].sum()
        return root

    def _grow(self) -> None:
        """Split the node that gains most, until there are enough leaves."""
        waiting: list[Node] = []
        if self.root.hessians >= LEAST_HESSIAN:
            self._offer(self.root, waiting)
        else:
            self.leaves.append(self.root)
        while waiting:
            children = self._divided(heappop(waiting))
            if len(self.leaves) + len(waiting) + 2 == self.growth.leaves:
                self.leaves += [*children, *waiting]
                return
            for child in children:
                self._offer(child, waiting)

    def _offer(self, node: Node, waiting: list[Node]) -> None:
        """Find the best split of a node; one without any becomes a leaf."""
        if node.end - node.begin >= 2 * LEAST_ROWS:
            features = self._drawn()
            table, sums = self._table(node, features), (node.gradients, node.hessians, node.value)
            node.split = self.splitter.find_node_split(
                node.end - node.begin, table, *sums, -math.inf, math.inf, features
            )
            if node.split.gain > 0:
                heappush(waiting, node)
                return
        self.leaves.append(node)

    def _drawn(self) -> Rows:
        """The features that a split chooses from."""
        if self.growth.feature_share == 1:
            return np.arange(self.features, dtype=np.uint32)
        drawn = np.zeros(self.features, bool)
        drawn[: max(1, math.ceil(self.growth.feature_share * self.features))] = True
        self.generator.shuffle(drawn)
        return np.flatnonzero(drawn).astype(np.uint32)

    def _divided(self, node: Node) -> tuple[Node, Node]:
        """The children of a node: the smaller one is counted, the other one has what it leaves."""
        split, depth = node.split, node.depth + 1
        middle = node.begin + self.splitter.split_indices(split, self.rows(node))[2]
        of_left = (split.sum_gradient_left, split.sum_hessian_left, split.value_left)
        of_right = (split.sum_gradient_right, split.sum_hessian_right, split.value_right)
        left = Node(depth, node.begin, middle, of_left, self.features)
        right = Node(depth, middle, node.end, of_right, self.features)
        small, large = (left, right) if 2 * middle < node.begin + node.end else (right, left)
        small.counted, large.above, large.beside = self.rows(small).copy(), node, small
        node.children = left, right
        self.every += node.children
        return left, right

    def _table(self, node: Node, features: Rows) -> Any:
        """(F, bins) histograms of a node, of which those of the ``features`` are known now."""
        wanted = features[~node.known[features]]
        if not len(wanted):
            return node.table
        if node.above is not None and node.beside is not None:
            whole, part = self._table(node.above, wanted), self._table(node.beside, wanted)
            found = np.empty_like(whole)
            _copy(found, whole, wanted)
            self.of_others.compute_histograms_subtraction(found, part, wanted)
        elif node.counted is not None:
            found = self.of_others.compute_histograms_brute(node.counted, wanted).base
        else:
            found = self.of_root.compute_histograms_brute(self.partition, wanted).base
        if node.table is None:
            node.table = found
        else:
            _copy(node.table, found, wanted)
        node.known[wanted] = True
        return node.table

    def nodes(self, thresholds: Sequence[Floats]) -> NDArray[Any]:
        """The nodes as an array of type ``NODE``."""
        rows: list[Any] = []
        self._describe(self.root, thresholds, rows)
        return np.array(rows, NODE)

    def _describe(self, node: Node, thresholds: Sequence[Floats], rows: list[Any]) -> int:
        """Append a node, and those below it, to the rows; gives its place."""
        place = len(rows)
        if not node.children:
            rows.append((True, 0, 0.0, place, place, node.value * self.growth.shrinkage, 0))
            return place
        rows.append(None)
        feature = node.split.feature_idx
        left, right = (self._describe(child, thresholds, rows) for child in node.children)
        place_of_split = node.split.bin_idx
        rows[place] = (False, feature, thresholds[feature][place_of_split], left, right, 0.0, place_of_split)
        return place


def _copy(into: Any, table: Any, features: Rows) -> None:
    """Copy the histograms of the features as bytes: numpy copies records field by field, at many times the cost."""
    into.view(np.uint8)[features] = table.view(np.uint8)[features]

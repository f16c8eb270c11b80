"""Small trees without walking: each feature of a row crosses out leaves, and the first one left is where it ends."""

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.models.detectors.forest import Forest

MOST_LEAVES: Final = 8  # of a tree: one bit of a byte each
FEWEST_ROWS: Final = 1000  # that are worth the tables: those of 700 trees take about as long as the walk of 400 rows


class Masks:
    """The leaves that rows end in, as ``Forest.leaves`` finds them.

    A row that is above the threshold of a node cannot end to its left. So each node that sends a row to the right
    crosses out some leaves, and the row ends in the first that is left. A feature of a row decides at all nodes that
    look at it: at those with a threshold below it. They are a beginning of the feature's nodes in the order of their
    thresholds. What each such beginning crosses out is known in advance, in one byte for each tree.

    Lucchese, Nardini, Orlando, Perego, Tonellotto, Venturini, "QuickScorer: a Fast Algorithm to Rank Documents with
    Additive Ensembles of Regression Trees", 2015, with the crossings of all nodes of a feature joined.

    Args:
        forest: of trees with at most ``MOST_LEAVES`` leaves.
    """

    def __init__(self, forest: Forest) -> None:
        self.forest, trees = forest, len(forest.root)
        feature, threshold = forest.feature.numpy(), forest.threshold.numpy()
        node, tree, crossed, leaf = _crossed(forest)
        order = np.lexsort((threshold[node], feature[node]))
        node, tree, crossed = node[order], tree[order], crossed[order]
        self.features, begin = np.unique(feature[node], return_index=True)
        self.thresholds = np.split(threshold[node], begin[1:])
        self.tables = []
        for trees_of, bits in zip(np.split(tree, begin[1:]), np.split(crossed, begin[1:]), strict=True):
            table = np.full((len(bits) + 1, trees), 255, np.uint8)
            table[np.arange(1, len(bits) + 1), trees_of] = bits
            self.tables.append(np.bitwise_and.accumulate(table, axis=0))
        first = np.array([0, *((i & -i).bit_length() - 1 for i in range(1, 256))])  # bit that is set
        self.ends = leaf[:, first].ravel()  # (T 256,) leaf that each byte of a tree means
        self.offsets = 256 * np.arange(trees)

    @staticmethod
    def fits(forest: Forest) -> bool:
        """Whether the trees lie on a CPU and have few leaves."""
        if forest.root.device.type != "cpu":
            return False
        inner = forest.left.numpy() != np.arange(len(forest.left))
        of_tree = np.repeat(np.arange(len(forest.root)), np.diff(forest.root.numpy(), append=len(inner)))
        return bool((np.bincount(of_tree, inner, len(forest.root)) < MOST_LEAVES).all())

    def leaves(self, x: Tensor) -> Tensor:
        """(B, T) leaf of each row of x, (B, F), in each tree."""
        values = x.numpy()
        values = np.where(np.isnan(values), -np.inf, values)  # what is missing is above no threshold
        left = np.full((len(values), len(self.offsets)), 255, np.uint8)
        crossed = np.empty_like(left)
        for feature, thresholds, table in zip(self.features, self.thresholds, self.tables, strict=True):
            table.take(thresholds.searchsorted(values[:, feature]), axis=0, out=crossed, mode="clip")
            left &= crossed
        return torch.from_numpy(self.ends.take(left + self.offsets))


def _crossed(
    forest: Forest,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64]]:
    """The inner nodes, (I,), the tree of each, and the bits without the leaves to its left; (T, 8) leaves of the trees.

    Bit i of a tree stands for its leaf i, counted from the left.
    """
    left, right = forest.left.tolist(), forest.right.tolist()
    nodes: list[tuple[int, int, int]] = []
    leaf = np.zeros((len(forest.root), MOST_LEAVES), np.int64)

    def walk(tree: int, node: int, before: int) -> int:
        """How many leaves of the tree stand before the end of a node, of those ``before`` its beginning."""
        if left[node] == node:
            leaf[tree, before] = node
            return before + 1
        middle = walk(tree, left[node], before)
        nodes.append((node, tree, 255 - (1 << middle) + (1 << before)))
        return walk(tree, right[node], middle)

    for tree, root in enumerate(forest.root.tolist()):
        walk(tree, root, 0)
    columns = np.array(nodes, np.int64).reshape(-1, 3).T
    return columns[0], columns[1], columns[2].astype(np.uint8), leaf

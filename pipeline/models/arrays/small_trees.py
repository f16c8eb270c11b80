"""Small trees as tables: all nodes are compared at once, and no row walks."""

from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.models.arrays.tree_nodes import Nodes

MOST: Final = 8  # leaves of a tree: a byte has a bit for each of them, and for each inner node
WORDS: Final = 2 ** (MOST - 1)
TOGETHER: Final = 3  # trees whose values are looked up at once: a table of 8^3 entries fits into the first cache
ENTRIES: Final = MOST**TOGETHER
# Times this, modulo 256, each power of two has another number in its highest three bits (a de Bruijn sequence).
SEQUENCE: Final = 0b00011101

Bytes = NDArray[np.uint8]
Whole = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]


class SmallTrees:
    """T trees of at most ``MOST`` leaves, whose inner nodes are numbered from 0 to M - 1 or less.

    A node that sends a row to the right rules out the leaves on its left, and the leaf of the row is the leftmost of
    the others: Lucchese and others, "QuickScorer: A Fast Algorithm to Rank Documents with Additive Ensembles of
    Regression Trees", 2015. No comparison waits for another. Each threshold of a feature is compared once, although
    several trees have it. Rows stand beside each other in memory, so that one instruction compares many of them.

    Args:
        nodes: of these trees.
        inner: (m,) the inner nodes.
        size: (N,) how many leaves lie below each node.
        first: (N,) how many leaves of the tree lie on the left of these.
        value: (N,) what a leaf adds.
        sets: G, into which the trees are dealt one after the other, as many each.
    """

    def __init__(self, nodes: Nodes, inner: Whole, size: Whole, first: Whole, value: Floats, sets: int) -> None:
        node = np.arange(len(size))
        tree = np.searchsorted(nodes.root, node, side="right") - 1
        inner = inner[tree[inner].argsort(kind="stable")]
        own = tree[inner]
        number = np.arange(len(own)) - np.searchsorted(own, own)
        self.sets, self.trees = sets, len(nodes.root)
        shape = int(number.max(initial=0)) + 1, self.trees
        self.feature, self.threshold = np.zeros(shape, np.int64), np.full(shape, np.inf, nodes.threshold.dtype)
        self.feature[number, own], self.threshold[number, own] = nodes.feature[inner], nodes.threshold[inner]
        self.left, self.below = np.zeros((2, *shape), np.uint8)
        self.left[number, own] = _bits(first[inner], size[nodes.left[inner]])
        self.below[number, own] = _bits(first[inner], size[inner])
        leaf = node[nodes.left == node]
        self.leaf = np.zeros((self.trees, MOST), np.int64)  # by its place in the tree
        self.leaf[tree[leaf], first[leaf]] = leaf
        self._compare()
        self._join(value)

    @classmethod
    def of(cls, nodes: Nodes, value: Floats, sets: int) -> Self | None:
        """Those of nodes; None where there is no tree, or one of too many leaves."""
        inner, size, first = _numbered(nodes)
        few = len(size) and int(size.max()) <= MOST
        return cls(nodes, inner, size, first, value, sets) if few else None

    def _compare(self) -> None:
        """Find what is to be compared: for each feature its thresholds, and of each node which of all these it is."""
        pairs = np.empty(self.feature.size, [("feature", "i8"), ("threshold", self.threshold.dtype)])
        pairs["feature"], pairs["threshold"] = self.feature.ravel(), self.threshold.ravel()
        distinct, place = np.unique(pairs, return_inverse=True)
        self.compared = place.reshape(self.feature.shape)  # (M, T)
        used, begin = np.unique(distinct["feature"], return_index=True)
        parts = np.split(np.ascontiguousarray(distinct["threshold"])[:, None], begin[1:])
        self.by_feature = [*zip(used.tolist(), begin.tolist(), parts, strict=True)]
        self.comparisons = len(distinct)

    def _join(self, value: Floats) -> None:
        """Make the tables of what ``TOGETHER`` trees of a set add together, by the numbers of their three leaves."""
        each, number = self.trees // self.sets, (np.left_shift(1, np.arange(MOST)) * SEQUENCE % 256) >> 5
        groups = -(-each // TOGETHER)
        values = np.zeros((self.sets, groups * TOGETHER, MOST))
        values[:, :each, number] = value[self.leaf].reshape(self.sets, each, MOST)
        trio = values.reshape(-1, TOGETHER, MOST)
        sums = trio[:, 0, :, None, None] + trio[:, 1, None, :, None] + trio[:, 2, None, None, :]
        self.values = sums.ravel()  # (G groups ENTRIES,)
        self.begin = (np.arange(self.sets * groups) * ENTRIES)[:, None]
        at = np.full((self.sets, groups * TOGETHER), self.trees)  # the trees; one that is not there stands for none
        at[:, :each] = np.arange(self.trees).reshape(self.sets, each)
        self.members = at.reshape(-1, TOGETHER).T.copy()  # (TOGETHER, G groups)

    def leaves(self, x: Floats) -> Whole:
        """(B, T) leaf of each row of x, (B, F), in each tree."""
        only = self._only(self._right(x))  # (T, B)
        return self.leaf.take(_place(only) + np.arange(self.trees)[:, None] * MOST).T

    def sums(self, x: Floats) -> NDArray[np.float64]:
        """(B, G) what the leaves of x, (B, F), add up to in each set."""
        only = self._only(self._right(x))
        number = np.zeros((self.trees + 1, len(x)), np.uint8)
        np.right_shift(np.multiply(only, np.uint8(SEQUENCE), out=only), 5, out=number[:-1])
        first, second, third = (number.take(each, axis=0) for each in self.members)
        entry = first.astype(np.uint16)
        entry <<= 6
        entry |= ((second << 3) | third).astype(np.uint16)
        place = entry.astype(np.int64)
        place += self.begin
        found = self.values.take(place).reshape(self.sets, -1, len(x))
        total = np.zeros((self.sets, len(x)))
        for each in found.transpose(1, 0, 2):  # one after the other, whatever the number of rows
            total += each
        return total.T

    def _right(self, x: Floats) -> Bytes:
        """(C, B) of each distinct comparison, whether it sends a row of x, (B, F), to the right: 1, or 0."""
        columns = np.ascontiguousarray(x.T)
        right = np.empty((self.comparisons, len(x)), bool)
        for feature, begin, thresholds in self.by_feature:
            np.greater(columns[feature], thresholds, out=right[begin : begin + len(thresholds)])
        return right.view(np.uint8)

    def _only(self, right: Bytes) -> Bytes:
        """(T, B) the bit of the leaf that each row comes to in each tree."""
        over = np.zeros((self.trees, right.shape[1]), np.uint8)
        for compared, left in zip(self.compared, self.left, strict=True):
            found = right.take(compared, axis=0)
            found *= left[:, None]
            over |= found
        return _leftmost(over)

    def detours(self, x: Floats, reference: Floats) -> tuple[tuple[Whole, Whole, Whole, Whole], Whole]:
        """As ``Trees.detours``."""
        usual, other = (self._right(each).take(self.compared, axis=0) for each in (x, reference))  # (M, T, B)
        only = _leftmost(_joined(usual * self.left[..., None]))  # (T, B)
        bit = np.left_shift(1, np.arange(len(usual))).astype(np.uint8)[:, None]  # (M, 1)
        on_the_way = (self.below[..., None] & only) != 0
        differs = _joined(((usual != other) & on_the_way) * bit[..., None])  # (T, B) bits of nodes
        same = _joined((self.feature[:, None] == self.feature) * bit[:, None])  # (M, T) nodes with the entry of each
        earlier = same & (2 * bit - 1)
        first = (differs & earlier[..., None]) == bit[..., None]  # (M, T, B): of one entry the first node counts
        row, tree, node = np.nonzero(first.transpose(2, 1, 0))
        looks = (same[node, tree] & bit) != 0  # (M, p)
        right = np.where(looks, other[:, tree, row], usual[:, tree, row])
        end = _leftmost(_joined(right * self.left[:, tree]))
        leaves = self.leaf[np.arange(self.trees)[:, None], _place(only)]
        return (row, tree, self.feature[node, tree], self.leaf[tree, _place(end)]), leaves.T


def _joined(bits: Bytes) -> Bytes:
    """Bytes along the first axis as one, which has the bits of all of them."""
    found: Bytes = np.bitwise_or.reduce(bits, axis=0)
    return found


def _leftmost(over: Bytes) -> Bytes:
    """The bit of the leftmost leaf, given those that are ruled out."""
    found: Bytes = np.invert(over) & (over + np.uint8(1))
    return found


def _place(only: Bytes) -> Whole:
    """Which bit it is."""
    place: Whole = np.bitwise_count(only - np.uint8(1)).astype(np.int64)
    return place


def _numbered(nodes: Nodes) -> tuple[Whole, Whole, Whole]:
    """The inner nodes, (m,), and of all nodes, (N,), how many leaves lie below, and how many on the left of these."""
    levels, node = [nodes.root[:0]], nodes.root
    for _ in range(nodes.depth):
        node = node[nodes.left[node] != node]
        levels.append(node)
        node = np.concatenate([nodes.left[node], nodes.right[node]])
    size, first = np.ones_like(nodes.left), np.zeros_like(nodes.left)
    for node in reversed(levels):
        size[node] = size[nodes.left[node]] + size[nodes.right[node]]
    for node in levels:
        first[nodes.left[node]] = first[node]
        first[nodes.right[node]] = first[node] + size[nodes.left[node]]
    return np.concatenate(levels), size, first


def _bits(begin: Whole, number: Whole) -> Bytes:
    """(n,) bytes with so many bits, from ``begin`` on."""
    return (((1 << number) - 1) << begin).astype(np.uint8)

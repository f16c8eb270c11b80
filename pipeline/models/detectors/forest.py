"""Many trees as vectors: all rows walk down all of them at once, and again where one entry of a row is another."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor


class Detours(NamedTuple):
    """Where rows would leave their way if one entry were another.

    Attributes:
        row, tree, entry: (p,) each: which way, and by which entry.
        leaf: (p,) that they would come to then.
    """

    row: Tensor
    tree: Tensor
    entry: Tensor
    leaf: Tensor


@dataclass(frozen=True)
class Forest:
    """T trees, whose nodes lie in one vector. A leaf leads to itself.

    Attributes:
        root: (T,) node that each tree begins at.
        feature, threshold: (N,) which entry a node looks at, and up to which value it goes to the left.
        left, right: (N,) the nodes behind it.
        depth: of the deepest tree.
    """

    root: Tensor
    feature: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    depth: int

    @cached_property
    def after(self) -> Tensor:
        """(2 N,) the left and the right node behind each."""
        return torch.stack([self.left, self.right], dim=1).flatten()

    def leaves(self, x: Tensor) -> Tensor:
        """(B, T) leaf of each row of x, (B, F), in each tree."""
        node = self.root.expand(len(x), -1)
        for _ in range(self.depth):
            node = self._next(node, x.gather(1, at(self.feature, node)))
        return node

    def detours(self, x: Tensor, reference: Tensor) -> tuple[Detours, Tensor]:
        """Where rows of x, (B, F), would leave their way with one entry of ``reference``; and their (B, T) leaves."""
        node, found = self.root.expand(len(x), -1), []
        for _ in range(self.depth):
            entry = at(self.feature, node)
            usual, other = (self._next(node, each.gather(1, entry)) for each in (x, reference))
            row, tree = (usual != other).nonzero(as_tuple=True)
            found.append(torch.stack([row, tree, entry[row, tree], other[row, tree]]))
            node = usual
        every = torch.cat(found, dim=1) if found else node.new_zeros(4, 0)
        key = (every[0] * len(self.root) + every[1]) * x.shape[1] + every[2]
        order = key.argsort(stable=True)  # of several detours of one way by one entry the first counts
        first = order[torch.cat([key.new_ones(1), key[order].diff()])[: len(order)] != 0]
        row, tree, entry, begin = every[:, first]
        return Detours(row, tree, entry, self._end(begin, row, entry, torch.stack([x, reference]))), node

    def _end(self, node: Tensor, row: Tensor, entry: Tensor, both: Tensor) -> Tensor:
        """(p,) the leaves behind nodes for rows of x, of which one entry each is that of ``reference``: (2, B, F)."""
        begin, rows = row * both.shape[2], both[0].numel()
        for _ in range(self.depth):
            looked = at(self.feature, node)
            node = self._next(node, at(both.flatten(), begin + looked + rows * (looked == entry)))
        return node

    def _next(self, node: Tensor, value: Tensor) -> Tensor:
        """The nodes that follow, where the entries that they look at have these values."""
        return at(self.after, 2 * node + (value > at(self.threshold, node)))


def at(values: Tensor, places: Tensor) -> Tensor:
    """``values``, (N,), at places of any shape; faster on a CPU than ``take``."""
    return values.index_select(0, places.reshape(-1)).view(places.shape)

"""Batches drawn by index from tensors that stay on the device: no per-row Python, no worker process."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from pipeline.models.base import Batch


class Batches:
    """An iterable over one epoch of shuffled batches; their order depends only on seed and epoch.

    Args:
        data: all rows.
        size: rows in a batch over all shards; the last batch holds the rest.
        seed: of the order.
        shard: which part of each batch this process draws, and of how many.

    Attributes:
        epoch: the epoch whose order the next iteration takes.
    """

    def __init__(self, data: Batch, size: int, seed: int, shard: tuple[int, int] = (0, 1)) -> None:
        self.data, self.size, self.seed, self.shard = data, size, seed, shard
        self.epoch = 0

    def __len__(self) -> int:
        return math.ceil(len(self.data.y) / self.size)

    def to(self, device: torch.device) -> None:
        """Move the rows."""
        self.data = Batch(*(column.to(device) for column in self.data))

    def __iter__(self) -> Iterator[Batch]:
        return (self.at(rows) for group in self.groups(1) for rows in group)

    def groups(self, size: int) -> Iterator[tuple[Tensor, ...]]:
        """The rows of the same batches, ``size`` batches at a time; ``at`` reads them."""
        generator = torch.Generator().manual_seed(mix(self.seed, self.epoch))
        order = torch.randperm(len(self.data.y), generator=generator).to(self.data.y.device)
        for rows in torch.split(order, self.size * size):
            yield torch.split(rows, self.size)

    def at(self, rows: Tensor) -> Batch:
        """The part of a batch that belongs to this process."""
        part = self._part(rows)
        return Batch(*(column.index_select(0, part) for column in self.data))

    def _part(self, rows: Tensor) -> Tensor:
        """The rows of a batch that belong to this process.

        Each process must make the same number of steps, each on at least one row, so a short batch is repeated.
        """
        rank, shards = self.shard
        return rows if shards == 1 else rows.repeat(math.ceil(shards / len(rows)))[rank::shards]


class Groups:
    """An iterable over the rows of ``batches``, ``size`` batches at a time."""

    def __init__(self, batches: Batches, size: int) -> None:
        self.batches, self.size = batches, size

    def __len__(self) -> int:
        return math.ceil(len(self.batches) / self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        return self.batches.groups(self.size)


def mix(*numbers: int) -> int:
    """One seed from several numbers, so that (1, 2) and (2, 1) differ (the step of splitmix64, Steele et al., 2014)."""
    mixed = 0
    for number in numbers:
        mixed = (mixed ^ number) + 0x9E3779B97F4A7C15
        mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 & (1 << 64) - 1
        mixed ^= mixed >> 27
    return mixed % (1 << 63)

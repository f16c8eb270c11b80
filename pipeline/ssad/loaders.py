"""A user's own data loaders, rebuilt so that each row comes with its position.

A loader keeps its data set, sampler, collate function and workers. Only the loader reads rows, one batch at a time; a
single number is kept of each row.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler, IterableDataset, Sampler, SubsetRandomSampler

from pipeline.base.errors import DataError
from pipeline.models.training.batches import mix

MOST_AT_ONCE = 256  # rows that are scored together if the loader has no batch size
_NAMES = (("x", "y"), ("data", "label"), ("image", "label"))


class Indexed(Dataset[tuple[Any, int]]):
    """A data set whose items carry their position."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]  # ``sized`` has looked

    def __getitem__(self, row: int) -> tuple[Any, int]:
        return self.dataset[row], row

    def __getitems__(self, rows: Sequence[int]) -> list[tuple[Any, int]]:
        many = getattr(self.dataset, "__getitems__", None)
        items = many(list(rows)) if many else [self.dataset[row] for row in rows]
        return list(zip(items, rows, strict=True))


class Collate:
    """The user's collate function, and the positions as one tensor, (B,)."""

    def __init__(self, collate: Callable[[list[Any]], Any]) -> None:
        self.collate = collate

    def __call__(self, pairs: Sequence[tuple[Any, int]]) -> tuple[Any, Tensor]:
        """A batch and its (B,) positions."""
        items, rows = zip(*pairs, strict=True)
        return self.collate(list(items)), torch.tensor(rows, dtype=torch.int64)


@dataclass
class Draw:
    """What decides the order of rows, apart from the loader itself.

    Attributes:
        seed: of all orders.
        epoch: the next epoch to draw.
        shard: number of this process, from 0, and how many processes there are.
    """

    seed: int
    epoch: int = 0
    shard: tuple[int, int] = (0, 1)


class Order(Sampler[Any]):
    """The rows that a sampler draws in an epoch, or the part of this process.

    The order depends only on seed and epoch, so a resumed training draws the same rows as an uninterrupted one. Each
    process gets the same number of rows; if they do not suffice, the last processes start again from the first row.
    """

    def __init__(self, sampler: Any, draw: Draw) -> None:
        self.sampler, self.draw = sampler, draw

    @property
    def _shard(self) -> tuple[int, int]:
        return (0, 1) if isinstance(self.sampler, DistributedSampler) else self.draw.shard

    def __len__(self) -> int:
        return math.ceil(len(self.sampler) / self._shard[1])

    def __iter__(self) -> Iterator[Any]:
        own = getattr(self.sampler, "generator", None)
        if own is not None:
            own.manual_seed(mix(own.initial_seed(), self.draw.epoch))
        if hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(self.draw.epoch)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(mix(self.draw.seed, self.draw.epoch))
            order = list(self.sampler)
        rank, shards = self._shard
        return islice(cycle(order), rank, len(self) * shards, shards)


class Loader(DataLoader[Any]):
    """A ``DataLoader`` whose workers draw by seed and epoch alone."""

    def __init__(self, draw: Draw, dataset: Dataset[Any], **settings: Any) -> None:
        self.draw = draw
        super().__init__(dataset, **{**settings, "generator": torch.Generator()})

    def __iter__(self) -> Any:
        assert self.generator is not None
        self.generator.manual_seed(mix(self.draw.seed, self.draw.epoch, self.draw.shard[0]))
        return super().__iter__()


def checked(loader: Any, name: str) -> DataLoader[Any]:
    """``loader``, if rows can be asked of it by their position.

    Raises:
        DataError: if it is no ``DataLoader`` that makes batches of a data set with a length.
    """
    if not isinstance(loader, DataLoader):
        raise DataError(f"{name}: needs one torch DataLoader, given {type(loader).__name__}")
    if loader.batch_sampler is None and not isinstance(loader.dataset, IterableDataset):
        raise DataError(f"{name}: batch_size is None; let the DataLoader make batches, so that each row has a position")
    sized(loader.dataset, name)
    return loader


def sized(dataset: Any, name: str) -> int:
    """How many rows a data set has.

    Raises:
        DataError: if it has no length or no rows.
    """
    kind = type(dataset).__name__
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise DataError(
            f"{name}: {kind} has no length, or no row at a position; confidence belongs to a row, so a data set with "
            "__len__ and __getitem__ is needed, not an IterableDataset; rows may be read from disk in __getitem__"
        )
    if len(dataset) == 0:
        raise DataError(f"{name}: {kind} is empty; at least one row is needed")
    return len(dataset)


def rows_of(loader: DataLoader[Any]) -> NDArray[np.int64]:
    """(n,) positions of the rows that are trained on: those of a ``SubsetRandomSampler``, else all."""
    if isinstance(loader.sampler, SubsetRandomSampler):
        return np.unique(np.asarray(list(loader.sampler.indices), dtype=np.int64))
    return np.arange(len(loader.dataset), dtype=np.int64)  # type: ignore[arg-type]


def training(loader: DataLoader[Any], draw: Draw) -> Loader:
    """The loader as the user built it, with positions, in the order of ``draw``."""
    if loader.batch_size is None:
        return _rebuilt(loader, draw, batch_sampler=Order(loader.batch_sampler, draw))
    order = Order(loader.sampler, draw)
    kept = loader.persistent_workers
    size, rest = loader.batch_size, loader.drop_last
    return _rebuilt(loader, draw, sampler=order, batch_size=size, drop_last=rest, persistent_workers=kept)


def scoring(loader: DataLoader[Any], rows: NDArray[np.int64], draw: Draw) -> Loader:
    """Each of ``rows`` once in ascending order, with the loader's batch size, collate function and workers."""
    size = loader.batch_size or getattr(loader.batch_sampler, "batch_size", None) or MOST_AT_ONCE
    fixed = Draw(draw.seed, 0, draw.shard)
    return _rebuilt(loader, fixed, sampler=Order(rows.tolist(), fixed), batch_size=size)


def _rebuilt(loader: DataLoader[Any], draw: Draw, **changes: Any) -> Loader:
    return Loader(
        draw,
        Indexed(loader.dataset),
        num_workers=loader.num_workers,
        collate_fn=Collate(loader.collate_fn),
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        prefetch_factor=loader.prefetch_factor,
        **changes,
    )


def unpacked(batch: Any) -> tuple[Any, Tensor | None]:
    """What a user's collate function made, as x and y; y is None where there are no labels.

    Raises:
        DataError: if it is none of x, (x, y, ...), {"x": x, "y": y}, {"data": x, "label": y}.
    """
    if isinstance(batch, Tensor):
        return batch, None
    if isinstance(batch, list | tuple) and batch:
        return batch[0], batch[1] if len(batch) > 1 else None
    if isinstance(batch, Mapping):
        for x, y in _NAMES:
            if x in batch:
                return batch[x], batch.get(y)
    given = f"a dict with {', '.join(map(repr, batch))}" if isinstance(batch, Mapping) else type(batch).__name__
    raise DataError(f'a batch must be x, (x, y), {{"x": x, "y": y}} or {{"data": x, "label": y}}, given {given}')


def labels(y: Any, rows: Tensor) -> Tensor:
    """(B,) labels as int8: 0 normal, 1 anomalous, -1 where none is known, which may be given as -1 or NaN.

    Raises:
        DataError: if there is not one label for each row, or one has another value.
    """
    if y is None:
        return torch.full((len(rows),), -1, dtype=torch.int8)
    given = torch.as_tensor(y).detach().cpu()
    if given.shape != (len(rows),):
        raise DataError(f"labels: needs one for each of {len(rows)} rows, given the shape {tuple(given.shape)}")
    given = given.double().nan_to_num(-1)
    wrong = ~torch.isin(given, torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64))
    if wrong.any():
        first = int(wrong.nonzero()[0])
        raise DataError(
            f"labels: 0 is normal, 1 anomalous, -1 or NaN unknown; given {float(given[first]):g} at row "
            f"{int(rows[first])}; let the data set say which classes are anomalous"
        )
    return given.to(torch.int8)

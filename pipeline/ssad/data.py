"""A user's data module, or plain data sets, in the form that the trainer reads: batches with positions of rows."""

from functools import cached_property
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from pipeline.base.errors import DataError
from pipeline.ssad import loaders
from pipeline.ssad.loaders import Draw, Loader


class Plain(LightningDataModule):  # type: ignore[misc]
    """Data sets or loaders, as a data module."""

    def __init__(self, train: Any, val: Any, test: Any, batch_size: int) -> None:
        super().__init__()
        self.given, self.batch_size = {"train": train, "val": val, "test": test}, batch_size

    def train_dataloader(self) -> Any:
        """The training rows, shuffled unless a loader was given."""
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> Any:
        """The validation rows."""
        return self._loader("val")

    def test_dataloader(self) -> Any:
        """The test rows."""
        return self._loader("test")

    def _loader(self, name: str, shuffle: bool = False) -> Any:
        given = self.given[name]
        if given is None or isinstance(given, DataLoader):
            return given
        loaders.sized(given, name)
        return DataLoader(given, self.batch_size, shuffle=shuffle)


class Supervised(LightningDataModule):  # type: ignore[misc]
    """Passes every hook on to the user's data module, and rebuilds its loaders."""

    def __init__(self, given: LightningDataModule, draw: Draw) -> None:
        super().__init__()
        self.given, self.draw = given, draw

    def prepare_data(self) -> None:
        """In one process of each machine."""
        self.given.prepare_data()

    def setup(self, stage: str) -> None:
        """In each process."""
        self.given.trainer = self.trainer
        self.draw.shard = (self.trainer.global_rank, self.trainer.world_size)
        self.given.setup(str(getattr(stage, "value", stage)))

    def teardown(self, stage: str) -> None:
        """In each process."""
        self.given.teardown(str(getattr(stage, "value", stage)))

    def state_dict(self) -> dict[str, Any]:
        """Of the user's data module."""
        return dict(self.given.state_dict())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Of the user's data module."""
        self.given.load_state_dict(state_dict)

    @cached_property
    def train_loader(self) -> DataLoader[Any]:
        """The user's own, asked for once."""
        return loaders.checked(self.given.train_dataloader(), "train_dataloader")

    @cached_property
    def rows(self) -> "np.ndarray[Any, np.dtype[np.int64]]":
        """(n,) positions of the rows that are trained on."""
        return loaders.rows_of(self.train_loader)

    def train_dataloader(self) -> Loader:
        """The training batches."""
        return loaders.training(self.train_loader, self.draw)

    def scoring_dataloader(self) -> Loader:
        """The training rows, once each."""
        return loaders.scoring(self.train_loader, self.rows, self.draw)

    def val_dataloader(self) -> Loader | list[Any]:
        """The validation rows, once each; none where there are none."""
        return self._once("val_dataloader")

    def test_dataloader(self) -> Loader | list[Any]:
        """The test rows, once each; none where there are none."""
        return self._once("test_dataloader")

    def has(self, name: str) -> bool:
        """Whether the user's data module has loader ``name``."""
        return getattr(type(self.given), name) is not getattr(LightningDataModule, name) and self._asked(name)

    def _asked(self, name: str) -> Any:
        given = getattr(self.given, name)()
        return given[0] if isinstance(given, list | tuple) and len(given) == 1 else given

    def _once(self, name: str) -> Loader | list[Any]:
        if not self.has(name):
            return []
        loader = loaders.checked(self._asked(name), name)
        return loaders.scoring(loader, loaders.rows_of(loader), self.draw)

    # A batch is the user's batch and positions: the hooks see the former alone.

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """The user's hook."""
        return self.given.on_before_batch_transfer(batch[0], dataloader_idx), batch[1]

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """The user's hook."""
        return self.given.transfer_batch_to_device(batch[0], device, dataloader_idx), batch[1].to(device)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """The user's hook."""
        return self.given.on_after_batch_transfer(batch[0], dataloader_idx), batch[1]

    def placed(self, batch: Any, device: torch.device) -> Any:
        """A batch through the three hooks, outside Lightning's loops."""
        batch = self.on_before_batch_transfer(batch, 0)
        return self.on_after_batch_transfer(self.transfer_batch_to_device(batch, device, 0), 0)


def data_module(data: Any, val: Any, test: Any, batch_size: int, draw: Draw) -> Supervised:
    """What the user brought, as the trainer reads it.

    Raises:
        DataError: a data module came with other data beside it.
    """
    if not isinstance(data, LightningDataModule):
        return Supervised(Plain(data, val, test, batch_size), draw)
    if val is not None or test is not None:
        raise DataError(f"{type(data).__name__} is a data module, so it brings val and test itself; leave both out")
    return Supervised(data, draw)

"""The Lightning side: one module that trains anything with ``loss(batch)``."""

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.utilities.exceptions import SIGTERMException
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import TrainingError
from pipeline.nn import Batch, Model, Scorer
from pipeline.thresholds import Thresholds
from pipeline.training import checkpoints
from pipeline.training.batches import Batches, mix
from pipeline.training.flat import Flat
from pipeline.training.settings import FitSettings, OnEpoch
from pipeline.training.updates import OnUpdate, Updates, from_state, joined, scores, state

CHECK_EVERY = 50  # steps: looking at a loss makes a GPU wait
AT_ONCE = 32  # steps between two of Lightning's, whose own work costs as much as a step of a small model
SCORED_AT_ONCE = 8192  # rows


class SafetensorsIO(CheckpointIO):  # type: ignore[misc]
    """Lightning's checkpoints as ``checkpoints`` writes them."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write the file."""
        checkpoints.write(checkpoint, Path(path))

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: Any = None) -> dict[str, Any]:
        """Read the file."""
        return checkpoints.read(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove the file."""
        Path(path).unlink(missing_ok=True)


class KeepBestAndLast(ModelCheckpoint):  # type: ignore[misc]
    """``best.safetensors`` by validation loss and ``last.safetensors``, at the end of each epoch."""

    FILE_EXTENSION = ".safetensors"

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder,
            "best",
            monitor="val_loss",
            save_last=True,
            enable_version_counter=False,
            auto_insert_metric_name=False,
            save_on_train_epoch_end=True,
        )


class ProgressBar(TQDMProgressBar):  # type: ignore[misc]
    """A bar for each epoch of training, none for validation."""

    def init_validation_tqdm(self) -> Any:
        """A bar that is never drawn."""
        bar = super().init_validation_tqdm()
        bar.disable = True
        return bar


class Groups:
    """An iterable over the rows of ``batches``, ``size`` batches at a time."""

    def __init__(self, batches: Batches, size: int) -> None:
        self.batches, self.size = batches, size

    def __len__(self) -> int:
        return math.ceil(len(self.batches) / self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        return self.batches.groups(self.size)


class Learner(LightningModule):  # type: ignore[misc]
    """Trains ``model`` by its own loss; knows batches, noise, optimiser and schedule, and nothing of the model.

    One process with plain precision makes its steps here, a group of them for each step of Lightning's; several
    processes or mixed precision leave them to Lightning, one by one.

    Attributes:
        rows: a dict for each epoch that is done, those before an interruption included.
        listeners: called with each row in the first process.
        updates: of the confidence of the training records, None for none.
        update_listeners: called with each update in the first process.
        thresholds: those of the last update.
        flat: the parameters as one vector, where the steps are made here.
    """

    def __init__(self, model: Model, train: Batches, val: Batches, settings: FitSettings, fingerprint: str) -> None:
        super().__init__()
        self.model, self.train_batches, self.val_batches = model, train, val
        self.settings, self.fingerprint = settings, fingerprint
        self.automatic_optimization = not settings.plain
        self.listeners: list[OnEpoch] = []
        self.updates: Updates | None = None
        self.update_listeners: list[OnUpdate] = []
        self.thresholds: Thresholds | None = None
        self.flat: Flat | None = None
        self.rows: list[dict[str, Any]] = []
        self._losses: list[Tensor] = []

    def train_dataloader(self) -> Groups | Batches:
        """The training batches, on the device, or in groups of them."""
        batches = self._placed(self.train_batches)
        return Groups(batches, AT_ONCE) if self.settings.plain else batches

    def val_dataloader(self) -> Batches:
        """The validation batches, on the device."""
        return self._placed(self.val_batches)

    def _placed(self, batches: Batches) -> Batches:
        batches.to(self.device)
        batches.shard = (self.global_rank, self.trainer.world_size)
        return batches

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """What it is given, as it is: rows are drawn on the device."""
        return batch

    def on_train_epoch_start(self) -> None:
        """Bind batches, noise and dropout to (seed, epoch): a resumed run draws what an uninterrupted one would."""
        self.train_batches.epoch = self.current_epoch
        torch.manual_seed(mix(self.settings.seed, self.current_epoch, self.global_rank))
        self._losses = []
        self._started = time.perf_counter()

    def training_step(self, given: Any, index: int) -> Tensor | None:
        """The steps of a group, by the rows of its batches, or the loss of a batch where Lightning makes the step."""
        if self.automatic_optimization:
            return self._loss(given)
        assert self.flat is not None
        optimizer, schedule = self.optimizers(use_pl_optimizer=False), self.lr_schedulers()
        move, trainer = partial(self.flat.step, optimizer), self.trainer
        *before, last = given
        for rows in before:
            self._step(rows, move, schedule)
            if trainer.received_sigterm:  # Lightning looks between groups alone
                raise SIGTERMException
        self._step(last, self.optimizers().step, schedule)  # Lightning counts this one
        return None

    def _step(self, rows: Tensor, move: Callable[[], Any], schedule: Any) -> None:
        assert self.flat is not None
        batch = self._noisy(self.train_batches.at(rows))
        found = self.model.loss_and_gradients(batch)
        if found is None:
            loss = self.model.loss(batch)
            found = loss, torch.autograd.grad(loss, self.flat.parameters, allow_unused=True, materialize_grads=True)
        self._note(found[0])
        self.flat.take(found[1], self.settings.gradient_clip)
        move()
        if schedule:
            schedule.step()

    def _loss(self, batch: Batch) -> Tensor:
        """The loss of a batch, with noise on its x."""
        loss: Tensor = self.model.loss(self._noisy(batch))
        self._note(loss)
        return loss

    def _noisy(self, batch: Batch) -> Batch:
        if self.settings.input_noise > 0:
            return batch._replace(x=torch.randn_like(batch.x).mul_(self.settings.input_noise).add_(batch.x))
        return batch

    def _note(self, loss: Tensor) -> None:
        self._losses.append(loss.detach())
        if len(self._losses) % CHECK_EVERY == 1:
            self._refuse_nan()

    def on_validation_epoch_start(self) -> None:
        """Training ends where validation begins."""
        self._refuse_nan()
        self._seconds = time.perf_counter() - self._started

    def validation_step(self, batch: Batch, index: int) -> None:
        """Add to the validation loss."""
        self.log("val_loss", self.model.loss(batch), batch_size=len(batch.y), sync_dist=True)

    def on_train_epoch_end(self) -> None:
        """Write the epoch down."""
        row = {
            "epoch": self.current_epoch,
            "train_loss": float(torch.stack(self._losses).mean()),
            "val_loss": float(self.trainer.callback_metrics["val_loss"]),
            "learning_rate": float(self.optimizers().param_groups[0]["lr"]),
            "seconds": self._seconds,
            "records_per_s": len(self.train_batches.data.y) / self._seconds,
        }
        if not math.isfinite(row["val_loss"]):
            raise TrainingError(
                f"{type(self.model).__name__}: the validation loss became {row['val_loss']} in epoch "
                f"{self.current_epoch}; lower learning_rate, or check the features for extreme values"
            )
        self.rows.append(row)
        if self.updates and self.updates.due(self.current_epoch, self.trainer.max_epochs):
            self._update(self.updates)
        for listener in self.listeners if self.global_rank == 0 else ():
            listener(self.current_epoch, row)

    def _update(self, updates: Updates) -> None:
        """Score the training records in evaluation mode; what comes of it is what the next epoch draws.

        Every process scores its part and sees the scores of all, so that all of them draw the same thresholds.
        """
        data = self.train_batches.data
        score = self._scores(data)
        update = updates.judge(self.current_epoch, score, data, self.thresholds)
        self.thresholds = update.thresholds
        self.train_batches.data = data._replace(confidence=torch.from_numpy(update.confidence).to(data.confidence))
        for listener in self.update_listeners if self.global_rank == 0 else ():
            listener(update)

    @torch.no_grad()
    def _scores(self, data: Batch) -> NDArray[np.float64]:
        """(n,) of the training records."""
        model = cast(Scorer, self.model)
        was_training = model.training
        model.eval()
        model.settle(data, SCORED_AT_ONCE)
        part = scores(model.score, data.x, self.train_batches.shard, SCORED_AT_ONCE)
        model.train(was_training)
        return joined(self.all_gather(part), len(data.y))

    def _refuse_nan(self) -> None:
        bad = (~torch.stack(self._losses).isfinite()).nonzero()
        if len(bad):
            raise TrainingError(
                f"{type(self.model).__name__}: the loss became {float(self._losses[int(bad[0])])} in epoch "
                f"{self.current_epoch}, step {int(bad[0])} of {len(self.train_batches)}; lower learning_rate or "
                "gradient_clip, or check the features for extreme values"
            )

    def configure_optimizers(self) -> dict[str, Any]:
        """Adam or AdamW, fused, and the cosine over all steps of the run."""
        kind = torch.optim.AdamW if self.settings.optimizer == "adamw" else torch.optim.Adam
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        if self.settings.plain:
            self.flat = Flat(self.model)  # not before: the model is on its device by now
            trained = [self.flat.vector]
        optimizer = kind(
            trained,
            lr=self.settings.learning_rate,
            weight_decay=self.settings.weight_decay,
            fused=not self.settings.precision.endswith("-mixed"),
        )
        if self.settings.schedule == "constant":
            return {"optimizer": optimizer}
        steps = len(self.train_batches) * self.trainer.max_epochs
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what a resumed run needs to know."""
        checkpoint["rows"] = self.rows
        checkpoint["fingerprint"] = self.fingerprint
        checkpoint["confidence"] = self.train_batches.data.confidence
        checkpoint["thresholds"] = state(self.thresholds)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take over the epochs that are done."""
        self.rows = list(checkpoint["rows"])
        data = self.train_batches.data
        self.train_batches.data = data._replace(confidence=checkpoint["confidence"].to(data.confidence))
        self.thresholds = from_state(checkpoint["thresholds"])

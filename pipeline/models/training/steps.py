"""The steps of one epoch: batches, noise, loss, optimiser and schedule."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor

from pipeline.base.errors import TrainingError
from pipeline.models.base import Batch, Model
from pipeline.models.training.batches import Batches, Groups, mix
from pipeline.models.training.flat import Flat
from pipeline.settings.training import FitSettings

CHECK_EVERY = 50  # steps: looking at a loss makes a GPU wait
AT_ONCE = 32  # steps between two of Lightning's, whose own work costs as much as a step of a small model


class Steps(LightningModule):  # type: ignore[misc]
    """Trains ``model`` by its own loss.

    One process with plain precision makes its steps here, a group of them for each step of Lightning's. Several
    processes or mixed precision leave the steps to Lightning, one by one.

    Attributes:
        flat: the parameters as one vector, if the steps are made here.
    """

    def __init__(self, model: Model, train: Batches, val: Batches, settings: FitSettings) -> None:
        super().__init__()
        self.model, self.train_batches, self.val_batches, self.settings = model, train, val, settings
        self.automatic_optimization = not settings.plain
        self.flat: Flat | None = None
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
        """The batch as it is: rows are drawn on the device already."""
        return batch

    def on_train_epoch_start(self) -> None:
        """Bind batches, noise and dropout to (seed, epoch): a resumed run draws what an uninterrupted one would."""
        self.train_batches.epoch = self.current_epoch
        torch.manual_seed(mix(self.settings.seed, self.current_epoch, self.global_rank))
        self._losses = []
        self._started = time.perf_counter()

    def training_step(self, given: Any, index: int) -> Tensor | None:
        """Make the steps of a group of batches; or return the loss of one batch, if Lightning makes the step."""
        if self.automatic_optimization:
            return self._loss(given)
        assert self.flat is not None
        optimizer, schedule = self.optimizers(use_pl_optimizer=False), self.lr_schedulers()
        move, trainer = partial(self.flat.step, optimizer), self.trainer
        *before, last = given
        for rows in before:
            self._step(rows, move, schedule)
            if trainer.received_sigterm:  # Lightning looks only between groups
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
        """Take the time of the training part of the epoch."""
        self._refuse_nan()
        self._seconds = time.perf_counter() - self._started

    def validation_step(self, batch: Batch, index: int) -> None:
        """Add to the validation loss."""
        self.log("val_loss", self.model.loss(batch), batch_size=len(batch.y), sync_dist=True)

    def _refuse_nan(self) -> None:
        bad = (~torch.stack(self._losses).isfinite()).nonzero()
        if len(bad):
            raise TrainingError(
                f"{type(self.model).__name__}: the loss became {float(self._losses[int(bad[0])])} in epoch "
                f"{self.current_epoch}, step {int(bad[0])} of {len(self.train_batches)}; lower learning_rate or "
                "gradient_clip, or check the features for extreme values"
            )

    def configure_optimizers(self) -> dict[str, Any]:
        """Fused Adam or AdamW, and a cosine over all steps; the learner sets the rate of a plateau from the history."""
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
        if self.settings.schedule != "cosine":
            return {"optimizer": optimizer}
        steps = len(self.train_batches) * self.trainer.max_epochs
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _set_rates(self, rates: list[float]) -> None:
        for group, rate in zip(self.optimizers(use_pl_optimizer=False).param_groups, rates, strict=True):
            group["lr"] = rate

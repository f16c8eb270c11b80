"""The Lightning side: one module that trains anything with ``loss(batch)``."""

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, TQDMProgressBar
from lightning.pytorch.utilities.exceptions import SIGTERMException
from numpy.typing import NDArray
from torch import Tensor

from pipeline.base.errors import TrainingError
from pipeline.calibration.thresholds.base import Thresholds
from pipeline.models.layers import Batch, Model, Scorer
from pipeline.models.training import checkpoints
from pipeline.models.training.batches import Batches, mix
from pipeline.models.training.flat import Flat
from pipeline.models.training.history import OnEpoch, Undone
from pipeline.models.training.selection import best, learning_rate, stops
from pipeline.models.training.trial import FEWEST, Before, Evidence
from pipeline.models.training.updates import OnUpdate, Updates, from_state, joined, scores, state
from pipeline.models.training.watch import figures
from pipeline.settings.training import FitSettings

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


class KeepBestAndLast(Checkpoint):  # type: ignore[misc]
    """``best.safetensors`` after each epoch that is the best so far, and ``last.safetensors`` after every epoch.

    The best one is written first. If the process dies between the two, the epoch is trained again, and ends the same.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_epoch_end(self, trainer: Trainer, pl_module: "Learner") -> None:
        """Write the files; every process has to call this."""
        if pl_module.improved:
            trainer.save_checkpoint(self.folder / "best.safetensors")
        trainer.save_checkpoint(self.folder / "last.safetensors")


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
        watched: validation rows of both classes for the AUROC and F1 of each epoch, None for none.
        thresholds: those of the last update.
        made: how many updates the next epoch will have trained on.
        undone: the updates that were taken back; no update is made after one of them.
        improved: whether the last epoch is the best so far.
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
        self.watched: Batch | None = None
        self.thresholds: Thresholds | None = None
        self.made = 0
        self.undone: list[Undone] = []
        self.improved = False
        self.flat: Flat | None = None
        self.rows: list[dict[str, Any]] = []
        self._losses: list[Tensor] = []
        self._before: Before | None = None

    @property
    def updating(self) -> bool:
        """Whether updates are still to be made."""
        return self.updates is not None and not self.undone

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
        if self.settings.schedule == "plateau":
            self._set_rates([learning_rate(self.rows, self.settings)])
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
        """Write the epoch down, judge the update that it trained on, and make the next one where it is due."""
        self.rows.append(self._row())
        self._judge()
        self.improved = best(self.rows, self.settings) is self.rows[-1]
        self.trainer.should_stop = self.ended
        last = self.trainer.should_stop or self.current_epoch + 1 == self.trainer.max_epochs
        if self.updates and self.updating and not last and self.updates.due(self.current_epoch):
            self._update(self.updates)
        for listener in self.listeners if self.global_rank == 0 else ():
            listener(self.current_epoch, self.rows[-1])

    @property
    def ended(self) -> bool:
        """Whether training ends behind the epochs that are done, before its last one."""
        waiting = self.updating and not any(row["updates"] for row in self.rows)
        return stops(self.rows, self.settings, waiting)

    def _row(self) -> dict[str, Any]:
        """What the history says of this epoch."""
        row = {
            "epoch": self.current_epoch,
            "train_loss": float(self.all_gather(torch.stack(self._losses).mean()).mean()),  # all processes decide alike
            "val_loss": float(self.trainer.callback_metrics["val_loss"]),
            "learning_rate": float(self.optimizers().param_groups[0]["lr"]),
            "seconds": self._seconds,
            "records_per_s": len(self.train_batches.data.y) / self._seconds,
            "updates": self.made,
            "undone": False,
        }
        if not math.isfinite(row["val_loss"]):
            raise TrainingError(
                f"{type(self.model).__name__}: the validation loss became {row['val_loss']} in epoch "
                f"{self.current_epoch}; lower learning_rate, or check the features for extreme values"
            )
        return row | self._figures()

    def _figures(self) -> dict[str, Any]:
        """AUROC and F1 on the watched rows, if any."""
        if self.watched is None:
            return {}
        score = self._scores(self.watched.x)
        if bad := int(np.isnan(score).sum()):
            raise TrainingError(
                f"{type(self.model).__name__}: {bad} of {len(score)} validation scores became NaN in epoch "
                f"{self.current_epoch}; lower learning_rate, or check the features for extreme values"
            )
        return figures(self.watched.y.cpu().numpy(), score, cast(Scorer, self.model).decides_above)

    def _update(self, updates: Updates) -> None:
        """Score the training records in evaluation mode; what comes of it is what the next epoch draws.

        Every process scores its part and sees the scores of all, so that all of them draw the same thresholds.
        """
        data = self.train_batches.data
        update = updates.judge(self.current_epoch, self._scores(data.x), data, self.thresholds)
        self._before = self._remembered() if updates.undo else None
        self.thresholds = update.thresholds
        self._believe(torch.from_numpy(update.confidence))
        self.made += 1
        for listener in self.update_listeners if self.global_rank == 0 else ():
            listener(update)

    def _believe(self, confidence: Tensor) -> None:
        data = self.train_batches.data
        self.train_batches.data = data._replace(confidence=confidence.to(data.confidence))

    def _remembered(self) -> Before | None:
        """What to go back to; None where too few validation rows could speak against an update."""
        evidence = self._evidence()
        if evidence is None:
            return None
        weights = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        optimizer = copy.deepcopy(self.optimizers(use_pl_optimizer=False).state_dict())
        return Before(
            self.current_epoch, weights, optimizer, self.train_batches.data.confidence, self.thresholds, evidence
        )

    def _evidence(self) -> Evidence | None:
        benign = self.val_batches.data.x[self.val_batches.data.y == 0]
        if len(benign) < FEWEST:
            return None
        return Evidence.of(self._scores(benign), self.rows[-1].get("val_auroc"))

    def _judge(self) -> None:
        """Take the update back that this epoch is the first to train on, if the model is worse for it."""
        before, self._before = self._before, None
        after = self._evidence() if before else None
        fault = before.evidence.fault(after) if before and after else None
        if before and fault:
            self._restore(before)
            self.rows[-1]["undone"] = True
            self.made -= 1
            self.undone.append(Undone(before.epoch, fault))

    def _restore(self, before: Before) -> None:
        """Weights, optimiser and confidence as they were; the learning rate follows its schedule."""
        self.model.load_state_dict(before.weights)
        optimizer = self.optimizers(use_pl_optimizer=False)
        rates = [group["lr"] for group in optimizer.param_groups]
        optimizer.load_state_dict(before.optimizer)
        self._set_rates(rates)
        self.thresholds = before.thresholds
        self._believe(before.confidence)

    def _set_rates(self, rates: list[float]) -> None:
        for group, rate in zip(self.optimizers(use_pl_optimizer=False).param_groups, rates, strict=True):
            group["lr"] = rate

    @torch.no_grad()
    def _scores(self, x: Tensor) -> NDArray[np.float64]:
        """(n,) of the rows of ``x``, (n, F), in evaluation mode."""
        model = cast(Scorer, self.model)
        was_training = model.training
        model.eval()
        model.settle(self.train_batches.data, SCORED_AT_ONCE)
        part = scores(model.score, x.to(self.device), self.train_batches.shard, SCORED_AT_ONCE)
        model.train(was_training)
        return joined(self.all_gather(part), len(x))

    def _refuse_nan(self) -> None:
        bad = (~torch.stack(self._losses).isfinite()).nonzero()
        if len(bad):
            raise TrainingError(
                f"{type(self.model).__name__}: the loss became {float(self._losses[int(bad[0])])} in epoch "
                f"{self.current_epoch}, step {int(bad[0])} of {len(self.train_batches)}; lower learning_rate or "
                "gradient_clip, or check the features for extreme values"
            )

    def configure_optimizers(self) -> dict[str, Any]:
        """Adam or AdamW, fused, and a cosine over all steps of the run; a plateau is told from the history."""
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

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what a resumed run needs to know."""
        checkpoint["rows"] = self.rows
        checkpoint["fingerprint"] = self.fingerprint
        checkpoint["confidence"] = self.train_batches.data.confidence
        checkpoint["thresholds"] = state(self.thresholds)
        checkpoint["made"] = self.made
        checkpoint["undone"] = [asdict(each) for each in self.undone]
        checkpoint["before"] = self._before.state() if self._before else None

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take over the epochs that are done."""
        self.rows = list(checkpoint["rows"])
        self._believe(checkpoint["confidence"])
        self.thresholds = from_state(checkpoint["thresholds"])
        self.made = checkpoint["made"]
        self.undone = [Undone(**each) for each in checkpoint["undone"]]
        self._before = Before.from_state(checkpoint["before"]) if checkpoint["before"] else None

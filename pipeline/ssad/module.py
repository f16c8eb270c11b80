"""The Lightning module: trains a user's model by confidence, scores its rows, and updates the confidence."""

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor, nn

from pipeline.base.errors import TrainingError
from pipeline.calibration.thresholds.base import Thresholds
from pipeline.models.base import Batch
from pipeline.models.training.batches import mix
from pipeline.models.training.updates import UnscoredError, Update, Updates, from_state, state
from pipeline.ssad.loaders import Draw, labels, unpacked
from pipeline.ssad.plan import Plan
from pipeline.ssad.report import Report
from pipeline.ssad.scored import Seen, per_row


class KeepLast(Checkpoint):  # type: ignore[misc]
    """Writes ``last.safetensors`` after each epoch and its confidence update."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file; each process takes part."""
        trainer.save_checkpoint(self.path)


class Supervision(LightningModule):  # type: ignore[misc]
    """Trains ``model`` on a loss that depends on the confidence of each row.

    Attributes:
        model: the user's.
        draw: decides the order of the rows.
        report: where results go; None in all processes but the first.
        confidence: (N,) of all rows of the training data set, as the current epoch uses it.
        thresholds: of the last update.
        history: one dict for each finished epoch, those before an interruption included.
        seen: the training rows, scored by the trained model; None before.
        tested: the test rows, scored by it.
        run: the key of the MLflow run.
    """

    def __init__(self, model: nn.Module, plan: Plan, draw: Draw, run: str, name: Callable[[int], Any]) -> None:
        super().__init__()
        self.model, self.plan, self.draw, self.run, self.name = model, plan, draw, run, name
        self.report: Report | None = None
        self.confidence = torch.empty(0)
        self.thresholds: Thresholds | None = None
        self.history: list[dict[str, Any]] = []
        self.seen: Seen | None = None
        self.tested: Seen | None = None
        self._updated = -1  # the epoch of the last update
        self._losses: list[Tensor] = []
        self._parts: list[Tensor] = []
        self._val: dict[str, float] = {}

    def setup(self, stage: str) -> None:
        """Give each row its initial confidence."""
        if stage == "fit" and not len(self.confidence):
            data = self.trainer.datamodule
            self.confidence = torch.zeros(len(data.train_loader.dataset))
            self.confidence[data.rows] = torch.from_numpy(self.plan.initial(data.rows))

    def on_fit_start(self) -> None:
        """Keep the confidence where the batches are."""
        self.confidence = self.confidence.to(self.device)

    def on_train_epoch_start(self) -> None:
        """Bind dropout and noise to (seed, epoch): a resumed training draws what an uninterrupted one draws."""
        self.draw.epoch = self.current_epoch
        torch.manual_seed(mix(self.draw.seed, self.current_epoch, self.global_rank))
        self._losses, self._started = [], time.perf_counter()

    def training_step(self, batch: Any, index: int) -> Tensor:
        """The loss of the rows at the confidence that they have now."""
        given, rows = batch
        x, _ = unpacked(given)
        value = per_row(self.plan.value(self.model, x), len(rows), f"{self._who}: loss")
        loss = self.plan.objective(value, self.confidence[rows])
        if not isinstance(loss, Tensor) or loss.ndim:
            given_shape = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise TrainingError(f"objective {self.plan.objective}: needs to give a scalar tensor, gave {given_shape}")
        self._losses.append(loss.detach())
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(rows), sync_dist=True)
        return loss

    def on_train_epoch_end(self) -> None:
        """Record the epoch, and update the confidence if it is due."""
        if not self._losses:  # a callback has stopped the training before the first step
            return
        epoch, loss = self.current_epoch, float(self.all_gather(torch.stack(self._losses).mean()).mean())
        if not math.isfinite(loss):
            raise TrainingError(
                f"{self._who}: the loss became {loss} in epoch {epoch}; lower the learning rate, clip the gradient "
                "(gradient_clip_val), or look for extreme values in the data"
            )
        seconds = time.perf_counter() - self._started
        row = {"epoch": epoch, "train_loss": loss, **self._val, "seconds": seconds}
        self.history.append(row)
        if self.plan.updates and epoch + 1 < self._epochs and self.plan.updates.due(epoch):
            self._update(self.plan.updates, self._scored())
        if self.report:
            self.report.epoch(row)
        self.draw.epoch = epoch + 1  # workers fetch ahead of the next epoch's start

    @property
    def _epochs(self) -> int:
        most = self.trainer.max_epochs
        return most if most and most > 0 else sys.maxsize

    def _update(self, updates: Updates, seen: Seen) -> None:
        """Every process gets the scores of all, so all of them set the same thresholds."""
        update = self._judged(updates, seen)
        if self.report:
            self.report.update(update, seen, updates.strategy)
        self.thresholds, self._updated = update.thresholds, update.epoch
        self.confidence[seen.rows] = torch.from_numpy(update.confidence).to(self.confidence)

    def _judged(self, updates: Updates, seen: Seen) -> Update:
        n = len(seen.rows)
        every = Batch(torch.empty(n, 0), torch.zeros(n), self.confidence[seen.rows].cpu())
        try:
            return updates.update(self.history[-1]["epoch"], seen.score, every, self.thresholds)
        except UnscoredError as error:
            raise TrainingError(f"record {self.name(int(seen.rows[error.rows[0]]))}: {error}") from error

    def on_fit_end(self) -> None:
        """Score the training rows by the trained model, and update their confidence once more, for the result."""
        self.seen = self._scored()
        if np.isnan(self.seen.score).any() and not self.plan.updates:
            raise TrainingError(f"{self._who}: {int(np.isnan(self.seen.score).sum())} scores are NaN after training")
        if self.plan.updates and self.history and self._updated != self.history[-1]["epoch"]:
            self._update(self.plan.updates, self.seen)

    @torch.no_grad()
    def _scored(self) -> Seen:
        """Score the training rows in evaluation mode; each part of the model then returns to its own mode."""
        data = self.trainer.datamodule
        with _evaluating(self), self.trainer.precision_plugin.forward_context():
            return self._joined([self._look(data.placed(batch, self.device)) for batch in data.scoring_dataloader()])

    def _look(self, batch: Any) -> Tensor:
        """(4, B) positions, scores, labels and loss values of a batch."""
        given, rows = batch
        x, y = unpacked(given)
        n = len(rows)
        score = per_row(self.plan.score(self.model, x), n, f"{self._who}: score")
        same = self.plan.value is self.plan.score
        value = score if same else per_row(self.plan.value(self.model, x), n, f"{self._who}: loss")
        columns = (rows, score.detach(), labels(y, rows), value.detach())
        return torch.stack([column.double().cpu() for column in columns])

    def _joined(self, parts: list[Tensor]) -> Seen:
        """The rows of all processes, each row once."""
        whole = torch.cat(parts, dim=1)
        if self.trainer.world_size > 1:
            gathered = self.all_gather(whole.to(self.device)).cpu()  # (processes, 4, m)
            whole = torch.cat(list(gathered), dim=1)
        rows, score, y, value = whole.numpy()
        positions, first = np.unique(rows.astype(np.int64), return_index=True)
        return Seen(positions, score[first], y[first].astype(np.int8), value[first])

    def on_validation_epoch_start(self) -> None:
        """Nothing has been looked at."""
        self._parts = []

    def validation_step(self, batch: Any, index: int) -> None:
        """Score a batch."""
        self._parts.append(self._look(batch))

    def on_validation_epoch_end(self) -> None:
        """Loss of the rows not labelled anomalous; ranking and F1 if there are labels."""
        if self.trainer.sanity_checking or not self._parts:
            return
        seen = self._joined(self._parts)
        bad = np.isnan(seen.score)
        if bad.any():
            raise TrainingError(f"{self._who}: {int(bad.sum())} of {len(bad)} validation scores are NaN")
        self._val = {f"val_{name}": value for name, value in {**self._loss_of(seen), **seen.ranking()}.items()}
        f1 = seen.decided(self.thresholds.high)["f1"] if self.thresholds else None
        self._val |= {} if f1 is None else {"val_f1": f1}
        self.log_dict(self._val)

    def _loss_of(self, seen: Seen) -> dict[str, float]:
        value = torch.from_numpy(seen.value[seen.y != 1]).float()
        return {"loss": float(self.plan.objective(value, torch.ones_like(value)))} if len(value) else {}

    def on_test_epoch_start(self) -> None:
        """Nothing has been looked at."""
        self._parts = []

    def test_step(self, batch: Any, index: int) -> None:
        """Score a batch."""
        self._parts.append(self._look(batch))

    def on_test_epoch_end(self) -> None:
        """Ranking, and rates at each threshold, if there are labels."""
        self.tested = seen = self._joined(self._parts)
        if np.isnan(seen.score).any():
            raise TrainingError(f"{self._who}: {int(np.isnan(seen.score).sum())} test scores are NaN")
        self.log_dict({f"test_{name}": value for name, value in seen.ranking().items()})
        if self.report and (seen.y >= 0).any():
            self.report.tested(seen, self.cuts)

    @property
    def cuts(self) -> dict[str, float]:
        """Thresholds for the test rows, by name: those of the last update and the user's own."""
        own = {"low": self.thresholds.low, "high": self.thresholds.high} if self.thresholds else {}
        return own | {f"{cut:g}".replace("+", ""): cut for cut in self.plan.thresholds}  # MLflow allows no plus

    def configure_optimizers(self) -> Any:
        """The user's, else Adam as in SSAD."""
        if self.plan.optimizer:
            return self.plan.optimizer(self.model.parameters())
        if isinstance(self.model, LightningModule) and type(self.model).configure_optimizers is not (
            LightningModule.configure_optimizers
        ):
            return self.model.configure_optimizers()
        return torch.optim.Adam(self.model.parameters(), lr=1e-3)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what a resumed training needs."""
        checkpoint["ssad"] = {
            "fingerprint": self.plan.fingerprint,
            "run": self.run,
            "epoch": self.current_epoch,
            "updated": self._updated,
            "history": self.history,
            "confidence": self.confidence,
            "thresholds": state(self.thresholds),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take over the finished epochs.

        Raises:
            TrainingError: the training data have another length than before the interruption.
        """
        known = checkpoint["ssad"]
        if len(known["confidence"]) != len(self.confidence):
            raise TrainingError(
                f"the interrupted training had {len(known['confidence'])} rows, the data set now has "
                f"{len(self.confidence)}; give it the same data, or start afresh with resume=False"
            )
        self.history, self.confidence = list(known["history"]), known["confidence"]
        self.thresholds = from_state(known["thresholds"])
        self._updated, self.draw.epoch = known["updated"], known["epoch"] + 1

    @property
    def _who(self) -> str:
        return type(self.model).__name__


@contextlib.contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode

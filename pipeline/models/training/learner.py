"""What happens between epochs: the history, confidence updates and their trial, and checkpoints."""

import copy
import math
import zlib
from dataclasses import asdict
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.base.errors import TrainingError
from pipeline.calibration.thresholds.base import Thresholds
from pipeline.models.base import Batch, Model, Scorer
from pipeline.models.scoring import ROWS_AT_ONCE
from pipeline.models.training.batches import Batches
from pipeline.models.training.history import OnEpoch, Undone
from pipeline.models.training.selection import best, learning_rate, stops
from pipeline.models.training.steps import Steps
from pipeline.models.training.trial import FEWEST, Before, HeldOutScores
from pipeline.models.training.updates import OnUpdate, Updates, from_state, joined, scores, state
from pipeline.models.training.watch import figures
from pipeline.settings.training import FitSettings


class Learner(Steps):
    """Trains ``model`` epoch by epoch and updates the confidence of the training records in between.

    It knows batches, optimiser, schedule and updates, and nothing of the model but its loss and its score.

    Attributes:
        rows: a dict for each finished epoch, those before an interruption included.
        listeners: called with each row in the first process.
        updates: of the confidence of the training records; None for none.
        update_listeners: called with each update in the first process.
        watched: validation rows of both classes for the AUROC and F1 of each epoch; None for none.
        thresholds: of the last update.
        made: how many updates the next epoch will have trained on.
        undone: updates that were taken back; after one of them no update is made any more.
        improved: whether the last epoch is the best so far.
    """

    def __init__(self, model: Model, train: Batches, val: Batches, settings: FitSettings, fingerprint: str) -> None:
        super().__init__(model, train, val, settings)
        self.fingerprint = fingerprint
        self.listeners: list[OnEpoch] = []
        self.updates: Updates | None = None
        self.update_listeners: list[OnUpdate] = []
        self.watched: Batch | None = None
        self.thresholds: Thresholds | None = None
        self.made = 0
        self.undone: list[Undone] = []
        self.improved = False
        self.rows: list[dict[str, Any]] = []
        self._before: Before | None = None

    def on_train_epoch_start(self) -> None:
        """Set the learning rate that a plateau asks for, too."""
        super().on_train_epoch_start()
        if self.settings.schedule == "plateau":
            self._set_rates([learning_rate(self.rows, self.settings)])

    @property
    def updating(self) -> bool:
        """Whether updates are still to be made."""
        return self.updates is not None and not self.undone

    def on_train_epoch_end(self) -> None:
        """Record the epoch, try the update that it trained on, and make the next update if it is due."""
        self.rows.append(self._row())
        self._try_update()
        self.improved = best(self.rows, self.settings) is self.rows[-1]
        self.trainer.should_stop = self.ended
        last = self.trainer.should_stop or self.current_epoch + 1 == self.trainer.max_epochs
        if self.updates and self.updating and not last and self.updates.due(self.current_epoch):
            self._update(self.updates)
        self._refuse_disagreement()
        for listener in self.listeners if self.global_rank == 0 else ():
            listener(self.current_epoch, self.rows[-1])

    def on_fit_start(self) -> None:
        """Compare the records of the processes."""
        if self.trainer.world_size > 1:
            parts = (self.train_batches.data, self.val_batches.data)
            self._refuse_unlike([_checksum(column) for part in parts for column in part], "their records")

    def _refuse_disagreement(self) -> None:
        """Compare what the processes go on with: one that ends alone would leave the others waiting."""
        if self.trainer.world_size > 1:
            edges = self.thresholds or Thresholds(0.0, 0.0)
            confidence = _checksum(self.train_batches.data.confidence)
            own = [edges.low, edges.high, confidence, self.trainer.should_stop]
            self._refuse_unlike(own, f"their thresholds, confidence or end after epoch {self.current_epoch}")

    def _refuse_unlike(self, own: list[float], what: str) -> None:
        every = self.all_gather(torch.tensor(own, dtype=torch.float64, device=self.device))
        if not bool((every == every[0]).all()):
            raise TrainingError(
                f"{type(self.model).__name__}: the processes of this training differ in {what}; do all of them run the "
                "same code on the same records?"
            )

    @property
    def ended(self) -> bool:
        """Whether training ends now, before its last epoch."""
        waiting = self.updating and not any(row["updates"] for row in self.rows)
        return stops(self.rows, self.settings, waiting)

    def _row(self) -> dict[str, Any]:
        """The row of this epoch for the history."""
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
        """Score the training records in evaluation mode, and let the next epoch train on the new confidence.

        Every process scores its part and gets the scores of all, so all of them set the same thresholds.
        """
        data = self.train_batches.data
        update = updates.update(self.current_epoch, self._scores(data.x), data, self.thresholds)
        self._before = self._remembered() if updates.undo else None
        self.thresholds = update.thresholds
        self._set_confidence(torch.from_numpy(update.confidence))
        self.made += 1
        for listener in self.update_listeners if self.global_rank == 0 else ():
            listener(update)

    def _set_confidence(self, confidence: Tensor) -> None:
        data = self.train_batches.data
        self.train_batches.data = data._replace(confidence=confidence.to(data.confidence))

    def _remembered(self) -> Before | None:
        """The state to go back to; None if there are too few validation rows to try an update."""
        held_out = self._held_out()
        if held_out is None:
            return None
        weights = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        optimizer = copy.deepcopy(self.optimizers(use_pl_optimizer=False).state_dict())
        return Before(
            self.current_epoch, weights, optimizer, self.train_batches.data.confidence, self.thresholds, held_out
        )

    def _held_out(self) -> HeldOutScores | None:
        benign = self.val_batches.data.x[self.val_batches.data.y == 0]
        if len(benign) < FEWEST:
            return None
        return HeldOutScores.of(self._scores(benign), self.rows[-1].get("val_auroc"))

    def _try_update(self) -> None:
        """Take back the update that this epoch was the first to train on, if it has made the model worse."""
        before, self._before = self._before, None
        after = self._held_out() if before else None
        fault = before.held_out.fault(after) if before and after else None
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
        self._set_confidence(before.confidence)

    @torch.no_grad()
    def _scores(self, x: Tensor) -> NDArray[np.float64]:
        """(n,) of the rows of ``x``, (n, F), in evaluation mode."""
        model = cast(Scorer, self.model)
        was_training = model.training
        model.eval()
        model.settle(self.train_batches.data, ROWS_AT_ONCE)
        part = scores(model.score, x.to(self.device), self.train_batches.shard, ROWS_AT_ONCE)
        model.train(was_training)
        return joined(self.all_gather(part), len(x))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what a resumed run needs."""
        checkpoint["rows"] = self.rows
        checkpoint["fingerprint"] = self.fingerprint
        checkpoint["confidence"] = self.train_batches.data.confidence
        checkpoint["thresholds"] = state(self.thresholds)
        checkpoint["made"] = self.made
        checkpoint["undone"] = [asdict(update) for update in self.undone]
        checkpoint["before"] = self._before.state() if self._before else None

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take over the finished epochs."""
        self.rows = list(checkpoint["rows"])
        self._set_confidence(checkpoint["confidence"])
        self.thresholds = from_state(checkpoint["thresholds"])
        self.made = checkpoint["made"]
        self.undone = [Undone(**update) for update in checkpoint["undone"]]
        self._before = Before.from_state(checkpoint["before"]) if checkpoint["before"] else None


def _checksum(column: Tensor) -> int:
    """Of the bytes of a column."""
    return zlib.crc32(column.detach().cpu().contiguous().numpy().data)

"""What happened in each epoch of a training."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

OnEpoch = Callable[[int, dict[str, float]], None]
"""Called after each epoch with its number and its row of the history."""


@dataclass(frozen=True)
class Epoch:
    """One epoch.

    Attributes:
        epoch: counted from 0.
        train_loss: mean over the batches, with noise and dropout.
        val_loss: mean over the validation rows.
        learning_rate: in the last step.
        seconds: of training, without validation.
        records_per_s: training rows / seconds.
        updates: how many confidence updates the weights have trained on so far.
        undone: whether its weights were thrown away because the update that it trained on made the model worse.
        val_auroc: of the score on validation rows of both classes; None if there are none.
        val_f1: of the decision on the same rows.
    """

    epoch: int
    train_loss: float
    val_loss: float
    learning_rate: float
    seconds: float
    records_per_s: float
    updates: int = 0
    undone: bool = False
    val_auroc: float | None = None
    val_f1: float | None = None


@dataclass(frozen=True)
class Undone:
    """An update of the confidence that was taken back.

    Attributes:
        epoch: after which the update was made.
        reason: what became worse, in words.
    """

    epoch: int
    reason: str


@dataclass(frozen=True)
class History:
    """The epochs of a training, in order.

    Attributes:
        rows: one for each epoch.
        confidence: (n,) of the training records at the end; None if nothing was trained.
        best_epoch: whose weights were kept; -1 if nothing was trained.
        updates_seen: how many confidence updates these weights have trained on.
        undone: updates that were taken back, so that these weights have not trained on them.
    """

    rows: tuple[Epoch, ...]
    best_epoch: int
    confidence: NDArray[np.float32] | None = field(default=None, compare=False)
    updates_seen: int = 0
    undone: tuple[Undone, ...] = ()

    def records(self) -> list[dict[str, Any]]:
        """One dict for each epoch."""
        return [asdict(row) for row in self.rows]

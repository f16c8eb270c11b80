"""What happened in each epoch of a training."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


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
    """

    epoch: int
    train_loss: float
    val_loss: float
    learning_rate: float
    seconds: float
    records_per_s: float


@dataclass(frozen=True)
class History:
    """The epochs of a training, in order.

    Attributes:
        rows: one for each epoch.
        confidence: (n,) of the training records, as it stood at the end; None where nothing was trained.
        best_epoch: the one whose weights were kept; -1 where nothing was trained.
    """

    rows: tuple[Epoch, ...]
    best_epoch: int
    confidence: NDArray[np.float32] | None = field(default=None, compare=False)

    def records(self) -> list[dict[str, Any]]:
        """One dict for each epoch."""
        return [asdict(row) for row in self.rows]

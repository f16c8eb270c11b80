"""Whole splits: as one batch, on a device, and the mean loss of a model on them."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.base.errors import CollapseError, TrainingError
from pipeline.base.samples import Samples
from pipeline.models.base import Batch, Model
from pipeline.models.scoring import ROWS_AT_ONCE


@dataclass(frozen=True)
class Splits:
    """What a model is trained and judged on.

    Attributes:
        train: the rows that it trains on.
        val: those whose loss chooses the epoch.
        watched: those whose AUROC and F1 are shown after each epoch, where both classes are among them. A model that
            trains on benign records is chosen by benign ones, but watched on attacks too.
    """

    train: Samples
    val: Samples
    watched: Samples


@dataclass(frozen=True)
class Learnt:
    """What a training leaves beside the weights.

    Attributes:
        epoch: the last one, counted from 0; 0 where nothing was to be trained.
        confidence: (n,) of the training records, as it stood at the end.
    """

    epoch: int
    confidence: NDArray[np.float32]


def batch_of(samples: Samples) -> Batch:
    """A whole split as one batch of tensors; x shares its memory, which is most of it."""
    return Batch(torch.from_numpy(samples.x), torch.tensor(samples.y), torch.tensor(samples.confidence))


def device_of(device: str) -> torch.device:
    """The device that the settings name; for ``auto`` a GPU if there is one.

    Raises:
        TrainingError: it is ``cuda``, and there is none.
    """
    present = torch.cuda.is_available()
    if device == "cuda" and not present:
        raise TrainingError("device is 'cuda', but PyTorch finds no CUDA device; allowed here: 'auto', 'cpu'")
    return torch.device("cuda" if present and device == "auto" else "cpu" if device == "auto" else device)


def mean_loss(model: Model, batch: Batch) -> float:
    """Mean loss in evaluation mode."""
    was_training = model.training
    model.eval()
    parts = zip(*(torch.split(column, ROWS_AT_ONCE) for column in batch), strict=True)
    with torch.no_grad():
        losses = [(len(x), float(model.loss(Batch(x, y, c)))) for x, y, c in parts]
    model.train(was_training)
    return sum(n * loss for n, loss in losses) / len(batch.y)


def refuse_collapse(name: str, untrained: float, trained: float) -> None:
    """Compare the validation losses of a model before and after its training.

    Raises:
        CollapseError: the trained model is no better than the untrained one.
    """
    if not trained < untrained:
        raise CollapseError(
            f"{name}: the validation loss of the trained model, {trained:g}, is not below that of the untrained one, "
            f"{untrained:g}; train for longer (epochs, min_steps), or lower learning_rate"
        )

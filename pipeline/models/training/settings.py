"""How a model is trained: values only, no behaviour."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

OnEpoch = Callable[[int, dict[str, float]], None]
"""Called after each epoch with its number and its row of the history."""


@dataclass(frozen=True)
class FitSettings:
    """Settings of ``fit``.

    Attributes:
        epochs: passes over the training rows.
        min_steps: steps that are made at least; on small data the epochs are extended to reach them.
        batch_size: rows in a step, over all devices.
        learning_rate: at the start of the schedule.
        weight_decay: of the optimiser; decoupled in ``adamw``, an L2 term in ``adam``.
        optimizer: ``adam`` or ``adamw``.
        gradient_clip: largest norm of the gradient, 0 for no limit.
        input_noise: standard deviation of Gaussian noise on x, in training only.
        patience: epochs without a better one, as ``select`` says, after which training stops; 0 for never. Where
            confidence is updated, they are counted from the first epoch that trains on an update.
        schedule: of the learning rate: ``cosine`` falls to 0 over the whole run, step by step; ``constant``;
            ``plateau`` is halved when the loss no longer falls, as Najari et al. publish for GRAnD (preprint of 2021,
            Algorithm 1).
        plateau_patience: epochs without a lower loss after which ``plateau`` halves the learning rate.
        plateau_of: the loss that it looks at: ``train_loss``, as published, or ``val_loss``.
        least_learning_rate: training with ``plateau`` stops when the learning rate falls below it.
        keep: the epoch whose weights are kept: the ``best`` one or the ``last``.
        select: what makes an epoch the best: the lowest ``val_loss``, or the highest ``val_f1`` on validation rows with
            attacks that are known.
        seed: of batches, noise and dropout.
        device: ``auto`` (cuda where there is one), ``cpu`` or ``cuda``.
        precision: as Lightning names it, such as ``32-true`` or ``bf16-mixed``.
        strategy: as Lightning names it, such as ``auto`` or ``ddp``.
        devices: how many.
    """

    epochs: int = 10
    min_steps: int = 0
    batch_size: int = 512
    learning_rate: float = 3e-4
    weight_decay: float = 0.0
    optimizer: Literal["adam", "adamw"] = "adamw"
    gradient_clip: float = 1.0
    input_noise: float = 0.0
    patience: int = 0
    schedule: Literal["cosine", "constant", "plateau"] = "cosine"
    plateau_patience: int = 20
    plateau_of: Literal["train_loss", "val_loss"] = "train_loss"
    least_learning_rate: float = 1e-6
    keep: Literal["best", "last"] = "best"
    select: Literal["val_loss", "val_f1"] = "val_loss"
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: str = "32-true"
    strategy: str = "auto"
    devices: int = 1

    @property
    def plain(self) -> bool:
        """Whether one process trains without mixed precision, so that a step is what PyTorch alone does."""
        return self.devices == 1 and not self.precision.endswith("-mixed")

    def epochs_for(self, rows: int) -> int:
        """The epochs that make ``min_steps`` steps on ``rows`` rows, ``epochs`` at least."""
        return max(self.epochs, math.ceil(self.min_steps / math.ceil(rows / self.batch_size)))

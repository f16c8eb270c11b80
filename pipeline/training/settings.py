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
        patience: epochs without a better validation loss after which training stops, 0 for never.
        schedule: of the learning rate: ``cosine`` falls to 0 over the whole run, step by step; ``constant``.
        keep: the epoch whose weights are kept: that of the ``best`` validation loss or the ``last``.
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
    schedule: Literal["cosine", "constant"] = "cosine"
    keep: Literal["best", "last"] = "best"
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

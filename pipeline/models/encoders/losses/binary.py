"""Binary Latent Sculpting: a compact benign ball, and a least distance from it for every single attack."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.models.base import Batch
from pipeline.models.encoders.losses.ball import Ball
from pipeline.models.encoders.losses.base import require_at_least, require_positive, weighted_means


@dataclass(frozen=True)
class Binary(Ball):
    """Benign records close to their centre c, each attack at a squared distance of ``margin`` from it or more.

    L = alpha mean_benign ||z - c||^2 + gamma mean_attack relu(margin - ||z - c||^2)

    The revision of Chhetri, Thapa, Chen, "Latent Sculpting", arXiv 2512.22179, names the loss and says what it does
    ("benign traffic condensed in a hypersphere", "a strict minimum-distance margin" for anomalies), but we found no
    formula. This is our reading: the terms and the scale of DCCL, with a hinge on each attack instead of one between
    two batch means. So the loss has no saddle where the two means meet, and an attack inside the ball is pushed out,
    wherever the other attacks are.

    Attributes:
        alpha: weight of benign compactness.
        gamma: weight of the attacks.
        margin: squared distance from the centre at which an attack costs nothing any more.
        centre: ``batch``, the benign mean of each batch, with its gradient, as DCCL has it; ``ema``, an exponential
            moving average of it, without; ``start``, the benign mean before training, as Deep SVDD has it.
        momentum: share of the old average that each step of ``ema`` keeps.
    """

    alpha: float = 0.1
    gamma: float = 1.0
    margin: float = 5.0
    centre: Literal["batch", "ema", "start"] = "batch"
    momentum: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(0, alpha=self.alpha)
        require_positive(gamma=self.gamma, margin=self.margin)
        if self.centre not in ("batch", "ema", "start"):
            raise ValueError(f"centre must be 'batch', 'ema' or 'start', not {self.centre!r}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), not {self.momentum}")

    @property
    def separation(self) -> float:
        """The margin."""
        return self.margin

    @property
    def held(self) -> int:
        """The centre, unless it is that of the batch."""
        return 0 if self.centre == "batch" else 1

    @property
    def boundary(self) -> float:
        """Where alpha d2 = gamma (margin - d2)."""
        return self.gamma * self.margin / (self.alpha + self.gamma)

    def costs(self, distance2: Tensor) -> tuple[Tensor, Tensor]:
        """Of a benign record and of an attack, (B,) each."""
        return self.alpha * distance2, self.gamma * functional.relu(self.margin - distance2)

    def follow(self, modes: Tensor, z: Tensor, batch: Batch) -> Tensor:
        """The moving average, if it is the centre; a batch without benign records leaves it unchanged."""
        if self.centre != "ema":
            return modes
        means, sizes = weighted_means(z.to(modes.dtype), self.weights(batch).to(modes.dtype))
        return torch.lerp(modes, means[:1], torch.where(sizes[0] > 0, 1 - self.momentum, 0.0).to(modes.dtype))

"""Deep SAD: benign records near a fixed centre, attacks at a small inverse distance from it."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.models.encoders.losses.ball import Ball
from pipeline.models.encoders.losses.base import require_positive

LEAST_CENTRE = 0.1


@dataclass(frozen=True)
class DeepSAD(Ball):
    """L = mean_benign ||z - c||^2 + eta mean_attack (||z - c||^2 + eps)^-1, with c fixed before training.

    Ruff et al., "Deep Semi-Supervised Anomaly Detection", 2020, equation 7, where benign records are the unlabelled
    ones of the paper. c is the mean of the untrained benign latents, kept away from 0 as the authors' code does, since
    an encoder without biases maps to 0 with ease. Deviation: a mean over each class in place of the sum over both, so
    that ``eta`` means the same whatever the share of attacks; and encoders here have biases.

    Attributes:
        eta: weight of the attacks.
        eps: what keeps the inverse finite at the centre.
    """

    eta: float = 1.0
    eps: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(eta=self.eta, eps=self.eps)

    @property
    def separation(self) -> float:
        """Four times the boundary; the loss itself always asks for more."""
        return 4 * self.boundary

    @property
    def held(self) -> int:
        """The centre."""
        return 1

    @property
    def boundary(self) -> float:
        """Where d2 = eta / d2."""
        return math.sqrt(self.eta)

    def costs(self, distance2: Tensor) -> tuple[Tensor, Tensor]:
        """Of a benign record and of an attack, (B,) each."""
        return distance2, self.eta / (distance2 + self.eps)

    def place(self, z: Tensor) -> Tensor:
        """(1, Z) mean of z, (n, Z), each coordinate at least 0.1 from 0."""
        mean = z.mean(0, keepdim=True)
        return torch.where(mean < 0, -1.0, 1.0) * mean.abs().clamp_min(LEAST_CENTRE)

"""What losses with only benign centres share: the cost of a record depends on its distance to the nearest centre."""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.models.base import Batch, weighted_mean
from pipeline.models.encoders.losses.base import Centroids, LatentLoss, class_means, weighted_means


@dataclass(frozen=True)
class Ball(LatentLoss):
    """Mean cost of the benign records + mean cost of the attacks, by the squared distance d2 from the benign centre.

    Attacks have no centre: each is pushed away by itself, in any direction. A subclass defines ``costs`` and
    ``boundary``. The centre is the mode of the loss. Without one it is the benign mean of the batch, with its gradient;
    then a batch without benign records costs nothing.
    """

    @abstractmethod
    def costs(self, distance2: Tensor) -> tuple[Tensor, Tensor]:
        """Cost of a record at ``distance2``, (B,), if it is benign, and if it is an attack; (B,) each."""

    @property
    @abstractmethod
    def boundary(self) -> float:
        """The squared distance at which both labels cost the same; beyond it a record looks like an attack."""

    def __call__(self, z: Tensor, batch: Batch, modes: Tensor | None = None) -> Tensor:
        """The loss of ``z``, (B, Z)."""
        weight = self.weights(batch).to(z.dtype)  # (2, B)
        if modes is None:
            means, sizes = weighted_means(z, weight)
            modes, weight = means[:1], torch.where(sizes[0] > 0, weight, 0.0)
        benign, attack = self.costs(self.distance2(z, modes))
        return weighted_mean(benign, weight[0]) + weighted_mean(attack, weight[1])

    def distance2(self, z: Tensor, centres: Tensor) -> Tensor:
        """(B,) squared distance of z, (B, Z), from the nearest of the centres, (K, Z)."""
        return (z[:, None] - centres).square().sum(-1).amin(-1)

    def margin_of(self, z: Tensor, centroids: Centroids) -> Tensor:
        """``distance2`` less ``boundary``, (B,)."""
        centres = centroids.benign[None] if centroids.modes is None else centroids.modes
        return self.distance2(z, centres) - self.boundary

    @torch.no_grad()
    def apart(self, z: Tensor, y: Tensor, centroids: Centroids) -> float:
        """How much larger the mean of the attacks' squared distances is than that of the benign records."""
        means, _ = class_means(self.margin_of(z, centroids)[:, None], y)
        return float(means[1] - means[0])

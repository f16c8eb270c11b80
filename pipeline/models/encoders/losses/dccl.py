"""The loss of Latent Sculpting as published: two compact classes whose centroids are apart."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.models.base import Batch
from pipeline.models.encoders.losses.base import (
    Centroids,
    LatentLoss,
    require_at_least,
    require_positive,
    weighted_means,
)


@dataclass(frozen=True)
class DCCL(LatentLoss):
    """Dual-Centroid Compactness Loss, on the means c_b and c_a of the batch, which carry gradients.

    L = alpha mean_benign ||z - c_b||^2 + beta mean_attack ||z - c_a||^2 + gamma relu(margin - ||c_b - c_a||^2)

    Chhetri, Thapa, Chen, "Latent Sculpting", arXiv 2512.22179, 2025. A term of a class that the batch does not hold
    is 0; the published code gives NaN there. ``confidence`` weighs the centroids too; it is not in the paper.

    Attributes:
        alpha: weight of benign compactness.
        beta: weight of attack compactness.
        gamma: weight of separation.
        margin: squared distance between the centroids at which separation is satisfied.
    """

    alpha: float = 0.1
    beta: float = 0.1
    gamma: float = 1.0
    margin: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(0, alpha=self.alpha, beta=self.beta, gamma=self.gamma)
        require_positive(margin=self.margin)

    @property
    def separation(self) -> float:
        """The margin, which is between the centroids here."""
        return self.margin

    def __call__(self, z: Tensor, batch: Batch, modes: Tensor | None = None) -> Tensor:
        """The loss of ``z``, (B, Z)."""
        weight = self.weights(batch).to(z.dtype)  # (2, B)
        centroids, sizes = weighted_means(z, weight)
        distance2 = (z - centroids[:, None]).square().sum(-1)  # (2, B) to either centroid
        benign, attack = (weight * distance2).sum(1) / torch.where(sizes > 0, sizes, 1.0)
        gap = functional.relu(self.margin - (centroids[0] - centroids[1]).square().sum())
        separation = torch.where(sizes.min() > 0, gap, 0.0)
        total: Tensor = self.alpha * benign + self.beta * attack + self.gamma * separation
        return total

    def margin_of(self, z: Tensor, centroids: Centroids) -> Tensor:
        """||z - c_b||^2 - ||z - c_a||^2, (B,): positive nearer to the attack centroid, as published."""
        return (z - centroids.benign).square().sum(-1) - (z - centroids.attack).square().sum(-1)

    def apart(self, z: Tensor, y: Tensor, centroids: Centroids) -> float:
        """Squared distance between the centroids."""
        return float((centroids.benign - centroids.attack).double().square().sum())

    def stuck(self, distance2: float) -> str | None:
        """The saddle of DCCL: centroids that coincide get no gradient that could part them."""
        if self.gamma == 0 or distance2 >= 0.05 * self.margin:
            return None
        return (
            f"DCCL stands at its saddle: the benign and the attack centroid coincide (squared distance "
            f"{distance2:.2g}, wanted {self.margin:g}), so the loss stands at gamma * margin = "
            f"{self.gamma * self.margin:g} and its gradient cannot part "
            "them. Leaving it takes hundreds of steps, or never happens on small data. Remedies: "
            "more steps (min_steps), a smaller batch_size, or a start that breaks the tie (start: discriminant)"
        )

"""Losses of a latent: what an encoder is asked to make of benign records and attacks."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.nn import Batch, shares


class LatentLoss(ABC):
    """A scalar of the latent of a batch."""

    separation: float
    """Squared distance between the two centroids that satisfies the loss."""

    @abstractmethod
    def __call__(self, z: Tensor, batch: Batch) -> Tensor:
        """The loss of ``z``, (B, Z), whose rows are those of ``batch``; finite for a batch of one class too."""

    @property
    def heeds_confidence(self) -> bool:
        """Whether the confidence of a record changes it."""
        return False

    def stuck(self, distance2: float) -> str | None:
        """Why a training with final centroids at the squared distance ``distance2`` learnt nothing, or None."""
        return None


def class_means(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of each class and its size, without a data-dependent shape: (2, Z), (2,), benign first.

    The mean of a class that is absent is 0.
    """
    return weighted_means(z, torch.stack((y == 0, y != 0)).to(z.dtype))


def weighted_means(z: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Means of ``z``, (B, Z), under each row of ``weight``, (2, B), and the sums of the weights: (2, Z), (2,).

    The mean under weights that are all 0 is 0.
    """
    sums = weight.sum(1)
    return weight @ z / torch.where(sums > 0, sums, 1.0)[:, None], sums


@dataclass(frozen=True)
class DCCL(LatentLoss):
    """Dual-Centroid Compactness Loss, on the means c_b and c_a of the batch, which carry gradients.

    L = alpha mean_benign ||z - c_b||^2 + beta mean_attack ||z - c_a||^2 + gamma relu(margin - ||c_b - c_a||^2)

    Chhetri, Thapa, Chen, "Latent Sculpting", arXiv 2512.22179, 2025. A term of a class that the batch does not hold
    is 0; the published code gives NaN there.

    With ``confidence`` other than ``ignore`` the means are weighted, the centroids too: a record that is labelled
    benign counts by its share of ``pipeline.nn.shares``, and one that is surely anomalous is left out, or is drawn to
    the attack centroid (``push``), as if it were labelled. This is not in the paper.

    Attributes:
        alpha: weight of benign compactness.
        beta: weight of attack compactness.
        gamma: weight of separation.
        margin: squared distance between the centroids from which on separation is satisfied.
        confidence: what the confidence of a record does.
        unknown: weight of a record whose confidence is 0.
    """

    alpha: float = 0.1
    beta: float = 0.1
    gamma: float = 1.0
    margin: float = 5.0
    confidence: Literal["ignore", "leave_out", "push"] = "ignore"
    unknown: float = 0.5

    def __post_init__(self) -> None:
        for name in ("alpha", "beta", "gamma"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, not {getattr(self, name)}")
        if self.margin <= 0:
            raise ValueError(f"margin must be above 0, not {self.margin}")
        if not 0 <= self.unknown <= 1:
            raise ValueError(f"unknown must lie in [0, 1], not {self.unknown}")

    @property
    def heeds_confidence(self) -> bool:
        """As the setting says."""
        return self.confidence != "ignore"

    @property
    def separation(self) -> float:  # type: ignore[override]
        """The margin."""
        return self.margin

    def __call__(self, z: Tensor, batch: Batch) -> Tensor:
        """The loss of ``z``, (B, Z)."""
        weight = self._weight(batch).to(z.dtype)  # (2, B)
        centroids, sizes = weighted_means(z, weight)
        distance2 = (z - centroids[:, None]).square().sum(-1)  # (2, B) to either centroid
        benign, attack = (weight * distance2).sum(1) / torch.where(sizes > 0, sizes, 1.0)
        gap = functional.relu(self.margin - (centroids[0] - centroids[1]).square().sum())
        separation = torch.where(sizes.min() > 0, gap, 0.0)
        total: Tensor = self.alpha * benign + self.beta * attack + self.gamma * separation
        return total

    def _weight(self, batch: Batch) -> Tensor:
        """(2, B) what each record counts for in the benign and in the attack class."""
        attack = batch.y != 0
        if self.confidence == "ignore":
            return torch.stack((~attack, attack))
        as_benign, as_attack = shares(batch.confidence, self.unknown)
        pushed = as_attack if self.confidence == "push" else torch.zeros_like(as_attack)
        return torch.stack((torch.where(attack, 0.0, as_benign), torch.where(attack, 1.0, pushed)))

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

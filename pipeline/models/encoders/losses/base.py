"""The contract of a loss of a latent: a scalar for a batch, and a margin measured from centroids."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from pipeline.models.base import Batch, shares


class Centroids(NamedTuple):
    """The points that a margin is measured from.

    Attributes:
        benign: (Z,) mean of the benign latents.
        attack: (Z,) mean of the attack latents.
        modes: (K, Z) benign modes of the loss; None if it has none.
    """

    benign: Tensor
    attack: Tensor
    modes: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class LatentLoss(ABC):
    """A scalar of the latents of a batch.

    Unless ``confidence`` is ``ignore``, every mean over a class is weighted. A record labelled benign counts by its
    share in ``pipeline.models.base.shares``. A surely anomalous record is left out, or counts as a labelled attack
    (``push``).

    Attributes:
        confidence: effect of the confidence of a record.
        unknown: weight of a record whose confidence is 0.
    """

    confidence: Literal["ignore", "leave_out", "push"] = "ignore"
    unknown: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.unknown <= 1:
            raise ValueError(f"unknown must lie in [0, 1], not {self.unknown}")

    @property
    @abstractmethod
    def separation(self) -> float:
        """Squared distance from the benign centre beyond which the loss pushes attacks no further."""

    @property
    def held(self) -> int:
        """K, the number of benign modes that an encoder keeps for it beside its weights."""
        return 0

    @property
    def learns_modes(self) -> bool:
        """Whether training moves the modes."""
        return False

    @property
    def heeds_confidence(self) -> bool:
        """Whether the confidence of a record changes the loss."""
        return self.confidence != "ignore"

    @abstractmethod
    def __call__(self, z: Tensor, batch: Batch, modes: Tensor | None = None) -> Tensor:
        """The loss of a batch; it is also finite if the batch has only one class.

        Args:
            z: (B, Z) latents of the rows of ``batch``.
            batch: labels and confidence.
            modes: (K, Z); None if there are none.
        """

    @abstractmethod
    def margin_of(self, z: Tensor, centroids: Centroids) -> Tensor:
        """(B, Z) to (B,): higher is more anomalous; above 0, stage 1 alone raises an alarm."""

    @abstractmethod
    def apart(self, z: Tensor, y: Tensor, centroids: Centroids) -> float:
        """How far the attacks in z, (n, Z) with labels y, (n,), are from the benign records; see ``stuck``."""

    def place(self, z: Tensor) -> Tensor:
        """The modes to start with, (K, Z), from untrained latents of benign records, (n, Z); n > 0."""
        return z.mean(0, keepdim=True)

    def follow(self, modes: Tensor, z: Tensor, batch: Batch) -> Tensor:
        """The modes, (K, Z), in a training step with latents ``z``, (B, Z); without gradients."""
        return modes

    def project(self, z: Tensor) -> Tensor:
        """The latents as they are averaged to a centroid, (n, Z): themselves, unless the loss uses only directions."""
        return z

    def stuck(self, distance2: float) -> str | None:
        """Why a training that ended with ``apart`` = ``distance2`` has learnt nothing; None if it has learnt."""
        if distance2 >= 0.05 * self.separation:
            return None
        return (
            f"{type(self).__name__} has parted nothing: the seen attacks lie hardly further from the benign centre "
            f"than benign records do (squared distance {distance2:.2g} more, wanted {self.separation:g}); train for "
            "more steps (min_steps), weigh attacks more, or raise learning_rate"
        )

    def weights(self, batch: Batch) -> Tensor:
        """(2, B) weight of each record in the benign class and in the attack class."""
        attack = batch.y != 0
        if self.confidence == "ignore":
            return torch.stack((~attack, attack))
        as_benign, as_attack = shares(batch.confidence, self.unknown)
        pushed = as_attack if self.confidence == "push" else torch.zeros_like(as_attack)
        return torch.stack((torch.where(attack, 0.0, as_benign), torch.where(attack, 1.0, pushed)))


def require_at_least(minimum: float, **settings: float) -> None:
    """Refuse a setting below ``minimum``."""
    for name, value in settings.items():
        if value < minimum:
            raise ValueError(f"{name} must be at least {minimum:g}, not {value}")


def require_positive(**settings: float) -> None:
    """Refuse a setting that is not above 0."""
    for name, value in settings.items():
        if value <= 0:
            raise ValueError(f"{name} must be above 0, not {value}")


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

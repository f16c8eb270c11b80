"""CLAD: benign records share one direction of the latent, and every attack is far from every benign record."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.models.base import Batch, weighted_mean
from pipeline.models.encoders.losses.base import Centroids, LatentLoss, class_means, require_at_least, require_positive


@dataclass(frozen=True)
class CLAD(LatentLoss):
    """Contrastive loss over pairs of a batch, on the cosine distance d(u, v) = 1 - u'v / |u||v|.

    L = alpha mean_(benign, benign) d^2 + gamma mean_(benign, attack) relu(margin - d)^2

    Wilkie, Hindy, Tachtatzis, Irvine, Atkinson, "A Novel Contrastive Loss for Zero-Day Network Intrusion Detection",
    IEEE TNSM 2026, arXiv 2601.09902; both weights are 1 there. Pairs of two attacks do not count, so attacks need not
    be alike. The margin is the distance from the mean benign direction, the published score.

    Attributes:
        alpha: weight of the pairs of benign records.
        gamma: weight of the pairs of a benign record and an attack.
        margin: cosine distance, in (0, 2], at which such a pair costs nothing any more.
    """

    alpha: float = 1.0
    gamma: float = 1.0
    margin: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(0, alpha=self.alpha)
        require_positive(gamma=self.gamma)
        if not 0 < self.margin <= 2:
            raise ValueError(f"margin must lie in (0, 2], not {self.margin}")

    @property
    def separation(self) -> float:
        """Squared distance of two unit vectors at the margin."""
        return 2 * self.margin

    def __call__(self, z: Tensor, batch: Batch, modes: Tensor | None = None) -> Tensor:
        """The loss of ``z``, (B, Z)."""
        u = self.project(z)
        distance = 1 - u @ u.T  # (B, B)
        benign, attack = self.weights(batch).to(z.dtype)
        alike = torch.outer(benign, benign).fill_diagonal_(0.0)
        unlike = torch.outer(benign, attack)
        compact = weighted_mean(distance.square(), alike)
        apart = weighted_mean(functional.relu(self.margin - distance).square(), unlike)
        total: Tensor = self.alpha * compact + self.gamma * apart
        return total

    def project(self, z: Tensor) -> Tensor:
        """(n, Z) of unit length."""
        unit: Tensor = functional.normalize(z, dim=-1)
        return unit

    def margin_of(self, z: Tensor, centroids: Centroids) -> Tensor:
        """Cosine distance from the benign centroid less that at which both labels cost the same, (B,)."""
        root = math.sqrt(self.gamma)
        boundary = root * self.margin / (math.sqrt(self.alpha) + root)
        return 1 - self.project(z) @ self.project(centroids.benign) - boundary

    @torch.no_grad()
    def apart(self, z: Tensor, y: Tensor, centroids: Centroids) -> float:
        """Twice the difference of the mean cosine distances, which is that of squared distances of unit vectors."""
        means, _ = class_means(self.margin_of(z, centroids)[:, None], y)
        return 2 * float(means[1] - means[0])

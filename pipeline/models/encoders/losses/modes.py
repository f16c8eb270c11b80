"""Several benign modes in place of one ball: traffic of many kinds need not be mapped to one point."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.models.encoders.losses.ball import Ball
from pipeline.models.encoders.losses.base import require_at_least, require_positive


@dataclass(frozen=True)
class Modes(Ball):
    """The binary loss with d2 from the nearest of K benign modes c_k, softly so.

    d2(z) = -t log( mean_k exp(-||z - c_k||^2 / t) ),   L = alpha mean_benign d2 + gamma mean_attack relu(margin - d2)

    d2 / t is, up to a constant, the negative log-likelihood of K equal Gaussians of variance t / 2; it lies between
    the smallest squared distance and t log K more. With one mode it is ``binary`` around a centre that is held.

    Attributes:
        alpha: weight of benign compactness.
        gamma: weight of the attacks.
        margin: d2 from which on an attack costs nothing.
        centres: K.
        temperature: t; the smaller, the more the nearest mode alone counts.
        learnt: whether training moves the modes, which start from k-means of the untrained benign latents.
    """

    alpha: float = 0.1
    gamma: float = 1.0
    margin: float = 5.0
    centres: int = 8
    temperature: float = 0.5
    learnt: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(0, alpha=self.alpha)
        require_positive(gamma=self.gamma, margin=self.margin, centres=self.centres, temperature=self.temperature)

    @property
    def separation(self) -> float:
        """The margin."""
        return self.margin

    @property
    def held(self) -> int:
        """K."""
        return self.centres

    @property
    def learns_modes(self) -> bool:
        """As the setting says."""
        return self.learnt

    @property
    def boundary(self) -> float:
        """Where alpha d2 = gamma (margin - d2)."""
        return self.gamma * self.margin / (self.alpha + self.gamma)

    def costs(self, distance2: Tensor) -> tuple[Tensor, Tensor]:
        """Of a benign record and of an attack, (B,) each."""
        return self.alpha * distance2, self.gamma * functional.relu(self.margin - distance2)

    def distance2(self, z: Tensor, centres: Tensor) -> Tensor:
        """(B,) soft minimum over the centres, (K, Z), of the squared distance of z, (B, Z)."""
        squares = (z[:, None] - centres).square().sum(-1)  # (B, K)
        return -self.temperature * (torch.logsumexp(-squares / self.temperature, -1) - math.log(len(centres)))

    def place(self, z: Tensor) -> Tensor:
        """(K, Z) k-means of z, (n, Z), where there are as many rows; always the same for the same z."""
        from sklearn.cluster import KMeans

        rows = z.cpu().double().numpy()
        distinct = min(self.centres, len(np.unique(rows, axis=0)))
        centres = KMeans(distinct, n_init=1, random_state=0).fit(rows).cluster_centers_
        repeated = centres[np.arange(self.centres) % len(centres)]
        return torch.from_numpy(repeated).to(z)

"""Mahalanobis distance to the benign mean."""

from typing import Literal

import torch
from torch import Tensor

from pipeline.detectors.base import Detector


class Mahalanobis(Detector):
    """Squared Mahalanobis distance under a shrunk covariance, in closed form.

    Shrinkage by Chen, Wiesel, Eldar, Hero, "Shrinkage Algorithms for MMSE Covariance Estimation", 2010 (``oas``), or
    Ledoit, Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", 2004 (``ledoit_wolf``).
    """

    mean: Tensor
    whitening: Tensor

    def __init__(self, features: int, shrinkage: Literal["oas", "ledoit_wolf"] = "oas") -> None:
        super().__init__(features)
        if shrinkage not in ("oas", "ledoit_wolf"):
            raise ValueError(f"shrinkage must be 'oas' or 'ledoit_wolf', not {shrinkage!r}")
        self.shrinkage = shrinkage
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("whitening", torch.eye(features))

    def initialise(self, x: Tensor) -> None:
        """Estimate mean and covariance from x (n, F)."""
        from sklearn.covariance import OAS, LedoitWolf

        estimator = OAS() if self.shrinkage == "oas" else LedoitWolf()
        estimator.fit(x.double().cpu().numpy())
        covariance = torch.from_numpy(estimator.covariance_)
        # Keeps a covariance of constant features invertible; far below any variance that shrinkage leaves.
        floor = 1e-9 * covariance.diagonal().mean().clamp_min(1e-9)
        lower = torch.linalg.cholesky(covariance + floor * torch.eye(self.features, dtype=torch.float64))
        self.mean.copy_(torch.from_numpy(estimator.location_))
        self.whitening.copy_(torch.linalg.inv(lower))

    def score(self, x: Tensor) -> Tensor:
        """(x - mean)' covariance^-1 (x - mean), (B, F) to (B,)."""
        return ((x - self.mean) @ self.whitening.T).square().sum(-1)

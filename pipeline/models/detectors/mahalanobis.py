"""Mahalanobis distance to the benign mean."""

from typing import Literal

import torch
from torch import Tensor

from pipeline.models.detectors.base import Detector


class Mahalanobis(Detector):
    """Squared Mahalanobis distance under a shrunk covariance, in closed form.

    Shrinkage by Chen, Wiesel, Eldar, Hero, "Shrinkage Algorithms for MMSE Covariance Estimation", 2010 (``oas``), or
    Ledoit, Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", 2004 (``ledoit_wolf``).

    Args:
        features: F.
        shrinkage: ``oas`` or ``ledoit_wolf``, how the covariance is drawn towards a multiple of the identity.
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

    def fit(self, x: Tensor, y: Tensor | None = None) -> None:
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

    @property
    def replaces_quickly(self) -> bool:
        """True."""
        return True

    def replaced(self, x: Tensor, reference: Tensor) -> Tensor:
        """(B, F) scores if one entry alone is replaced.

        With whitened w = W (x - mean) and a step s in entry i it is |w|^2 + 2 s (W' w)_i + s^2 |W_i|^2.
        """
        white, step = (x - self.mean) @ self.whitening.T, reference - x
        change = 2 * step * (white @ self.whitening) + step.square() * self.whitening.square().sum(0)
        return (white.square().sum(-1, keepdim=True) + change).clamp_min(0)

    def terms(self, x: Tensor) -> Tensor:
        """d_i (covariance^-1 d)_i with d = x - mean, (B, F): their sum is the score, and one may be below 0.

        If d is 0 except in one feature, that feature has the whole sum; squared whitened entries would spread it over
        others (the partial decomposition of Alcala, Qin, "Analysis and Generalization of Fault Diagnosis Methods for
        Process Monitoring", 2011).
        """
        apart = x - self.mean
        return apart * (apart @ self.whitening.T @ self.whitening)

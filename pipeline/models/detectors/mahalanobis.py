"""Mahalanobis distance to the benign mean."""

from typing import Literal

import torch
from torch import Tensor

from pipeline.models.arrays.mahalanobis import MahalanobisForm
from pipeline.models.arrays.stored import Stored
from pipeline.models.detectors.closed_form import ClosedForm


class Mahalanobis(ClosedForm):
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

    def _formed(self, arrays: Stored) -> MahalanobisForm:
        return MahalanobisForm.of(arrays, self.features)

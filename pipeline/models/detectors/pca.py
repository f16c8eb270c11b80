"""Reconstruction error of the principal components."""

import torch
from torch import Tensor

from pipeline.models.detectors.base import Detector
from pipeline.models.layers import Standardise

ROWS_AT_ONCE = 65_536


class PCA(Detector):
    """Squared distance of a standardised row from the span of the leading principal components.

    |z - V V' z|^2 = |W' z|^2 with the leading eigenvectors V of the correlation matrix and the others W; the second
    form has no cancellation. Shyu, Chen, Sarinnapakorn, Chang, "A Novel Anomaly Detection Scheme Based on
    Principal Component Classifier", 2003, whose sum over the minor components is weighted by 1 / eigenvalue.

    Args:
        features: Z.
        variance: share of the variance that the leading components keep, at least; one component is always left over.
    """

    sized_by_data = ("minor",)
    minor: Tensor

    def __init__(self, features: int, variance: float = 0.9) -> None:
        super().__init__(features)
        if not 0 < variance < 1:
            raise ValueError(f"variance must be between 0 and 1, not {variance}")
        self.variance = variance
        self.standardise = Standardise(features)
        self.register_buffer("minor", torch.eye(features))  # (F - leading, F), W'

    def fit(self, x: Tensor, y: Tensor | None = None) -> None:
        """Take the components of the rows x (n, F)."""
        self.standardise.fit(x)
        parts = (self.standardise(part).double() for part in torch.split(x, ROWS_AT_ONCE))
        products = torch.stack([part.T @ part for part in parts]).sum(0)  # n times the correlation matrix
        values, vectors = torch.linalg.eigh(products)  # ascending
        kept = values.flip(0).clamp_min(0).cumsum(0) / values.sum().clamp_min(1e-300)
        leading = min(int((kept < self.variance).sum()) + 1, self.features - 1)
        self.minor = vectors[:, : self.features - leading].T.to(self.minor)

    def score(self, x: Tensor) -> Tensor:
        """Squared error of the reconstruction, (B, F) to (B,)."""
        residual: Tensor = self.standardise(x) @ self.minor.T
        return residual.square().sum(-1)

    @property
    def replaces_quickly(self) -> bool:
        """True."""
        return True

    def replaced(self, x: Tensor, reference: Tensor) -> Tensor:
        """(B, F) scores if one entry alone is replaced; as in ``Mahalanobis.replaced``."""
        z, to = self.standardise(x), self.standardise(reference)
        white, step = z @ self.minor.T, to - z
        change = 2 * step * (white @ self.minor) + step.square() * self.minor.square().sum(0)
        left: Tensor = (white.square().sum(-1, keepdim=True) + change).clamp_min(0)
        return left

    def terms(self, x: Tensor) -> Tensor:
        """z_i e_i with the error e = z - V V' z of the reconstruction, (B, F): their sum is the score.

        e is orthogonal to V V' z, so that e'e = z'e. The squared e_i have the same sum but no part of z: of one minor
        component they are in the same proportions for every record. See ``Mahalanobis.terms``.
        """
        z: Tensor = self.standardise(x)
        return z * (z @ self.minor.T @ self.minor)

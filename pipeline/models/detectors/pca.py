"""Reconstruction error of the principal components."""

import torch
from torch import Tensor

from pipeline.models.arrays.pca import PCAForm
from pipeline.models.arrays.stored import Stored
from pipeline.models.detectors.closed_form import ClosedForm
from pipeline.models.layers import Standardise

ROWS_AT_ONCE = 65_536


class PCA(ClosedForm):
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

    def _formed(self, arrays: Stored) -> PCAForm:
        return PCAForm.of(arrays, self.features)

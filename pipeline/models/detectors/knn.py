"""Distance to the nearest neighbours."""

from typing import Literal

import torch
from torch import Tensor

from pipeline.base.errors import TrainingError
from pipeline.models.detectors.base import Detector, draw, rows_at_once
from pipeline.models.layers import Standardise
from pipeline.models.scoring import in_parts


class KNN(Detector):
    """Distance to the k-th nearest reference row, in standardised features.

    Ramaswamy, Rastogi, Shim, "Efficient Algorithms for Mining Outliers from Large Data Sets", 2000; the mean over the
    k distances is that of Angiulli, Pizzuti, "Fast Outlier Detection in High Dimensional Spaces", 2002. A reference row
    that is scored counts itself as its nearest neighbour.

    Args:
        features: Z.
        neighbours: k.
        reduce: ``largest`` takes the k-th distance, ``mean`` the mean of the k.
        metric: ``whitened`` first removes the correlations between features, so that a value that does not fit the
            others is far away even if it is common by itself. Directions with less than a tenth of the variance of a
            feature are stretched as if they had that tenth.
        max_rows: reference rows at most, drawn by ``seed``; the time of a score is linear in them.
        seed: of the rows drawn.
    """

    sized_by_data = ("reference", "rows")
    reference: Tensor
    whitening: Tensor
    rows: Tensor

    def __init__(
        self,
        features: int,
        neighbours: int = 5,
        reduce: Literal["largest", "mean"] = "largest",
        metric: Literal["standardised", "whitened"] = "standardised",
        max_rows: int = 10_000,
        seed: int = 0,
    ) -> None:
        super().__init__(features)
        if neighbours < 1 or max_rows < neighbours:
            raise ValueError(f"neighbours must be at least 1 and max_rows at least that, not {neighbours}, {max_rows}")
        if reduce not in ("largest", "mean"):
            raise ValueError(f"reduce must be 'largest' or 'mean', not {reduce!r}")
        if metric not in ("standardised", "whitened"):
            raise ValueError(f"metric must be 'standardised' or 'whitened', not {metric!r}")
        self.neighbours, self.reduce, self.max_rows, self.seed = neighbours, reduce, max_rows, seed
        self.metric = metric
        self.standardise = Standardise(features)
        if metric == "whitened":
            self.register_buffer("whitening", torch.eye(features))
        self.register_buffer("reference", torch.zeros(neighbours, features))
        self.register_buffer("rows", torch.zeros(neighbours, dtype=torch.int64))  # where they stood among those given

    def fit(self, x: Tensor, y: Tensor | None = None) -> None:
        """Keep rows of x (n, F), standardised by all of them.

        Raises:
            TrainingError: if there are fewer rows than neighbours.
        """
        if len(x) < self.neighbours:
            raise TrainingError(
                f"detector knn: {self.neighbours} neighbours need at least as many records, given {len(x)}; "
                "lower stage2.knn.neighbours"
            )
        self.standardise.fit(x)
        if self.metric == "whitened":
            self.whitening.copy_(whitening(self.standardise(x.double())))
        self.rows = draw(torch.arange(len(x)), self.max_rows, self.seed).to(self.rows)
        self.reference = self._mapped(x[self.rows.to(x.device)]).to(self.reference)

    def _mapped(self, x: Tensor) -> Tensor:
        """Rows as distances are taken between them, (B, F)."""
        z: Tensor = self.standardise(x)
        return z @ self.whitening if self.metric == "whitened" else z

    def score(self, x: Tensor) -> Tensor:
        """Distance in standard deviations, (B, F) to (B,)."""
        return in_parts(self._score, x, self._at_once())

    def terms(self, x: Tensor) -> Tensor:
        """Squared differences from the neighbours, divided by the distance, (B, F): their sum is the score.

        d = sum over i of (z_i - r_i)^2 / d for a distance d; the mean of several is the sum of their means.
        """
        return in_parts(self._terms, x, self._at_once())

    def nearest(self, x: Tensor) -> Tensor:
        """(B, k) positions of the fitted rows that are nearest to x, (B, F), the nearest first."""
        return self.rows[in_parts(lambda part: self._neighbours(part)[0], x, self._at_once())]

    def _at_once(self) -> int:
        return rows_at_once(len(self.reference))

    def _score(self, x: Tensor) -> Tensor:
        distances = self._neighbours(x)[1].square().sum(-1).sqrt()
        return distances.amax(1) if self.reduce == "largest" else distances.mean(1)

    def _neighbours(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Which k reference rows are nearest, (B, k), and how x differs from them, (B, k, F)."""
        z = self._mapped(x)
        # |z - r|^2 - |z|^2 finds the neighbours in one product, but of a near copy it leaves rounding noise only.
        order = torch.addmm(self.reference.square().sum(1), z, self.reference.T, alpha=-2)  # (B, references)
        nearest = order.topk(self.neighbours, largest=False).indices
        return nearest, z[:, None] - self.reference[nearest]

    def _terms(self, x: Tensor) -> Tensor:
        apart = self._neighbours(x)[1]  # (B, k, F)
        distances = apart.square().sum(-1, keepdim=True).sqrt()
        parts = self._by_feature(apart) / distances.clamp_min(torch.finfo(apart.dtype).tiny)
        if self.reduce == "mean":
            return parts.mean(1)
        return parts.take_along_dim(distances.argmax(1, keepdim=True), 1).squeeze(1)

    def _by_feature(self, apart: Tensor) -> Tensor:
        """Squared distances, (B, k, F) differences as distances are taken, by the feature that they come from."""
        if self.metric == "standardised":
            return apart.square()
        # With d = e W, |d|^2 = sum over i of e_i (W d)_i.
        before = torch.linalg.solve(self.whitening.T, apart.flatten(0, 1).T).T.view_as(apart)
        by_feature: Tensor = before * (apart @ self.whitening.T)
        return by_feature


def whitening(z: Tensor, floor: float = 0.1) -> Tensor:
    """V diag(1 / sqrt(max(w, floor))), (F, F): what makes the rows of z uncorrelated, and of variance 1 at most.

    Args:
        z: (n, F) standardised rows.
        floor: the least variance w of a direction that is stretched to 1.
    """
    variance, directions = torch.linalg.eigh(torch.cov(z.T, correction=0).reshape(z.shape[1], -1))
    whitened: Tensor = directions / variance.clamp_min(floor).sqrt()
    return whitened

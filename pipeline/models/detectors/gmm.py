"""Gaussian mixture."""

import math

import torch
from torch import Tensor

from pipeline.base.errors import TrainingError
from pipeline.models.arrays.gmm import GMMForm
from pipeline.models.arrays.stored import Stored
from pipeline.models.detectors.cells import draw_evenly
from pipeline.models.detectors.closed_form import ClosedForm
from pipeline.models.detectors.mixture import Mixture
from pipeline.models.layers import Standardise


class GMM(ClosedForm):
    """-log p(x) under a mixture of Gaussians with full covariances, fitted by expectation maximisation.

    Dempster, Laird, Rubin, "Maximum Likelihood from Incomplete Data via the EM Algorithm", 1977; the fit is
    that of ``Mixture``, on standardised features.

    Args:
        features: Z.
        components: K; None: a quarter of the root of the rows that are fitted, chosen on seen attacks alone (see
            benchmarks/README.md).
        regularisation: added to each variance, in units of the standardised features.
        max_rows: rows that are fitted at most. Of more rows a sample is fitted in which each cluster has its share
            (``cells.draw_evenly``), so the time of a fit is bounded.
        seed: of the rows drawn and of the start.
    """

    sized_by_data = ("log_weights", "means", "precisions")
    log_weights: Tensor
    means: Tensor
    precisions: Tensor

    def __init__(
        self,
        features: int,
        components: int | None = None,
        regularisation: float = 1e-2,
        max_rows: int = 10_000,
        seed: int = 0,
    ) -> None:
        super().__init__(features)
        least = 1 if components is None else components
        if least < 1 or max_rows < least:
            raise ValueError(f"components must be at least 1 and max_rows at least that, not {components}, {max_rows}")
        self.components, self.regularisation, self.max_rows, self.seed = components, regularisation, max_rows, seed
        self.standardise = Standardise(features)
        self.register_buffer("log_weights", torch.full((least,), -math.log(least)))
        self.register_buffer("means", torch.zeros(least, features))
        self.register_buffer("precisions", torch.eye(features).repeat(least, 1, 1))  # Cholesky factors

    def fit(self, x: Tensor, y: Tensor | None = None) -> None:
        """Fit the mixture on x (n, F).

        Raises:
            TrainingError: if there are fewer rows than components.
        """
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        if len(x) < (self.components or 1):
            raise TrainingError(
                f"detector gmm: {self.components or 1} components need at least as many records, given {len(x)}; "
                "lower stage2.gmm.components"
            )
        self.standardise.fit(x)
        drawn = draw_evenly(x, self.max_rows, self.seed, self.standardise)
        rows = self.standardise(x[drawn]).double().cpu().numpy()
        components = self.components or max(1, round(len(rows) ** 0.5 / 4))
        # The products are small: several BLAS threads wait for each other, at 10 times the processor time.
        with threadpool_limits(1):
            mixture = Mixture.fit(rows, components, self.regularisation, self.seed)
        self.log_weights = torch.from_numpy(mixture.weights).clamp_min(1e-300).log().to(self.log_weights)
        self.means = torch.from_numpy(mixture.means).to(self.means)
        self.precisions = torch.from_numpy(mixture.precisions).to(self.precisions)

    def _formed(self, arrays: Stored) -> GMMForm:
        return GMMForm.of(arrays, self.features)

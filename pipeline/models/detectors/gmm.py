"""Gaussian mixture."""

import math

import torch
from torch import Tensor

from pipeline.base.errors import TrainingError
from pipeline.models.arrays import mixture as density
from pipeline.models.detectors.base import Detector, of_both
from pipeline.models.detectors.cells import draw_evenly
from pipeline.models.detectors.mixture import Mixture
from pipeline.models.layers import Standardise
from pipeline.models.scoring import ROWS_AT_ONCE, in_parts


class GMM(Detector):
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
        self._known: tuple[Tensor, density.Mixture] | None = None  # what it was made of comes first

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

    def scores(self, x: Tensor) -> Tensor:
        """(n,) of (n, F), by components that matter alone."""
        if x.device.type != "cpu":
            return super().scores(x)
        if self._known is None or self._known[0] is not self.precisions:
            arrays = (each.detach().numpy() for each in (self.log_weights, self.means, self.precisions))
            self._known = self.precisions, density.Mixture(*arrays)
        z = in_parts(self.standardise, x, ROWS_AT_ONCE).detach().numpy()
        return -torch.from_numpy(self._known[1].log_density(z)).to(x) - self.standardise.ladj

    def score(self, x: Tensor) -> Tensor:
        """-log p(x) in nats, (B, F) to (B,)."""
        joint, _ = self._components(x)
        return -_log_sum(joint, -1) - self.standardise.ladj

    def terms(self, x: Tensor) -> Tensor:
        """Half the squared distance from each component, feature by feature, under the responsibilities r: (B, F).

        As in ``Mahalanobis.terms`` for each component k, with d = z - mean_k and its precision P: sum over k of
        r_k d_i (P d)_i / 2. The score is their sum plus a part that belongs to no feature, since r is given::

            sum over k of r_k (log r_k - log weight_k - log |P_k| / 2) + F log(2 pi) / 2 - ladj
        """
        joint, white = self._components(x)
        apart = self.standardise(x)[:, None] - self.means  # (B, K, F)
        parts = apart * torch.einsum("bkg,kfg->bkf", white, self.precisions)
        return 0.5 * torch.einsum("bk,bkf->bf", joint.softmax(-1), parts)

    @property
    def replaces_quickly(self) -> bool:
        """True."""
        return True

    def replaced(self, x: Tensor, reference: Tensor) -> Tensor:
        """(B, F) scores if one entry alone is replaced; each component as in ``Mahalanobis.replaced``."""
        return of_both(self._replaced, x, reference, ROWS_AT_ONCE)

    def _replaced(self, x: Tensor, reference: Tensor) -> Tensor:
        joint, white = self._components(x)
        step = (self.standardise(reference) - self.standardise(x))[:, None]  # (B, 1, F)
        towards = torch.einsum("bkg,kfg->bkf", white, self.precisions)
        change = 2 * step * towards + step.square() * self.precisions.square().sum(-1)
        changed = joint[..., None] - 0.5 * torch.maximum(change, -white.square().sum(-1, keepdim=True))
        return -_log_sum(changed, 1) - self.standardise.ladj

    def _components(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The log of weight times density of each component, (B, K), and x whitened by each, (B, K, F)."""
        z = self.standardise(x)
        white = torch.einsum("bf,kfg->bkg", z, self.precisions) - torch.einsum(
            "kf,kfg->kg", self.means, self.precisions
        )
        log_det = self.precisions.diagonal(dim1=1, dim2=2).log().sum(-1)  # (K,)
        log_normal = log_det - 0.5 * (white.square().sum(-1) + self.features * math.log(2 * math.pi))  # (B, K)
        return self.log_weights + log_normal, white


def _log_sum(joint: Tensor, dim: int) -> Tensor:
    """Log of the sum of exp(joint) over a dimension.

    A part of exp(-80) of the largest one changes no bit of the sum. Smaller ones underflow, which takes a CPU up to 100
    times as long as any other.
    """
    return torch.logsumexp(torch.maximum(joint, joint.amax(dim, keepdim=True) - 80), dim)

"""Deep support vector data description."""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from pipeline.models.base import Batch
from pipeline.models.detectors.base import Detector
from pipeline.models.layers import Standardise

LEAST_CENTRE = 0.1
ROWS_AT_ONCE = 65_536


class DeepSVDD(Detector):
    """Squared distance of the latent of a row from a fixed centre, |phi(x) - c|^2.

    Ruff et al., "Deep One-Class Classification", 2018. phi has no bias and no bounded activation, and c is the mean of
    the untrained latents with |c_i| >= 0.1, since otherwise a constant phi = c would have no loss (propositions 1 to
    3). A constant input can still act as a bias and allow this, so ``spread`` is checked.

    ``one_class`` minimises the mean score, ``soft_boundary`` R^2 + mean(max(0, score - R^2)) / nu. Deviation: R^2 is
    not searched every few epochs; it is the (1 - nu) quantile of each batch, which is the minimum over R. The score
    leaves out R^2, which does not change the ranking. The penalty on the weights is ``weight_decay`` of the fit.

    Args:
        features: Z; rows are standardised.
        hidden: widths of the hidden layers.
        latent: width of phi.
        objective: ``one_class`` or ``soft_boundary``.
        nu: share of the rows that ``soft_boundary`` leaves outside.
    """

    centre: Tensor
    start: Tensor

    def __init__(
        self,
        features: int,
        hidden: tuple[int, ...] = (128, 64),
        latent: int = 32,
        objective: Literal["one_class", "soft_boundary"] = "one_class",
        nu: float = 0.1,
    ) -> None:
        super().__init__(features)
        if min(latent, *hidden, latent) < 1:
            raise ValueError(f"hidden and latent must be at least 1, not {hidden} and {latent}")
        if objective not in ("one_class", "soft_boundary"):
            raise ValueError(f"objective must be 'one_class' or 'soft_boundary', not {objective!r}")
        if not 0 < nu < 1:
            raise ValueError(f"nu must be between 0 and 1, not {nu}")
        self.objective, self.nu = objective, nu
        self.standardise = Standardise(features)
        layers: list[nn.Module] = []
        for width_in, width_out in pairwise((features, *hidden)):
            layers += [nn.Linear(width_in, width_out, bias=False), nn.LeakyReLU(0.1)]
        self.network = nn.Sequential(*layers, nn.Linear((features, *hidden)[-1], latent, bias=False))
        self.register_buffer("centre", torch.full((latent,), LEAST_CENTRE))
        self.register_buffer("start", torch.ones(()))  # spread of the untrained latents

    def extra_repr(self) -> str:
        """The objective, so that the printed module shows everything that decides a training."""
        return f"objective={self.objective}, nu={self.nu}"

    @torch.no_grad()
    def fit(self, x: Tensor, y: Tensor | None = None) -> None:
        """Standardise by x (n, F) and set the centre."""
        self.standardise.fit(x)
        mean, spread = self._mean_and_spread(x)
        sign = torch.where(mean < 0, -1.0, 1.0)
        self.centre.copy_(sign * mean.abs().clamp_min(LEAST_CENTRE))
        self.start.copy_(spread)

    def forward(self, x: Tensor) -> Tensor:
        """The latent phi(x), (B, F) to (B, latent)."""
        latent: Tensor = self.network(self.standardise(x))
        return latent

    def loss(self, batch: Batch) -> Tensor:
        """The objective on a batch."""
        score = self.score(batch.x)
        if self.objective == "one_class":
            return score.mean()
        radius = score.detach().quantile(1 - self.nu)  # R^2
        return radius + (score - radius).clamp_min(0).mean() / self.nu

    def score(self, x: Tensor) -> Tensor:
        """|phi(x) - c|^2, (B, F) to (B,)."""
        apart: Tensor = self(x) - self.centre
        return apart.square().sum(-1)

    @torch.no_grad()
    def spread(self, x: Tensor) -> float:
        """Spread of the latents of x (n, F), as a share of what it was on the training rows before training."""
        return float(self._mean_and_spread(x)[1] / self.start.clamp_min(1e-30))

    def _mean_and_spread(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(latent,) mean of the latents of x (n, F), and their root mean square distance from it."""
        total = squares = torch.zeros_like(self.centre, dtype=torch.float64)
        for part in torch.split(x, ROWS_AT_ONCE):
            z = self(part).double()
            total, squares = total + z.sum(0), squares + z.square().sum(0)
        mean = total / len(x)
        return mean, (squares / len(x) - mean.square()).clamp_min(0).sum().sqrt()

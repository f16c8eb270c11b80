"""Masked autoregressive flow."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.models.base import Batch, shares, weighted_mean
from pipeline.models.detectors.base import Detector
from pipeline.models.layers import Standardise


def made_masks(degrees: Tensor, features: int) -> tuple[Tensor, Tensor]:
    """Masks of one hidden layer whose units have ``degrees``, (H,): (H, F) to it and (F, H) from it.

    Unit k sees the inputs 1 .. degree(k), output i the units of degree < i (Germain et al., "MADE", 2015, equations
    8 and 9). The published code shifts both comparisons, so that output 31 never sees input 30 and units of degree 1
    see nothing; that is not inherited.
    """
    index = torch.arange(1, features + 1)
    return degrees[:, None] >= index, index[:, None] > degrees


def _layers(x: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
    """All layers: x (B, F), then their stacked weights and biases -> z (B, F) and log |dz_i/dx_i|, (B, F).

    The derivative of z_i is taken with the other features held fixed; the sum over i is log |det dz/dx|.
    """
    log_scales = torch.zeros_like(x)
    for w1, b1, w2, b2 in zip(*(weight.unbind() for weight in weights), strict=True):
        hidden = functional.relu(functional.linear(x, w1, b1), inplace=True)
        s, t = functional.linear(hidden, w2, b2).chunk(2, -1)
        log_scale = s.tanh()
        x = torch.addcmul(t, x, log_scale.exp())
        log_scales = log_scales + log_scale
    return x, log_scales


class MAF(Detector):
    """A stack of masked autoencoders, each an affine map of x_i given x_1 .. x_i-1; score = -log p(x).

    z_i = x_i exp(tanh s_i) + t_i,  log p(x) = log N(z; 0, I) + sum over layers and i of tanh s_i

    Papamakarios, Pavlakou, Murray, "Masked Autoregressive Flow for Density Estimation", 2017, with the bounded log
    scale of Latent Sculpting (Chhetri, Thapa, Chen, arXiv 2512.22179, 2025): 795,648 dense parameters for 32 features
    at the published settings. One default deviates: the input is standardised, so that the layers need not learn units,
    and the density includes the constant of that map. ``standardise: false`` reads the latent as it is, as published.
    The masks of every second layer read the features backwards: the published flip between layers, without moving data.

    The layers' weights are stacked, so that masking, clipping and the optimiser's step are one operation for all.

    With ``confidence`` other than ``ignore`` the likelihood is weighted, which is not in the paper:
    L = sum_i b_i s_i / sum_i b_i, where b_i is the benign share of ``pipeline.models.base.shares`` and s the score.
    ``push`` adds sum_i a_i relu(m + distance - s_i) / sum_i a_i over the anomalous shares a_i, with m the weighted mean
    score of the benign records. Surely anomalous records are driven off until they lie ``distance`` nats above m.

    If records repeat, or lie on a line or a grid, the density grows without bound and the score follows the finest
    grain. ``scale_penalty`` counters this, and so does noise on the training rows (``stage2.fit.input_noise``,
    dequantisation by a Gaussian); neither is in the paper. The penalty adds to the loss of a record, of F features::

        scale_penalty / F * (sum over layers and features of tanh s)^2

    It limits the volume, not each direction: stretching one direction can be offset by compressing another.

    Args:
        features: Z.
        layers: K.
        hidden: H, units of each layer.
        scale_penalty: of the squared log volume by which the layers stretch.
        confidence: effect of the confidence of a record.
        unknown: weight of a record whose confidence is 0.
        distance: in nats.
        standardise: whether each feature is brought to mean 0 and variance 1 first.
    """

    masks_in: Tensor
    masks_out: Tensor

    def __init__(
        self,
        features: int,
        layers: int = 16,
        hidden: int = 512,
        scale_penalty: float = 0.0,
        confidence: Literal["ignore", "leave_out", "push"] = "ignore",
        unknown: float = 0.5,
        distance: float = 20.0,
        standardise: bool = True,
    ) -> None:
        super().__init__(features)
        if layers < 1 or hidden < 1:
            raise ValueError(f"layers and hidden must be at least 1, not {layers} and {hidden}")
        if not 0 <= unknown <= 1 or distance < 0 or scale_penalty < 0:
            raise ValueError(
                f"needs unknown in [0, 1], distance and scale_penalty at least 0, not {unknown}, {distance} and "
                f"{scale_penalty}"
            )
        self.scale_penalty = scale_penalty
        self.confidence, self.unknown, self.distance = confidence, unknown, distance
        self.standardised = standardise
        self.standardise = Standardise(features)
        pairs = [self._masks(layer, hidden) for layer in range(layers)]
        # As floats: a bool mask would be converted at each step.
        self.register_buffer("masks_in", torch.stack([into for into, _ in pairs]).float())  # (K, H, F)
        self.register_buffer("masks_out", torch.stack([out for _, out in pairs]).float())  # (K, 2F, H)
        self.weight_in = nn.Parameter(_uniform((layers, hidden, features), features))
        self.bias_in = nn.Parameter(_uniform((layers, hidden), features))
        self.weight_out = nn.Parameter(_uniform((layers, 2 * features, hidden), hidden))
        self.bias_out = nn.Parameter(_uniform((layers, 2 * features), hidden))

    def _masks(self, layer: int, hidden: int) -> tuple[Tensor, Tensor]:
        degrees = torch.randint(1, max(self.features, 2), (hidden,)).sort().values  # 1 .. F - 1
        into, out = made_masks(degrees, self.features)
        if layer % 2:
            into, out = into.flip(1), out.flip(0)
        return into, out.repeat(2, 1)  # s and t see the same

    def fit(self, x: Tensor, y: Tensor | None = None) -> None:
        """Standardise by x (n, F), unless the settings say not to."""
        if self.standardised:
            self.standardise.fit(x)

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The base variable z, (B, F), and log |det dz/dx|, (B,)."""
        z, log_scales = _layers(self.standardise(x), *self._masked())
        return z, log_scales.sum(-1) + self.standardise.ladj

    def _masked(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Masked weights, and biases, of all layers."""
        return self.weight_in * self.masks_in, self.bias_in, self.weight_out * self.masks_out, self.bias_out

    @property
    def heeds_confidence(self) -> bool:
        """As the setting says."""
        return self.confidence != "ignore"

    def loss(self, batch: Batch) -> Tensor:
        """The negative log-likelihood, weighted by confidence if the setting says so, plus the penalty on scales."""
        z, ladj = self.transform(batch.x)
        score = -self._log_prob(z, ladj)
        held = score
        if self.scale_penalty:
            held = score + self.scale_penalty / self.features * (ladj - self.standardise.ladj).square()
        if self.confidence == "ignore":
            return held.mean()
        benign, anomalous = shares(batch.confidence, self.unknown)
        if self.confidence == "leave_out":
            return weighted_mean(held, benign)
        typical = weighted_mean(score, benign).detach()
        return weighted_mean(held, benign) + weighted_mean(functional.relu(typical + self.distance - score), anomalous)

    def log_prob(self, x: Tensor) -> Tensor:
        """Log p(x) in nats, (B, F) to (B,)."""
        return self._log_prob(*self.transform(x))

    def _log_prob(self, z: Tensor, ladj: Tensor) -> Tensor:
        return ladj - 0.5 * (z.square().sum(-1) + self.features * math.log(2 * math.pi))

    def score(self, x: Tensor) -> Tensor:
        """-log p(x), (B, F) to (B,)."""
        return -self.log_prob(x)

    def terms(self, x: Tensor) -> Tensor:
        """z_i^2 / 2 + log(2 pi) / 2 - log |dz_i/dx_i| of each feature, (B, F): their sum is the score.

        No layer moves a feature: given the others, the i-th output is an affine map of the i-th input. So z_i belongs
        to x_i, and so do its log scales in all layers and in the standardisation, which are its part of log |det|. With
        one layer a term is -log p(x_i | x_1 .. x_i-1). With several it is no conditional density, because layers that
        read forwards and backwards condition z_i on all of x; only the sum does not depend on the order then.
        """
        z, log_scales = _layers(self.standardise(x), *self._masked())
        return 0.5 * (z.square() + math.log(2 * math.pi)) - log_scales + self.standardise.scale.log()


def _uniform(shape: tuple[int, ...], fan_in: int) -> Tensor:
    """The start of ``nn.Linear``."""
    return torch.empty(shape).uniform_(-(fan_in**-0.5), fan_in**-0.5)

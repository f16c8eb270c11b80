"""Masked autoregressive flow."""

import math

import torch
from torch import Tensor, nn

from pipeline.detectors.base import Detector
from pipeline.nn import Standardise, perceptron


def made_masks(degrees: Tensor, features: int) -> tuple[Tensor, Tensor]:
    """Masks of one hidden layer whose units have ``degrees``, (H,): (H, F) to it and (F, H) from it.

    Unit k sees the inputs 1 .. degree(k), output i the units of degree < i (Germain et al., "MADE", 2015, equations
    8 and 9). The published code shifts both comparisons, so that output 31 never sees input 30 and units of degree 1
    see nothing; that is not inherited.
    """
    index = torch.arange(1, features + 1)
    return degrees[:, None] >= index, index[:, None] > degrees


class MAF(Detector):
    """A stack of masked autoencoders, each an affine map of x_i given x_1 .. x_i-1; score = -log p(x).

    z_i = x_i exp(tanh s_i) + t_i,  log p(x) = log N(z; 0, I) + sum over layers and i of tanh s_i

    Papamakarios, Pavlakou, Murray, "Masked Autoregressive Flow for Density Estimation", 2017, with the bounded log
    scale of Latent Sculpting (Chhetri, Thapa, Chen, arXiv 2512.22179, 2025): 795,648 dense parameters for 32 features
    at the published settings, which are the defaults. Deviations: the input is standardised, its constant included in
    the density, so that the layers need not learn units; every second layer reads the features backwards by its
    masks, which is the published flip between layers without moving data.

    The layers' weights are stacked, so that masking, clipping and the optimiser's step are one operation for all.
    """

    masks_in: Tensor
    masks_out: Tensor

    def __init__(self, features: int, layers: int = 16, hidden: int = 512) -> None:
        super().__init__(features)
        if layers < 1 or hidden < 1:
            raise ValueError(f"layers and hidden must be at least 1, not {layers} and {hidden}")
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

    def initialise(self, x: Tensor) -> None:
        """Standardise by x (n, F)."""
        self.standardise.initialise(x)

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The base variable z, (B, F), and log |det dz/dx|, (B,)."""
        z = self.standardise(x)
        ladj = torch.zeros_like(z)
        weights = (self.weight_in * self.masks_in, self.bias_in, self.weight_out * self.masks_out, self.bias_out)
        for into, bias_in, out, bias_out in zip(*(weight.unbind() for weight in weights), strict=True):
            s, t = perceptron(z, (into, bias_in), (out, bias_out)).chunk(2, -1)
            log_scale = s.tanh()
            z = torch.addcmul(t, z, log_scale.exp())
            ladj = ladj + log_scale
        return z, ladj.sum(-1) + self.standardise.ladj

    def log_prob(self, x: Tensor) -> Tensor:
        """Log p(x) in nats, (B, F) to (B,)."""
        z, ladj = self.transform(x)
        return ladj - 0.5 * (z.square().sum(-1) + self.features * math.log(2 * math.pi))

    def score(self, x: Tensor) -> Tensor:
        """-log p(x), (B, F) to (B,)."""
        return -self.log_prob(x)


def _uniform(shape: tuple[int, ...], fan_in: int) -> Tensor:
    """The start of ``nn.Linear``."""
    return torch.empty(shape).uniform_(-(fan_in**-0.5), fan_in**-0.5)

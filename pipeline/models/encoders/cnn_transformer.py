"""The hybrid 1D-CNN and Transformer encoder of Latent Sculpting."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.models.encoders.base import Encoder, spread_with_classes
from pipeline.models.encoders.losses.base import LatentLoss, class_means
from pipeline.models.layers import Dropout, TransformerLayer


def discriminant(h: Tensor, y: Tensor) -> tuple[Tensor, Tensor, float]:
    """Fisher's direction w between two classes, (D,), the midpoint of the class means on it, and their distance on it.

    Fisher, "The use of multiple measurements in taxonomic problems", 1936, with a ridge of 1 % of the mean variance.

    Args:
        h: (n, D) inputs of the layer that will hold w.
        y: (n,) both classes present.
    """
    h = h.double()
    means, _ = class_means(h, y)
    centred = h - means[(y != 0).long()]
    within = centred.T @ centred / len(h)  # (D, D)
    ridge = 1e-2 * within.diagonal().mean().clamp_min(1e-12)
    w = torch.linalg.solve(within + ridge * torch.eye(len(within), dtype=h.dtype, device=h.device), means[1] - means[0])
    w = w / w.norm().clamp_min(1e-12)
    ends = means @ w
    return w, ends.mean(), float(ends[1] - ends[0])


class CNNTransformer(Encoder):
    """Convolutions over the feature axis, a Transformer over the pooled positions, their mean, a linear head.

    Chhetri, Thapa, Chen, "Latent Sculpting", arXiv 2512.22179, 2025; 158,080 parameters for 71 features at the
    published settings, which are the defaults except for ``layers_start``. The published Transformer layers start as
    copies of one layer, because ``nn.TransformerEncoder`` copies the layer that it is given (``copies``). By default
    each layer is drawn anew (``apart``).

    ``start: discriminant`` is a deviation. DCCL has a saddle where both centroids coincide. The published start is
    close to it and leaves it after hundreds of steps or never: after five convolutions at PyTorch's default gain, the
    differences between records shrink to 1/30 of the noise that dropout adds above them. With this setting the
    convolutions start at the gain that keeps a signal through a ReLU (He et al., "Delving Deep into Rectifiers", 2015),
    and the first latent starts as Fisher's discriminant of the head's inputs, with its centroids at half the squared
    distance that the loss demands. All else starts at random, and training is as published.

    Args:
        features: F.
        loss: of the latent.
        channels: C of each convolution.
        kernel: features that a convolution sees at once.
        width: D of the Transformer.
        heads: of the attention.
        layers: of the Transformer.
        feedforward: width inside a layer.
        dropout: share that is dropped.
        latent: Z.
        start: ``published`` or ``discriminant``, see above.
        layers_start: ``apart`` or ``copies``, see above.
    """

    def __init__(
        self,
        features: int,
        loss: LatentLoss,
        *,
        channels: Sequence[int] = (32, 16, 16, 16, 16),
        kernel: int = 2,
        width: int = 64,
        heads: int = 4,
        layers: int = 3,
        feedforward: int = 256,
        dropout: float = 0.1,
        latent: int = 32,
        start: Literal["published", "discriminant"] = "published",
        layers_start: Literal["apart", "copies"] = "apart",
    ) -> None:
        super().__init__(features, latent, loss)
        length = (features - len(channels) * (kernel - 1)) // 2
        if length < 1:
            raise ValueError(
                f"{len(channels)} convolutions of kernel {kernel} and the pooling need at least "
                f"{len(channels) * (kernel - 1) + 2} features, given {features}; use fewer channels or encoder identity"
            )
        if start not in ("published", "discriminant"):
            raise ValueError(f"start must be 'published' or 'discriminant', not {start!r}")
        if layers_start not in ("apart", "copies"):
            raise ValueError(f"layers_start must be 'apart' or 'copies', not {layers_start!r}")
        self.start = start
        convolutions = [nn.Conv1d(a, b, kernel) for a, b in zip((1, *channels), channels, strict=False)]
        self.convolutions = nn.Sequential(*(part for c in convolutions for part in (c, nn.ReLU())))
        self.dropout = Dropout(dropout)
        self.project = nn.Linear(channels[-1], width)
        self.position = nn.Parameter(torch.randn(1, length, width))
        self.transformer = nn.Sequential(*(TransformerLayer(width, heads, feedforward, dropout) for _ in range(layers)))
        if layers_start == "copies":
            first, *others = self.transformer
            for layer in others:
                layer.load_state_dict(first.state_dict())
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, latent)

    def body(self, x: Tensor) -> Tensor:
        """All layers before the head: (B, F) to (B, D)."""
        h = self.convolutions(x.unsqueeze(1))  # (B, C, F - 5)
        h = functional.max_pool1d(self.dropout(h), 2).transpose(1, 2)  # (B, L, C)
        h = self.transformer(self.project(h) + self.position)  # (B, L, D)
        return functional.relu(self.norm(h.mean(1)))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, F) to the latent (B, Z)."""
        z: Tensor = self.head(self.body(x))
        return z

    @torch.no_grad()
    def initialise(self, x: Tensor, y: Tensor) -> None:
        """Break the tie of DCCL with about 4096 rows, spread over x (n, F), unless published; then place modes."""
        if self.start == "discriminant":
            rows = spread_with_classes(y)
            self._break_tie(x[rows], y[rows])
        super().initialise(x, y)

    def _break_tie(self, x: Tensor, y: Tensor) -> None:
        """The discriminant start; see the class."""
        for part in self.convolutions:
            if isinstance(part, nn.Conv1d):
                nn.init.kaiming_normal_(part.weight)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)
        training = self.training
        h = self.train().body(x)  # with dropout: a direction that its noise drowns is useless
        self.train(training)
        w, middle, distance = discriminant(h, y)
        if len(torch.unique(y)) < 2 or distance <= 0:
            return  # nothing to separate; `centre` or `verify` will refuse it
        scale = (0.5 * self.latent_loss.separation) ** 0.5 / distance
        self.head.weight[0] = scale * w
        self.head.bias[0] = -scale * middle

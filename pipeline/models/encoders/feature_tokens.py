"""A Transformer over features as tokens: each column has its own embedding, and their order does not matter."""

from typing import Literal

import torch
from torch import Tensor, nn

from pipeline.models.encoders.base import Encoder
from pipeline.models.encoders.losses.base import LatentLoss
from pipeline.models.layers import TransformerLayer


class FeatureTokens(Encoder):
    """Feature j becomes the token x_j w_j + b_j; Transformer layers; the first token or their mean; a linear head.

    The FT-Transformer of Gorishniy et al., "Revisiting Deep Learning Models for Tabular Data", 2021, section 3.3,
    small. Tokens have no position, so features permuted together with their embeddings give the same latent. Deviation:
    the layers are post-norm with ReLU, as in ``cnn_transformer``; there are too few of them for pre-norm to matter. The
    time of a step grows with F^2.

    Args:
        features: F.
        loss: of the latent.
        width: D of a token.
        heads: of the attention.
        layers: how many.
        feedforward: width inside a layer.
        dropout: share that is dropped.
        pool: ``cls``, an extra token that reads the others; ``mean``, the mean of the tokens.
        latent: Z.
    """

    reader: Tensor | None

    def __init__(
        self,
        features: int,
        loss: LatentLoss,
        *,
        width: int = 16,
        heads: int = 2,
        layers: int = 2,
        feedforward: int = 32,
        dropout: float = 0.1,
        pool: Literal["cls", "mean"] = "cls",
        latent: int = 32,
    ) -> None:
        super().__init__(features, latent, loss)
        if pool not in ("cls", "mean"):
            raise ValueError(f"pool must be 'cls' or 'mean', not {pool!r}")
        self.pool = pool
        bound = width**-0.5
        self.weight = nn.Parameter(torch.empty(features, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(features, width).uniform_(-bound, bound))
        reader = torch.empty(1, 1, width).uniform_(-bound, bound)
        self.register_parameter("reader", nn.Parameter(reader) if pool == "cls" else None)
        self.transformer = nn.Sequential(*(TransformerLayer(width, heads, feedforward, dropout) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, latent)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, F) to the latent (B, Z)."""
        tokens = x[:, :, None] * self.weight + self.bias  # (B, F, D)
        if self.reader is not None:
            tokens = torch.cat([self.reader.expand(len(x), -1, -1), tokens], 1)  # (B, 1 + F, D)
        h = self.transformer(tokens)
        pooled = h.mean(1) if self.reader is None else h[:, 0]  # (B, D)
        z: Tensor = self.head(torch.relu(self.norm(pooled)))
        return z

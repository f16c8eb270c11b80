"""A residual perceptron: it needs no order of the columns, and a CPU trains it fast."""

import torch
from torch import Tensor, nn

from pipeline.models.encoders.base import Encoder
from pipeline.models.encoders.losses.base import LatentLoss
from pipeline.models.layers import Dropout, perceptron


class ResidualBlock(nn.Module):
    """x + dropout(W2 dropout(relu(W1 norm(x)))), (B, D) to (B, D)."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, hidden)
        self.narrow = nn.Linear(hidden, width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map a batch."""
        p = self.dropout.p if self.training else 0.0
        widen, narrow = (self.widen.weight, self.widen.bias), (self.narrow.weight, self.narrow.bias)
        mapped: Tensor = x + self.dropout(perceptron(self.norm(x), widen, narrow, p))
        return mapped


class ResidualMLP(Encoder):
    """A linear map to the width, residual blocks, a last norm and ReLU, a linear head.

    The ResNet of Gorishniy et al., "Revisiting Deep Learning Models for Tabular Data", 2021, section 3.2. Deviation:
    layer norm in place of batch norm, so that a record is mapped alone, in training too.

    Args:
        features: F.
        loss: of the latent.
        width: D.
        hidden: width inside a block.
        blocks: how many.
        dropout: share that is dropped, in both places of a block.
        latent: Z.
    """

    def __init__(
        self,
        features: int,
        loss: LatentLoss,
        *,
        width: int = 128,
        hidden: int = 256,
        blocks: int = 3,
        dropout: float = 0.1,
        latent: int = 32,
    ) -> None:
        super().__init__(features, latent, loss)
        if min(width, hidden, latent) < 1 or blocks < 0:
            raise ValueError(
                f"width, hidden and latent must be at least 1 and blocks at least 0, not {width}, {hidden}, {latent} "
                f"and {blocks}"
            )
        self.enter = nn.Linear(features, width)
        self.blocks = nn.Sequential(*(ResidualBlock(width, hidden, dropout) for _ in range(blocks)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, latent)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, F) to the latent (B, Z)."""
        z: Tensor = self.head(torch.relu(self.norm(self.blocks(self.enter(x)))))
        return z

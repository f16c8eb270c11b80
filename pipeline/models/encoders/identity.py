"""No encoder: the latent is the features. The baseline that shows what an encoder is worth."""

from torch import Tensor

from pipeline.models.encoders.base import Encoder
from pipeline.models.encoders.losses.base import LatentLoss


class Identity(Encoder):
    """z = x; nothing to train, only the class centroids; and the modes, with a loss that learns them."""

    latent_is_features = True

    def __init__(self, features: int, loss: LatentLoss) -> None:
        super().__init__(features, features, loss)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, F) to itself."""
        return x

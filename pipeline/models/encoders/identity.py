"""No encoder: the latent is the features. The baseline that shows what an encoder is worth."""

import torch
from torch import Tensor

from pipeline.models.arrays.identity import IdentityForm
from pipeline.models.encoders.base import Encoder
from pipeline.models.encoders.losses.base import LatentLoss
from pipeline.models.encoders.losses.dccl import DCCL
from pipeline.models.scoring import array


class Identity(Encoder):
    """z = x; nothing to train, only the class centroids; and the modes, with a loss that learns them."""

    latent_is_features = True

    def __init__(self, features: int, loss: LatentLoss) -> None:
        super().__init__(features, features, loss)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, F) to itself."""
        return x

    def margin(self, z: Tensor) -> Tensor:
        """The margin of the loss, (B, Z) to (B,).

        That of ``DCCL`` is computed as a registered model computes it, which needs no PyTorch, so that both give the
        same bits.
        """
        if not isinstance(self.latent_loss, DCCL):
            return super().margin(z)
        form = IdentityForm(array(self.centroid_benign), array(self.centroid_attack))
        return torch.from_numpy(form.margin(array(z))).to(z.device)

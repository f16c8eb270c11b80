"""The parameters of a model as one vector: clipping and the optimiser's step are then one operation each."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Flat:
    """What is trained of a model becomes views of one vector, which an optimiser moves in its place.

    Attributes:
        parameters: the views, in the order of the model.
        vector: (p,) all of them, one behind the other.
    """

    def __init__(self, model: nn.Module) -> None:
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.vector = nn.Parameter(torch.cat([parameter.detach().reshape(-1) for parameter in self.parameters]))
        parts = torch.split(self.vector.detach(), [parameter.numel() for parameter in self.parameters])
        for parameter, part in zip(self.parameters, parts, strict=True):
            parameter.data = part.view_as(parameter)

    def take(self, gradients: Sequence[Tensor], limit: float) -> None:
        """Make one gradient of those of the parameters, no longer than ``limit``; 0 for no limit."""
        gradient = torch.cat([each.reshape(-1) for each in gradients])
        if limit:
            gradient.mul_((limit / (torch.linalg.vector_norm(gradient) + 1e-6)).clamp_max(1.0))
        self.vector.grad = gradient

    def release(self) -> None:
        """Give each parameter memory of its own again."""
        for parameter in self.parameters:
            parameter.data = parameter.data.clone()

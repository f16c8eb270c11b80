"""The parameters of a model as one vector: clipping and the optimiser's step are then one operation each."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.adam import Adam, adam


class Flat:
    """Makes the trained parameters views of one vector, which the optimiser moves in place of them.

    Attributes:
        parameters: the views, in the order of the model.
        vector: (p,) all parameters, one after the other.
        gradient: (p,) of ``vector``.
    """

    def __init__(self, model: nn.Module) -> None:
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.vector = nn.Parameter(torch.cat([parameter.detach().reshape(-1) for parameter in self.parameters]))
        self.gradient = torch.zeros_like(self.vector.detach())
        parts = torch.split(self.vector.detach(), [parameter.numel() for parameter in self.parameters])
        for parameter, part in zip(self.parameters, parts, strict=True):
            parameter.data = part.view_as(parameter)

    def take(self, gradients: Sequence[Tensor], limit: float) -> None:
        """Join the gradients of the parameters and clip their norm to ``limit``; 0 for no limit."""
        torch.cat([gradient.flatten() for gradient in gradients], out=self.gradient)
        if limit:
            self.gradient.mul_((limit / (torch.linalg.vector_norm(self.gradient) + 1e-6)).clamp_max(1.0))
        self.vector.grad = self.gradient

    @torch.no_grad()
    def step(self, optimizer: Adam) -> None:
        """``optimizer.step()`` without its overhead, which costs more than its one operation."""
        state = optimizer.state.get(self.vector)
        if not state:  # it is made in the first step
            optimizer.step()
            return
        (group,) = optimizer.param_groups
        adam(
            [self.vector], [self.gradient], [state["exp_avg"]], [state["exp_avg_sq"]], [], [state["step"]],
            lr=group["lr"], beta1=group["betas"][0], beta2=group["betas"][1], eps=group["eps"],
            weight_decay=group["weight_decay"], decoupled_weight_decay=group["decoupled_weight_decay"],
            amsgrad=False, maximize=False, fused=True,
        )  # fmt: skip

    def release(self) -> None:
        """Give each parameter its own memory again."""
        for parameter in self.parameters:
            parameter.data = parameter.data.clone()

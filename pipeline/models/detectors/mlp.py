"""Perceptrons of any depth, the bodies of the autoencoders; and the supervised baseline that is one."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.models.base import Batch
from pipeline.models.detectors.base import Detector
from pipeline.models.layers import Standardise

Activation = Literal["relu", "elu", "tanh"]
_LAYERS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "elu": nn.ELU, "tanh": nn.Tanh}


_aten = torch.ops.aten
_FORTH: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu_,
    "elu": lambda x: functional.elu(x, inplace=True),
    "tanh": torch.tanh_,
}
"""Activations, in place."""
_BACK: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "relu": lambda grad, y: _aten.threshold_backward.grad_input(grad, y, 0, grad_input=grad),
    "elu": lambda grad, y: _aten.elu_backward.grad_input(grad, 1, 1, 1, True, y, grad_input=grad),
    "tanh": lambda grad, y: _aten.tanh_backward.grad_input(grad, y, grad_input=grad),
}
"""Turns the gradient by an activation's output y into the gradient by its input, in place."""


def layers_forth(x: Tensor, layers: Sequence[Tensor], activation: str) -> tuple[Tensor, list[Tensor]]:
    """Affine layers with ``activation`` between them; ``layers_back`` is their gradient.

    Args:
        x: (B, F).
        layers: weight (out, in) and bias (out,) of each layer, one after the other.
        activation: relu, elu or tanh.

    Returns:
        The output of the last layer, (B, out), and the input of each layer, x first.
    """
    weights, biases, read = layers[::2], layers[1::2], [x]
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        read.append(_FORTH[activation](torch.addmm(bias, read[-1], weight.T)))
    return torch.addmm(biases[-1], read[-1], weights[-1].T), read


def layers_back(
    grad: Tensor, read: Sequence[Tensor], layers: Sequence[Tensor], activation: str
) -> tuple[Tensor, list[Tensor]]:
    """The gradient by the output of the first layer, and the gradients by ``layers``.

    The first one times the weight of the first layer is the gradient by x.

    Args:
        grad: by the output of ``layers_forth``, (B, out).
        read: the input of each layer.
        layers: as in ``layers_forth``.
        activation: as in ``layers_forth``.
    """
    of_layers: list[Tensor] = []
    for k in reversed(range(len(read))):
        of_layers[:0] = (torch.mm(grad.T, read[k]), grad.sum(0))
        if k > 0:
            grad = _BACK[activation](torch.mm(grad, layers[2 * k]), read[k])
    return grad, of_layers


class Perceptron(nn.Sequential):
    """The layers of ``mlp`` one after the other.

    Attributes:
        activation: between them.
    """

    def __init__(self, parts: Sequence[nn.Module], activation: Activation) -> None:
        super().__init__(*parts)
        self.activation = activation

    @property
    def layers(self) -> list[Tensor]:
        """Weight and bias of each layer, as ``layers_forth`` takes them."""
        return [tensor for part in self if isinstance(part, nn.Linear) for tensor in (part.weight, part.bias)]


def mlp(widths: Sequence[int], activation: Activation = "relu") -> Perceptron:
    """Affine layers of ``widths`` with ``activation`` between them and none behind the last: (B, first) to (B, last).

    Raises:
        ValueError: on a width below 1, fewer than two of them, or an unknown activation.
    """
    if len(widths) < 2 or min(widths) < 1:
        raise ValueError(f"every layer must be at least 1 wide, given widths {tuple(widths)}")
    if activation not in _LAYERS:
        raise ValueError(f"activation must be one of {', '.join(get_args(Activation))}, not {activation!r}")
    parts: list[nn.Module] = []
    for into, out in pairwise(widths):
        parts += [nn.Linear(into, out), _LAYERS[activation]()]
    return Perceptron(parts[:-1], activation)


class MLP(Detector):
    """Log-odds of being one of the attacks in the training rows: what detection is without zero-shot.

    Latent Sculpting (Chhetri, Thapa, Chen, arXiv 2512.22179, 2025) compares itself with an MLP but does not publish
    its shape; two hidden layers stand in for it.

    Args:
        features: Z; rows are standardised.
        hidden: widths of the hidden layers.
        activation: behind each of them.
    """

    trains_on = "all"

    def __init__(self, features: int, hidden: tuple[int, ...] = (128, 64), activation: Activation = "relu") -> None:
        super().__init__(features)
        self.standardise = Standardise(features)
        self.network = mlp((features, *hidden, 1), activation)

    def fit(self, x: Tensor, y: Tensor | None = None) -> None:
        """Standardise by x (n, F)."""
        self.standardise.fit(x)

    def loss(self, batch: Batch) -> Tensor:
        """Binary cross-entropy, the mean of each class's mean: a rare attack weighs as much as the benign records."""
        attack = batch.y != 0
        score = self.score(batch.x)
        losses = functional.binary_cross_entropy_with_logits(score, attack.to(score.dtype), reduction="none")
        n_attack = attack.sum().to(score.dtype)
        weight = torch.where(attack, 1 / n_attack.clamp_min(1), 1 / (len(attack) - n_attack).clamp_min(1))
        return (losses * weight).sum() / weight.sum()

    def score(self, x: Tensor) -> Tensor:
        """The logit, (B, F) to (B,)."""
        logit: Tensor = self.network(self.standardise(x)).squeeze(-1)
        return logit

"""The free energy of a variational autoencoder: its terms, and its gradient written by hand for a CPU."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.models.base import LossAndGradients
from pipeline.models.detectors.mlp import Activation, layers_back, layers_forth
from pipeline.models.detectors.planar import PlanarByHand

LOG_VAR = (-20.0, 2.0)  # limits of the posterior's log variance, as published

Likelihood = Literal["gaussian", "bernoulli"]
_Weigh = Callable[[Tensor], tuple[Tensor, Tensor]]


def reconstruction_error(given: Tensor, x: Tensor, likelihood: Likelihood) -> Tensor:
    """-log p(x | z) of a decoder's output, (B, F), for x, (B, F), without constant terms: (B,).

    gaussian    |given - x|^2
    bernoulli   -sum of x log p + (1 - x) log(1 - p),  p = sigmoid(given),  x in [0, 1] or moved there
    """
    if likelihood == "gaussian":
        return (given - x).square().sum(-1)
    error: Tensor = functional.softplus(given).sum(-1) - torch.linalg.vecdot(x.clamp(0, 1), given)
    return error


def least_error(x: Tensor, likelihood: Likelihood) -> Tensor:
    """The smallest ``reconstruction_error`` that any decoder can reach for x, (B, F): (B,).

    For bernoulli it is the entropy of x, minus the squared distance to [0, 1] of values outside. So the score of such a
    value grows with its distance from anything that the decoder can give.
    """
    if likelihood == "gaussian":
        return torch.zeros_like(x[..., 0])
    inside = x.clamp(0, 1)
    entropy: Tensor = torch.special.entr(inside) + torch.special.entr(1 - inside)
    return (entropy - (x - inside).square()).sum(-1)


class Kind(NamedTuple):
    """Settings that the gradient depends on: activation, likelihood and the smallest divergence."""

    activation: Activation
    likelihood: Likelihood
    kl_floor: float | None


def floored(divergence: Tensor, floor: float | None) -> Tensor:
    """The divergence, (B,), at least ``floor``; its gradient stays that of the divergence itself."""
    if floor is None:
        return divergence
    return divergence + (floor - divergence).relu().detach()


def _error_and_gradient(given: Tensor, x: Tensor, likelihood: Likelihood) -> tuple[Tensor, Tensor]:
    """``reconstruction_error``, (B,), and its gradient by ``given``, (B, F), which it overwrites."""
    if likelihood == "gaussian":
        miss = given.sub_(x)
        return torch.linalg.vector_norm(miss, dim=-1).square_(), miss.mul_(2)
    return reconstruction_error(given, x, likelihood), given.sigmoid_().sub_(x.clamp(0, 1))


@torch.inference_mode()
def descent(x: Tensor, noise: Tensor, weigh: _Weigh, kind: Kind, weights: Sequence[Tensor]) -> LossAndGradients:
    """The mean weighted ``GRAnD.free_energy`` F at the draw by ``noise``, under planar maps, and its gradients.

    Args:
        x: (B, F), standardised.
        noise: (B, Z).
        weigh: F, (B,) -> the weight of each record's F, and a term to add to the weighted F, (B,) each.
        kind: see there.
        weights: of the planar maps, of the encoder's layers and of the decoder's layers.
    """
    (w, u, b), layers = weights[:3], weights[3:]
    encoder, decoder = layers[: len(layers) // 2], layers[len(layers) // 2 :]
    code, read = layers_forth(x, encoder, kind.activation)
    mean, given = code.chunk(2, -1)
    log_var = given.clamp(*LOG_VAR)
    spread = (0.5 * log_var).exp_().mul_(noise)
    planar = PlanarByHand(w, u, b)
    z, ladj = planar.forth(mean + spread)
    decoded, read_back = layers_forth(z, decoder, kind.activation)
    error, of_decoded = _error_and_gradient(decoded, x, kind.likelihood)
    beside = (z.square() - noise.square()).sub_(log_var).sum(-1)
    energy = error.add_(floored(beside.mul_(0.5).sub_(ladj), kind.kl_floor))
    weight, rest = weigh(energy)
    loss = (energy * weight).add_(rest).mean()

    pull = weight / len(weight)  # the gradient of F
    column = pull[:, None]
    first, of_decoder = layers_back(of_decoded.mul_(column), read_back, decoder, kind.activation)
    of_mean, *of_planar = planar.back(torch.addmm(column * z, first, decoder[0]), -pull)
    of_log_var = (of_mean * spread).sub_(column).mul_(0.5).mul_(given == log_var)
    _, of_encoder = layers_back(torch.cat((of_mean, of_log_var), -1), read, encoder, kind.activation)
    return loss, [*of_planar, *of_encoder, *of_decoder]

"""Variational autoencoder that is judged by its free energy and learns from a confidence in each record."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from pipeline.detectors.base import Detector
from pipeline.detectors.mlp import Activation, Perceptron, layers_back, layers_forth, mlp
from pipeline.nn import Batch, Standardise, is_fused

LOG_VAR = (-20.0, 2.0)  # limits of the posterior's log variance, as published
_TINY = 1e-12
_FOLD = 1e-6 - 1  # w'u (1 - tanh^2) stays above it: of rounding alone could a determinant become 0
_IDENTITY = math.log(math.e - 1)  # the w'u at which a planar map is the identity


class Planar(nn.Module):
    """A chain of K planar maps z + u tanh(w'z + b), each one invertible.

    ladj = sum over k of log(1 + w'u (1 - tanh^2(w'z + b)))

    Rezende, Mohamed, "Variational Inference with Normalizing Flows", 2015, equations 10 to 12. As in their appendix
    A.1, u is moved along w so that w'u = softplus(w'u) - 1 > -1: without it, as in SSAD 0.1.3, the map may fold and
    its determinant vanish. It starts as the identity.
    """

    def __init__(self, maps: int, latent: int) -> None:
        super().__init__()
        w = torch.empty(maps, latent).uniform_(-(latent**-0.5), latent**-0.5)
        self.w = nn.Parameter(w)  # (K, Z)
        self.u = nn.Parameter(_IDENTITY * w / w.square().sum(-1, keepdim=True))
        self.b = nn.Parameter(torch.zeros(maps))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The mapped z, (B, Z), and log |det|, (B,)."""
        given = (self.w * self.u).sum(-1)  # (K,)
        inner = functional.softplus(given) - 1
        u = self.u + ((inner - given) / self.w.square().sum(-1).clamp_min(_TINY))[:, None] * self.w
        ladj = torch.zeros_like(z[:, 0])
        for w_k, u_k, b_k, inner_k in zip(self.w.unbind(), u.unbind(), self.b.unbind(), inner.unbind(), strict=True):
            bend = (z @ w_k + b_k).tanh()  # (B,)
            z = torch.addcmul(z, bend[:, None], u_k)
            ladj = ladj + torch.log1p((inner_k * (1 - bend.square())).clamp_min(_FOLD))
        return z, ladj


_Weigh = Callable[[Tensor], tuple[Tensor, Tensor]]


class _Planar:
    """``Planar`` and its gradient without autograd, with the records last: a (K, B) row is one map.

    a_k = w_k'z_0 + b_k + sum over j < k of (w_k'u_j) tanh(a_j),  z_K = z_0 + sum over k of u_k tanh(a_k)
    """

    def __init__(self, w: Tensor, u: Tensor, b: Tensor) -> None:
        self.w, self.free, self.b = w, u, b
        self.given, self.norm = (w * u).sum(-1), w.square().sum(-1).clamp_min_(_TINY)
        self.inner = functional.softplus(self.given).sub_(1)
        self.along = (self.inner - self.given).div_(self.norm)
        self.u = torch.addcmul(u, self.along[:, None], w)
        self.couple = w @ self.u.T  # (K, K)

    def forth(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The mapped z, (B, Z), and log |det|, (B,)."""
        self.z, self.bend = z, torch.addmm(self.b[:, None], self.w, z.T)
        for k, row in enumerate(self.bend.unbind()):
            if k > 0:
                row.addmv_(self.bend[:k].T, self.couple[k, :k])
            row.tanh_()
        self.slope = 1 - self.bend.square()
        self.stretch = (self.inner[:, None] * self.slope).clamp_min_(_FOLD)
        return torch.addmm(z, self.bend.T, self.u), self.stretch.log1p().sum(0)

    def back(self, of_z: Tensor, of_ladj: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The gradients of z_0, w, u and b from those of the mapped z and of log |det|."""
        of_det = (self.stretch > _FOLD) * of_ladj / (1 + self.stretch)
        pre = torch.addmm(self.bend * of_det * self.inner[:, None], self.u, of_z.T, beta=-2)
        rows, slopes = pre.unbind(), self.slope.unbind()
        for k in reversed(range(len(rows))):
            if k < len(rows) - 1:
                rows[k].addmv_(pre[k + 1 :].T, self.couple[k + 1 :, k])
            rows[k].mul_(slopes[k])
        of_couple = (pre @ self.bend.T).tril_(-1)
        of_u = torch.addmm(self.bend @ of_z, of_couple.T, self.w)
        of_w = torch.addmm(pre @ self.z, of_couple, self.u)
        # From here on the way from (w, u) to the u that folds nothing.
        of_along = (of_u * self.w).sum(-1) / self.norm
        of_inner = torch.linalg.vecdot(of_det, self.slope) + of_along
        of_given = (of_inner * self.given.sigmoid() - of_along)[:, None]
        of_norm = (self.norm > _TINY) * of_along * self.along
        of_w.addcmul_(self.along[:, None], of_u).addcmul_(of_given, self.free).addcmul_(
            of_norm[:, None], self.w, value=-2
        )
        return torch.addmm(of_z, pre.T, self.w), of_w, torch.addcmul(of_u, of_given, self.w), pre.sum(-1)


class _Loss(torch.autograd.Function):
    """The mean of ``GRAnD.free_energy`` F at the draw that ``noise`` makes, under planar maps, as one function.

    ``weigh`` maps F, (B,), to the weight of each record and to what is added to its weighted F, (B,) each.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, noise: Tensor, weigh: _Weigh, activation: str, *weights: Tensor) -> Tensor:
        (w, u, b), layers = weights[:3], weights[3:]
        encoder, decoder = layers[: len(layers) // 2], layers[len(layers) // 2 :]
        code, read = layers_forth(x, encoder, activation)
        mean, given = code.chunk(2, -1)
        log_var = given.clamp(*LOG_VAR)
        spread = (0.5 * log_var).exp_().mul_(noise)
        planar = _Planar(w, u, b)
        z, ladj = planar.forth(mean + spread)
        miss, read_back = layers_forth(z, decoder, activation)
        miss.sub_(x)
        energy: Tensor = torch.linalg.vector_norm(miss, dim=-1).square_()
        beside = (z.square() - noise.square()).sub_(log_var).sum(-1)
        weight, rest = weigh(energy.add_(beside, alpha=0.5).sub_(ladj))
        ctx.save_for_backward(*layers)
        ctx.kept = weight, read, given, log_var, spread, planar, z, miss, read_back
        ctx.activation = activation
        return energy.mul_(weight).add_(rest).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        layers = ctx.saved_tensors
        weight, read, given, log_var, spread, planar, z, miss, read_back = ctx.kept
        encoder, decoder = layers[: len(layers) // 2], layers[len(layers) // 2 :]
        pull = weight * grad / len(weight)  # the gradient of F
        column = pull[:, None]
        of_miss = miss * (2 * column)
        first, of_decoder = layers_back(of_miss, read_back, decoder, ctx.activation)
        of_mean, *of_planar = planar.back(torch.addmm(column * z, first, decoder[0]), -pull)
        of_log_var = (of_mean * spread).sub_(column).mul_(0.5).mul_(given == log_var)
        first, of_encoder = layers_back(torch.cat((of_mean, of_log_var), -1), read, encoder, ctx.activation)
        of_x = torch.addmm(of_miss, first, encoder[0], beta=-1) if ctx.needs_input_grad[0] else None
        return of_x, None, None, None, *of_planar, *of_encoder, *of_decoder


class GRAnD(Detector):
    """Score = the free energy F of a record under a variational autoencoder with planar flows.

    F = |x - decode(z_K)|^2 + log q_0(z_0) - ladj - log p(z_K),  z_K = planar(z_0),  p = N(0, I)
    L = mean of  c F for c > 0,  |c| |m - F| for c < 0,  and (1 - |c|) eCDF(F) |m - F| for what is unknown

    Najari, Berlemont, Lefebvre, Duffner, Garcia, "GRAnD" (preprint 2021; AINA 2022): the energy of what is surely
    benign falls, that of what is surely anomalous goes to the margin m, an unknown record is pushed there the harder
    the higher it ranks among the unknown ones of its batch. At c in {-1, 0, 1} these are the published terms, averaged
    over records as in SSAD 0.1.3.

    Training draws one z_0 from the posterior q_0 = N(mean, variance). ``score``, and ``loss`` outside training, draw
    nothing: z_0 is the mean, the entropy of q_0 is exact, and its variance is added to |z_K|^2, which is exact for an
    identity map. Deviations: the output is affine, as fits standardised features; SSAD's is a ReLU under a sigmoid, so
    never below 1/2.

    Args:
        features: Z, the width of the input.
        hidden: widths between the input and the latent, mirrored in the decoder.
        latent: width of z.
        planar: how many planar maps, 0 for a plain variational autoencoder.
        margin: m, in units of ``margin_per``.
        margin_per: ``feature``: m is ``margin`` times the number of features, as F grows with it; ``record``: m is
            ``margin``, as published (10 in the preprint, 100 at AINA).
        push: ``absolute`` is |m - F|, as published, which also pulls down what lies above m; ``hinge`` is
            max(0, m - F).
        unknown: ``ecdf`` as published, or ``ignore``.
        activation: behind every hidden layer.
        standardise: whether each feature is brought to mean 0 and variance 1 first; where the features are scaled
            already, one-hot columns among them, a rare column is blown up by it.
    """

    updated = True
    strategy = "evt"
    every_n_epochs = 1  # from the first epoch on: what contaminates is soon learnt

    def __init__(
        self,
        features: int,
        hidden: tuple[int, ...] = (16,),
        latent: int = 4,
        planar: int = 3,
        margin: float = 2.0,
        margin_per: Literal["feature", "record"] = "feature",
        push: Literal["absolute", "hinge"] = "absolute",
        unknown: Literal["ecdf", "ignore"] = "ecdf",
        activation: Activation = "relu",
        standardise: bool = True,
    ) -> None:
        super().__init__(features)
        if latent < 1 or planar < 0 or not 0 < margin < math.inf:
            raise ValueError(
                f"latent must be at least 1, planar at least 0, margin above 0, not {latent}, {planar}, {margin}"
            )
        _refuse(margin_per=(margin_per, "feature", "record"))
        _refuse(push=(push, "absolute", "hinge"))
        _refuse(unknown=(unknown, "ecdf", "ignore"))
        self.margin = margin * (features if margin_per == "feature" else 1)
        self.push, self.unknown, self.standardised = push, unknown, standardise
        self.standardise = Standardise(features)
        self.encoder = mlp((features, *hidden, 2 * latent), activation)
        self.planar = Planar(planar, latent) if planar else None
        self.decoder = mlp((latent, *hidden[::-1], features), activation)

    def initialise(self, x: Tensor) -> None:
        """Standardise by x (n, F)."""
        if self.standardised:
            self.standardise.initialise(x)

    def free_energy(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """F, (B, F) to (B,), at the posterior's mean, or at the draw that ``noise``, (B, Z) standard normal, makes."""
        x = self.standardise(x)
        mean, log_var = self.encoder(x).chunk(2, -1)
        log_var = log_var.clamp(*LOG_VAR)
        z = mean if noise is None else torch.addcmul(mean, noise, (0.5 * log_var).exp())
        # log p(z_0) and the entropy are exact without a draw; 2 pi cancels.
        drawn = log_var.exp() - 1 if noise is None else -noise.square()
        beside, ladj = (drawn - log_var).sum(-1), torch.zeros_like(x[:, 0])
        if self.planar is not None:
            z, ladj = self.planar(z)
        error = (self.decoder(z) - x).square().sum(-1)
        energy: Tensor = error + 0.5 * (z.square().sum(-1) + beside) - ladj
        return energy

    def score(self, x: Tensor) -> Tensor:
        """F at the posterior's mean, (B, F) to (B,)."""
        return self.free_energy(x)

    def loss(self, batch: Batch) -> Tensor:
        """The mean over the records of their confidence-weighted terms."""
        noise = None
        if self.training:
            noise = torch.randn(len(batch.x), self._latent, dtype=batch.x.dtype, device=batch.x.device)
            if is_fused(batch.x) and (weights := self._weights):
                x = self.standardise(batch.x) if self.standardised else batch.x
                loss: Tensor = _Loss.apply(
                    x, noise, partial(self._weigh, batch.confidence), self.encoder.activation, *weights
                )  # type: ignore[no-untyped-call]
                return loss
        energy = self.free_energy(batch.x, noise)
        weight, rest = self._weigh(batch.confidence, energy.detach())
        return (weight * energy + rest).mean()

    def _weigh(self, confidence: Tensor, energy: Tensor) -> tuple[Tensor, Tensor]:
        """Weight and rest of each record, (B,) each: its term is weight F + rest, in which they have no gradient."""
        pushed = (-confidence).relu()
        if self.unknown == "ecdf":
            share = 1 - confidence.abs()
            pushed = pushed + share * ecdf(energy, share)
        # |m - F| and max(0, m - F) are m - F times this.
        away = (self.margin - energy).sign() if self.push == "absolute" else energy < self.margin
        pushed = pushed * away
        return confidence.relu() - pushed, pushed * self.margin

    @property
    def _weights(self) -> tuple[Tensor, ...]:
        """Those of planar maps, encoder and decoder for ``_Loss``; none where it is of no use."""
        encoder, maps, decoder = self.encoder, self.planar, self.decoder
        if maps is None or not isinstance(encoder, Perceptron) or not isinstance(decoder, Perceptron):
            return ()
        return maps.w, maps.u, maps.b, *encoder.layers, *decoder.layers

    @property
    def _latent(self) -> int:
        return int(self.decoder[0].in_features)  # type: ignore[arg-type]


def ecdf(values: Tensor, weights: Tensor) -> Tensor:
    """The weighted share of the values at or below each one, (B,) and (B,) to (B,); 0 where no weight is."""
    order = values.argsort()
    shares = weights[order].cumsum(0) / weights.sum().clamp_min(1e-12)
    return torch.empty_like(shares).scatter_(0, order, shares)


def _refuse(**choices: tuple[str, ...]) -> None:
    """Refuse a setting whose value, the first of its tuple, is not among the rest."""
    for name, (given, *allowed) in choices.items():
        if given not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {given!r}")

"""Variational autoencoder that is judged by its free energy and learns from a confidence in each record."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.base.errors import DataError
from pipeline.models.base import Batch, LossAndGradients, is_fused
from pipeline.models.detectors.base import Detector
from pipeline.models.detectors.mlp import Activation, layers_back, layers_forth, mlp
from pipeline.models.detectors.planar import Planar, PlanarByHand
from pipeline.models.layers import Standardise

LOG_VAR = (-20.0, 2.0)  # limits of the posterior's log variance, as published
Likelihood = Literal["gaussian", "bernoulli"]


_Weigh = Callable[[Tensor], tuple[Tensor, Tensor]]


def reconstruction_error(given: Tensor, x: Tensor, likelihood: Likelihood) -> Tensor:
    """-log p(x | z) of what a decoder gives, (B, F), for x, (B, F), without what is constant: (B,).

    gaussian    |given - x|^2
    bernoulli   -sum of x log p + (1 - x) log(1 - p),  p = sigmoid(given),  x in [0, 1] or moved there
    """
    if likelihood == "gaussian":
        return (given - x).square().sum(-1)
    error: Tensor = functional.softplus(given).sum(-1) - torch.linalg.vecdot(x.clamp(0, 1), given)
    return error


def least_error(x: Tensor, likelihood: Likelihood) -> Tensor:
    """The ``reconstruction_error`` of x, (B, F), that no decoder can undercut: (B,).

    For bernoulli it is the entropy of x, less the squared way to [0, 1] of what lies outside: what differs from all
    that the decoder can say is the more anomalous the further off it lies.
    """
    if likelihood == "gaussian":
        return torch.zeros_like(x[..., 0])
    inside = x.clamp(0, 1)
    entropy: Tensor = torch.special.entr(inside) + torch.special.entr(1 - inside)
    return (entropy - (x - inside).square()).sum(-1)


class _Kind(NamedTuple):
    activation: Activation
    likelihood: Likelihood
    kl_floor: float | None


@torch.inference_mode()
def _descent(x: Tensor, noise: Tensor, weigh: _Weigh, kind: _Kind, weights: Sequence[Tensor]) -> LossAndGradients:
    """The mean of ``GRAnD.free_energy`` F at the draw that ``noise`` makes, under planar maps, and its gradients.

    Args:
        x: (B, F), standardised.
        noise: (B, Z).
        weigh: F, (B,), to the weight of each record and to what is added to its weighted F, (B,) each.
        kind: activation, likelihood and the least divergence.
        weights: those of the planar maps, of the encoder's layers and of the decoder's.
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
    energy = error.add_(_floored(beside.mul_(0.5).sub_(ladj), kind.kl_floor))
    weight, rest = weigh(energy)
    loss = (energy * weight).add_(rest).mean()

    pull = weight / len(weight)  # the gradient of F
    column = pull[:, None]
    first, of_decoder = layers_back(of_decoded.mul_(column), read_back, decoder, kind.activation)
    of_mean, *of_planar = planar.back(torch.addmm(column * z, first, decoder[0]), -pull)
    of_log_var = (of_mean * spread).sub_(column).mul_(0.5).mul_(given == log_var)
    _, of_encoder = layers_back(torch.cat((of_mean, of_log_var), -1), read, encoder, kind.activation)
    return loss, [*of_planar, *of_encoder, *of_decoder]


def _floored(divergence: Tensor, floor: float | None) -> Tensor:
    """The divergence, (B,), at least ``floor``; its gradient stays that of the divergence itself."""
    if floor is None:
        return divergence
    return divergence + (floor - divergence).relu().detach()


def _error_and_gradient(given: Tensor, x: Tensor, likelihood: Likelihood) -> tuple[Tensor, Tensor]:
    """``reconstruction_error``, (B,), and its gradient by what the decoder gave, (B, F), which it overwrites."""
    if likelihood == "gaussian":
        miss = given.sub_(x)
        return torch.linalg.vector_norm(miss, dim=-1).square_(), miss.mul_(2)
    return reconstruction_error(given, x, likelihood), given.sigmoid_().sub_(x.clamp(0, 1))


class GRAnD(Detector):
    """Score = the free energy F of a record under a variational autoencoder with planar flows.

    F = -log p(x | z_K) + log q_0(z_0) - ladj - log p(z_K),  z_K = planar(z_0),  p(z) = N(0, I)
    L = mean of  c F for c > 0,  |c| |m - F| for c < 0,  and (1 - |c|) eCDF(F) |m - F| for what is unknown

    Najari, Berlemont, Lefebvre, Duffner, Garcia, "GRAnD" (preprint 2021; AINA 2022): the energy of what is surely
    benign falls, that of what is surely anomalous goes to the margin m, an unknown record is pushed there the harder
    the higher it ranks among the unknown ones of its batch. At c in {-1, 0, 1} these are the published terms, averaged
    over records as in SSAD 0.1.3. ``push: inverted`` is the term of the preprint: what is anomalous is made to look
    like its own inverse, -log p(1 - x | z_K) + |m - divergence| in place of |m - F|.

    Training draws one z_0 from the posterior q_0 = N(mean, variance). ``score``, and ``loss`` outside training, draw
    nothing: z_0 is the mean, the entropy of q_0 is exact, and its variance is added to |z_K|^2, which is exact for an
    identity map. For -log p(x | z) see ``reconstruction_error``.

    Deviations. A score is F above its ``least_error``, or values between 0 and 1 would make a record anomalous. The
    output is affine, as fits standardised features, or under a sigmoid; that of SSAD is a ReLU under a sigmoid, so
    never below 1/2. The decoder has its activation behind each hidden layer; that of SSAD has none behind the layer
    that reads the latent. The divergence of one draw may be below 0; SSAD lifts it to 1e-9 (``kl_floor``).

    Args:
        features: Z, the width of the input.
        hidden: widths between the input and the latent, mirrored in the decoder.
        latent: width of z.
        planar: how many planar maps, 0 for a plain variational autoencoder.
        margin: m, in units of ``margin_per``.
        margin_per: ``feature``: m is ``margin`` times the number of features, as F grows with it; ``record``: m is
            ``margin``, as published (10 in the preprint, 100 at AINA).
        push: ``absolute`` is |m - F|, as at AINA, which also pulls down what lies above m; ``hinge`` is max(0, m - F);
            ``inverted`` is the preprint's, for features in [0, 1], so without ``standardise``.
        unknown: ``ecdf``, as at AINA, or ``ignore``, as in the preprint.
        kl_floor: the least divergence that counts for a record, 1e-9 in SSAD; None for none, as in the papers.
        activation: behind every hidden layer.
        standardise: whether each feature is brought to mean 0 and variance 1 first; where the features are scaled
            already, one-hot columns among them, a rare column is blown up by it.
        likelihood: of a feature: ``gaussian``, as in SSAD; ``bernoulli``, as in the preprint, for features in [0, 1],
            one-hot columns among them, so without ``standardise``.

    Raises:
        ValueError: if a setting is out of its limits, or ``bernoulli`` or ``inverted`` meets ``standardise``.
    """

    updated = True
    strategy = "evt"
    max_unknown_share = 0.1
    every_n_epochs = 1  # from the first epoch on: what contaminates is soon learnt

    def __init__(
        self,
        features: int,
        hidden: tuple[int, ...] = (16,),
        latent: int = 4,
        planar: int = 3,
        margin: float = 2.0,
        margin_per: Literal["feature", "record"] = "feature",
        push: Literal["absolute", "hinge", "inverted"] = "absolute",
        unknown: Literal["ecdf", "ignore"] = "ecdf",
        kl_floor: float | None = None,
        activation: Activation = "relu",
        standardise: bool = True,
        likelihood: Likelihood = "gaussian",
    ) -> None:
        super().__init__(features)
        if latent < 1 or planar < 0 or not 0 < margin < math.inf:
            raise ValueError(
                f"latent must be at least 1, planar at least 0, margin above 0, not {latent}, {planar}, {margin}"
            )
        _refuse(margin_per=(margin_per, "feature", "record"))
        _refuse(push=(push, "absolute", "hinge", "inverted"))
        _refuse(unknown=(unknown, "ecdf", "ignore"))
        _refuse(likelihood=(likelihood, *get_args(Likelihood)))
        for setting, value in (("likelihood", likelihood), ("push", push)):
            if value in ("bernoulli", "inverted") and standardise:
                raise ValueError(f"{setting} {value} takes features in [0, 1], so it needs standardise: false")
        self.likelihood, self.kl_floor = likelihood, kl_floor
        self.margin = margin * (features if margin_per == "feature" else 1)
        self.push, self.unknown, self.standardised = push, unknown, standardise
        self.standardise = Standardise(features)
        self.encoder = mlp((features, *hidden, 2 * latent), activation)
        self.planar = Planar(planar, latent) if planar else None
        self.decoder = mlp((latent, *hidden[::-1], features), activation)

    def fit(self, x: Tensor, y: Tensor | None = None) -> None:
        """Standardise by x (n, F).

        Raises:
            DataError: the likelihood is ``bernoulli``, and a feature lies outside [0, 1].
        """
        if self.standardised:
            self.standardise.fit(x)
        outside = ((x < 0) | (x > 1)).any(0) if self.likelihood == "bernoulli" else torch.zeros(0, dtype=torch.bool)
        if outside.any():
            first = int(outside.nonzero()[0])
            raise DataError(
                f"grand.likelihood: bernoulli takes features in [0, 1], but {int(outside.sum())} of {x.shape[1]} lie "
                f"outside, the first is feature {first}, in [{float(x[:, first].min()):g}, "
                f"{float(x[:, first].max()):g}]; choose preprocess.features.scaling: unit and stage1.encoder: "
                "identity, or likelihood: gaussian"
            )

    def free_energy(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """F, (B, F) to (B,), at the posterior's mean, or at the draw that ``noise``, (B, Z) standard normal, makes."""
        x = self.standardise(x)
        decoded, divergence = self._pass(x, noise)
        return reconstruction_error(decoded, x, self.likelihood) + divergence

    def _pass(self, x: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
        """What the decoder gives for standardised x, (B, F), and the divergence from the prior, (B,)."""
        mean, log_var = self.encoder(x).chunk(2, -1)
        log_var = log_var.clamp(*LOG_VAR)
        z = mean if noise is None else torch.addcmul(mean, noise, (0.5 * log_var).exp())
        # log p(z_0) and the entropy are exact without a draw; 2 pi cancels.
        drawn = log_var.exp() - 1 if noise is None else -noise.square()
        beside, ladj = (drawn - log_var).sum(-1), torch.zeros_like(x[:, 0])
        if self.planar is not None:
            z, ladj = self.planar(z)
        return self.decoder(z), _floored(0.5 * (z.square().sum(-1) + beside) - ladj, self.kl_floor)

    def score(self, x: Tensor) -> Tensor:
        """F at the posterior's mean, less the ``least_error`` of x, (B, F) to (B,)."""
        return self.free_energy(x) - least_error(self.standardise(x), self.likelihood)

    def terms(self, x: Tensor) -> Tensor:
        """The reconstruction error of each feature above its least one, (B, F).

        Their sum is the score, but for how far the latent is from its prior, in which no feature has a part.
        """
        x = self.standardise(x)
        decoded, _ = self._pass(x, None)
        one_by_one = decoded[..., None], x[..., None]  # (B, F, 1), so that the sums over features are over one
        return reconstruction_error(*one_by_one, self.likelihood) - least_error(one_by_one[1], self.likelihood)

    def loss(self, batch: Batch) -> Tensor:
        """The mean over the records of their confidence-weighted terms."""
        noise = self._noise(batch.x) if self.training else None
        if self.push == "inverted":
            return self._inverted(batch, noise)
        energy = self.free_energy(batch.x, noise)
        weight, rest = self._weigh(batch.confidence, energy.detach())
        return (weight * energy + rest).mean()

    def _inverted(self, batch: Batch, noise: Tensor | None) -> Tensor:
        """The loss of the preprint."""
        decoded, divergence = self._pass(batch.x, noise)
        energy = reconstruction_error(decoded, batch.x, self.likelihood) + divergence
        away = reconstruction_error(decoded, 1 - batch.x, self.likelihood) + (self.margin - divergence).abs()
        return (batch.confidence.relu() * energy + self._pushed(batch.confidence, energy.detach()) * away).mean()

    def loss_and_gradients(self, batch: Batch) -> LossAndGradients | None:
        """``loss`` and its gradients in training on a CPU, under planar maps."""
        if not self.training or not is_fused(batch.x) or self.planar is None or self.push == "inverted":
            return None
        x = self.standardise(batch.x) if self.standardised else batch.x
        encoder, maps, decoder = self.encoder, self.planar, self.decoder
        weights = (maps.w, maps.u, maps.b, *encoder.layers, *decoder.layers)
        kind = _Kind(encoder.activation, self.likelihood, self.kl_floor)
        loss, found = _descent(x, self._noise(batch.x), partial(self._weigh, batch.confidence), kind, weights)
        in_encoder = 3 + len(encoder.layers)
        return loss, [*found[3:in_encoder], *found[:3], *found[in_encoder:]]  # in the order of ``parameters``

    def _noise(self, x: Tensor) -> Tensor:
        return torch.randn(len(x), self._latent, dtype=x.dtype, device=x.device)

    def _weigh(self, confidence: Tensor, energy: Tensor) -> tuple[Tensor, Tensor]:
        """Weight and rest of each record, (B,) each: its term is weight F + rest, in which they have no gradient."""
        pushed = self._pushed(confidence, energy)
        # |m - F| and max(0, m - F) are m - F times this.
        away = (self.margin - energy).sign() if self.push == "absolute" else energy < self.margin
        pushed = pushed * away
        return confidence.relu() - pushed, pushed * self.margin

    def _pushed(self, confidence: Tensor, energy: Tensor) -> Tensor:
        """How much each record counts as anomalous, (B,)."""
        if self.unknown == "ignore":
            return (-confidence).relu()
        share = 1 - confidence.abs()
        return (-confidence).relu() + share * ecdf(energy, share)

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

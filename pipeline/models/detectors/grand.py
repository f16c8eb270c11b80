"""Variational autoencoder that scores by free energy and learns from a confidence in each record."""

import math
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor

from pipeline.base.errors import DataError
from pipeline.models.base import Batch, LossAndGradients, is_fused
from pipeline.models.detectors.base import Detector
from pipeline.models.detectors.free_energy import (
    LOG_VAR,
    Kind,
    Likelihood,
    descent,
    floored,
    least_error,
    reconstruction_error,
)
from pipeline.models.detectors.mlp import Activation, mlp
from pipeline.models.detectors.planar import Planar
from pipeline.models.layers import Standardise


class GRAnD(Detector):
    """Score = the free energy F of a record under a variational autoencoder with planar flows.

    F = -log p(x | z_K) + log q_0(z_0) - ladj - log p(z_K),  z_K = planar(z_0),  p(z) = N(0, I)
    L = mean of  c F for c > 0,  |c| |m - F| for c < 0,  and (1 - |c|) eCDF(F) |m - F| for what is unknown

    Najari, Berlemont, Lefebvre, Duffner, Garcia, "GRAnD" (preprint 2021; AINA 2022): the energy of surely benign
    records falls, that of surely anomalous ones goes to the margin m. An unknown record is pushed towards m, the harder
    the higher it ranks among the unknown records of its batch. At c in {-1, 0, 1} these are the published terms,
    averaged over records as in SSAD 0.1.3. ``push: inverted`` is the term of the preprint: an anomalous record is made
    to look like its own inverse, -log p(1 - x | z_K) + |m - divergence| in place of |m - F|.

    Training draws one z_0 from the posterior q_0 = N(mean, variance). ``score``, and ``loss`` outside training, draw
    nothing: z_0 is the mean, the entropy of q_0 is exact, and its variance is added to |z_K|^2, which is exact for an
    identity map. For -log p(x | z) see ``reconstruction_error``.

    Deviations. A score is F minus its ``least_error``; otherwise values between 0 and 1 would make a record anomalous.
    The output is affine, which suits standardised features, or a sigmoid; in SSAD it is a sigmoid of a ReLU, so never
    below 1/2. The decoder has an activation after each hidden layer; in SSAD the layer that reads the latent has none.
    The divergence of one draw may be below 0; SSAD lifts it to 1e-9 (``kl_floor``).

    Args:
        features: Z, the width of the input.
        hidden: widths between the input and the latent, mirrored in the decoder.
        latent: width of z.
        planar: how many planar maps, 0 for a plain variational autoencoder.
        margin: m, in units of ``margin_per``.
        margin_per: ``feature``: m is ``margin`` times the number of features, because F grows with it; ``record``: m is
            ``margin``, as published (10 in the preprint, 100 at AINA).
        push: ``absolute`` is |m - F|, as at AINA, which also pulls down records above m; ``hinge`` is max(0, m - F);
            ``inverted`` is the preprint's, for features in [0, 1], so without ``standardise``.
        unknown: ``ecdf``, as at AINA, or ``ignore``, as in the preprint.
        kl_floor: smallest divergence that counts for a record, 1e-9 in SSAD; None for none, as in the papers.
        activation: after every hidden layer.
        standardise: whether to bring each feature to mean 0 and variance 1 first. If features are scaled already,
            this would blow up rare one-hot columns.
        likelihood: of a feature: ``gaussian``, as in SSAD; ``bernoulli``, as in the preprint, for features in [0, 1],
            one-hot columns among them, so without ``standardise``.

    Raises:
        ValueError: a setting is out of its limits, or ``bernoulli`` or ``inverted`` is combined with ``standardise``.
    """

    updated = True
    strategy = "evt"
    max_unknown_share = 0.1
    every_n_epochs = 1  # from the first epoch on: contaminated records are learnt soon

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
            DataError: the likelihood is ``bernoulli`` and a feature lies outside [0, 1].
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
        """F, (B, F) to (B,), at the posterior's mean, or at the draw by ``noise``, (B, Z) standard normal."""
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
        return self.decoder(z), floored(0.5 * (z.square().sum(-1) + beside) - ladj, self.kl_floor)

    def score(self, x: Tensor) -> Tensor:
        """F at the posterior's mean, less the ``least_error`` of x, (B, F) to (B,)."""
        return self.free_energy(x) - least_error(self.standardise(x), self.likelihood)

    def terms(self, x: Tensor) -> Tensor:
        """The reconstruction error of each feature above its least one, (B, F).

        Their sum is the score without the divergence of the latent from its prior, which belongs to no feature.
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
        kind = Kind(encoder.activation, self.likelihood, self.kl_floor)
        loss, found = descent(x, self._noise(batch.x), partial(self._weigh, batch.confidence), kind, weights)
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

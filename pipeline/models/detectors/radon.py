"""Autoencoder that scores by the direction of its reconstruction and learns from a confidence in each record."""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from pipeline.models.base import Batch, LossAndGradients, is_fused
from pipeline.models.detectors.base import Detector
from pipeline.models.detectors.mlp import Activation, layers_back, layers_forth, mlp
from pipeline.models.layers import Standardise

_TINY = 1e-12
Output = Literal["affine", "sigmoid"]


class RADON(Detector):
    """Score = 1 - s, s = cos(r, x) between a record x and its reconstruction r.

    L = [sum over c > 0 of c (1 - s)^2 + sum over c < 0 of |c| s^2] / sum |c|

    Najari, Berlemont, Lefebvre, Duffner, Garcia, "RADON: Robust Autoencoder for Unsupervised Anomaly Detection", SIN
    2021: a surely benign record is reconstructed in its own direction, a surely anomalous one at a right angle to it;
    an unknown record (c = 0) has no part in the loss. At c in {-1, 0, 1} this is the published loss.

    As published, the data are scaled to [0, 1] and the output is a sigmoid, so that s is in [0, 1]: ``output`` is
    ``sigmoid``, ``offset`` 0 and ``standardise`` false. The defaults deviate: the input is standardised and the output
    affine, so that s is in [-1, 1] and the score in [0, 2]. A centred record has no part of its direction in common
    with the others, and a cosine alone does not see how far off it lies. The component that non-negative data share is
    given back as one more, constant coordinate of x and r, ``offset`` for each feature: s = 1 then means r = x, and 0
    is the plain cosine. 1 - s is computed as half the squared distance of the unit vectors, which is never negative and
    keeps its digits near 0.

    Args:
        features: Z.
        hidden: widths of the encoder, the last one that of the code; the decoder mirrors them. Published for 784
            features: 400, 200.
        activation: behind every layer but the last, the code included, as published.
        output: ``affine``, or ``sigmoid``, as published, for features in [0, 1].
        offset: length of the constant coordinate, divided by the square root of Z.
        standardise: whether to bring each feature to mean 0 and variance 1 first. If features are scaled already,
            this would blow up rare one-hot columns.
    """

    updated = True
    strategy = "triangular"
    warm_up = 4  # its updates follow the epochs 3, 6, 9 ... counted from 0

    def __init__(
        self,
        features: int,
        hidden: tuple[int, ...] = (64, 16),
        activation: Activation = "relu",
        output: Output = "affine",
        offset: float = 1.0,
        standardise: bool = True,
    ) -> None:
        super().__init__(features)
        if not hidden or not 0 <= offset < math.inf:
            raise ValueError(f"hidden needs a width and offset must be at least 0, not {hidden} and {offset}")
        if output not in get_args(Output):
            raise ValueError(f"output must be one of {', '.join(get_args(Output))}, not {output!r}")
        self.offset, self.output, self.standardised = offset, output, standardise
        self.standardise = Standardise(features)
        self.autoencoder = mlp((features, *hidden, *hidden[-2::-1], features), activation)

    def fit(self, x: Tensor, y: Tensor | None = None) -> None:
        """Standardise by x (n, F)."""
        if self.standardised:
            self.standardise.fit(x)

    def reconstruct(self, z: Tensor) -> Tensor:
        """The reconstruction of standardised records, (B, F) to (B, F)."""
        r: Tensor = self.autoencoder(z)
        return r.sigmoid() if self.output == "sigmoid" else r

    def score(self, x: Tensor) -> Tensor:
        """1 - s, (B, F) to (B,) in [0, 2]; a record of length 0, possible at ``offset`` 0 alone, has 1/2."""
        z = self.standardise(x)
        return _apart(z, self.reconstruct(z), self._constant)

    def terms(self, x: Tensor) -> Tensor:
        """u_i (u_i - v_i) with the unit vectors u of x and v of r, (B, F), as 1 - s = u'(u - v).

        Their sum is the score without the part of the constant coordinate, which is 0 at ``offset`` 0. Half the squared
        differences of u and v have the same sum. But if one feature is far off, it makes all other entries of u small,
        and these differences would blame the others for it.
        """
        z: Tensor = self.standardise(x)
        r = self.reconstruct(z)
        u, v = z * _per_length(z, self._constant), r * _per_length(r, self._constant)
        return u * (u - v)

    def loss(self, batch: Batch) -> Tensor:
        """The weighted mean of (1 - s)^2 over benign and s^2 over anomalous records; 0 where all are unknown."""
        weight, wanted = _weights(batch.confidence)
        return (weight * (self.score(batch.x) - wanted).square()).sum()

    def loss_and_gradients(self, batch: Batch) -> LossAndGradients | None:
        """``loss`` and its gradients in training on a CPU."""
        if not is_fused(batch.x) or self._constant <= _TINY:
            return None
        z = self.standardise(batch.x) if self.standardised else batch.x
        body = self.autoencoder
        kind = body.activation, self.output
        return _descent(z, self._constant, *_weights(batch.confidence), kind, body.layers)

    @property
    def _constant(self) -> float:
        """The square of the constant coordinate."""
        return self.offset**2 * self.features


@torch.inference_mode()
def _descent(
    z: Tensor, constant: float, weight: Tensor, wanted: Tensor, kind: tuple[str, str], layers: Sequence[Tensor]
) -> LossAndGradients:
    """Sum of weight (1 - s - wanted)^2 and its gradients by ``layers``, for a ``constant`` above 0: no length is 0.

    With the unit vectors u and v of z and r, s = u'v: d(1 - s)/dr = -(u - s v) / |r| = -(u - v + (1 - s) v) / |r|,
    whose last form keeps its digits where u is close to v. ``kind`` is the activation and what follows the last layer.
    """
    activation, output = kind
    r, read = layers_forth(z, layers, activation)
    if output == "sigmoid":
        r.sigmoid_()
    per_z, per_r = _per_length(z, constant), _per_length(r, constant)  # (B, 1)
    apart = (z * per_z).addcmul_(r, per_r, value=-1)
    score: Tensor = torch.linalg.vector_norm(apart, dim=-1, keepdim=True).square_()
    score.add_((per_z - per_r).square_(), alpha=constant).mul_(0.5)
    miss = score.squeeze(-1) - wanted
    pull = weight * miss
    by_r = (-2 * pull)[:, None] * per_r
    of_r = apart.mul_(by_r).addcmul_(r, by_r * score * per_r)
    if output == "sigmoid":
        of_r.mul_(r * (1 - r))
    return (pull * miss).sum(), layers_back(of_r, read, layers, activation)[1]


def _weights(confidence: Tensor) -> tuple[Tensor, Tensor]:
    """The weight of each record, of sum 1, and the 1 - s that it should have, (B,) each."""
    weight = confidence.abs()
    return weight / weight.sum().clamp_min(_TINY), (confidence <= 0).to(weight.dtype)


def _apart(z: Tensor, r: Tensor, constant: float) -> Tensor:
    """1 - the cosine of (z, c) and (r, c), c the square root of ``constant``: (B, F) and (B, F) to (B,)."""
    per_z, per_r = _per_length(z, constant), _per_length(r, constant)  # (B, 1)
    apart: Tensor = (z * per_z - r * per_r).square().sum(-1)
    return 0.5 * (apart + constant * (per_z - per_r).square().squeeze(-1))


def _per_length(x: Tensor, constant: float) -> Tensor:
    """1 / |(x, square root of constant)|, (B, F) to (B, 1)."""
    length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return (length.square() + constant).clamp_min(_TINY).rsqrt()

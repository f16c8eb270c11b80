"""The contract of an encoder: features -> latent, with two class centroids and a margin between them."""

from abc import abstractmethod

import torch
from torch import Tensor

from pipeline.encoders.losses import LatentLoss, class_means
from pipeline.errors import CollapseError, TrainingError
from pipeline.nn import Batch, Scorer, in_parts


class Encoder(Scorer):
    """Features to latent.

    A subclass takes ``features`` and ``loss`` first, then its own settings, and implements ``forward``.

    Attributes:
        features: F.
        latent: Z.
        centroid_benign: (Z,) mean of the benign latents, set by ``centre``.
        centroid_attack: (Z,) mean of the attack latents, set by ``centre``.
    """

    centroid_benign: Tensor
    centroid_attack: Tensor

    def __init__(self, features: int, latent: int, loss: LatentLoss) -> None:
        super().__init__()
        self.features = features
        self.latent = latent
        self.latent_loss = loss
        self.register_buffer("centroid_benign", torch.zeros(latent))
        self.register_buffer("centroid_attack", torch.zeros(latent))

    def extra_repr(self) -> str:
        """The loss, so that the printed module tells everything that decides a training."""
        return f"loss={self.latent_loss}"

    def initialise(self, x: Tensor, y: Tensor) -> None:
        """Start from data, x (n, F) and y (n,), before training; nothing unless a subclass says so."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Map (B, F) to the latent (B, Z)."""

    def loss(self, batch: Batch) -> Tensor:
        """The latent loss of a batch."""
        return self.latent_loss(self(batch.x), batch)

    def centre(self, z: Tensor, y: Tensor) -> None:
        """Set both centroids from the latents of the whole training set, z (n, Z) and y (n,).

        Raises:
            TrainingError: if a class is absent.
        """
        centroids, sizes = class_means(z.double(), y)
        if sizes.min() == 0:
            absent = "benign records" if sizes[0] == 0 else "attacks"
            raise TrainingError(
                f"encoder: a centroid for each class is needed, but there are no {absent} among the {len(y)} training "
                "records; check ingest.path and preprocess.unseen"
            )
        self.centroid_benign.copy_(centroids[0])
        self.centroid_attack.copy_(centroids[1])

    def margin(self, z: Tensor) -> Tensor:
        """||z - c_benign||^2 - ||z - c_attack||^2, (B,): higher is more anomalous, the published decision is > 0."""
        return (z - self.centroid_benign).square().sum(-1) - (z - self.centroid_attack).square().sum(-1)

    @property
    def heeds_confidence(self) -> bool:
        """As its loss does."""
        return self.latent_loss.heeds_confidence

    def settle(self, train: Batch, rows_at_once: int) -> None:
        """Centre on the training records as their confidence now stands."""
        z = in_parts(self, train.x, rows_at_once)
        taken = (train.y != 0) | (train.confidence > 0)
        self.centre(z[taken], train.y[taken])

    def score(self, x: Tensor) -> Tensor:
        """The margin of the latent of ``x``, (B, F) to (B,)."""
        return self.margin(self(x))

    def verify(self, z: Tensor, y: Tensor) -> None:
        """Refuse a latent that carries nothing, z (n, Z) and y (n,), after ``centre``.

        Raises:
            CollapseError: with what has collapsed, why, and what to do.
        """
        reason = self._collapse(z.double())
        if reason:
            raise CollapseError(
                f"encoder {type(self).__name__}, {len(z)} records ({int((y != 0).sum())} attacks): {reason}"
            )

    def _collapse(self, z: Tensor) -> str | None:
        if not z.isfinite().all():
            return "the latent is not finite; lower learning_rate, or check the scaled features for extreme values"
        spread = float(z.std(0, correction=0).max())
        if spread < 1e-6:
            return (
                f"every record has the same latent (largest standard deviation {spread:.2g}); "
                "train for more steps (min_steps), lower alpha and beta against gamma, or lower learning_rate"
            )
        distinct = len(torch.unique(z, dim=0))
        if distinct < min(3, len(z)):
            return f"the latent has only {distinct} distinct values, so it can rank nothing; lower weight_decay"
        return self.latent_loss.stuck(float((self.centroid_benign - self.centroid_attack).double().square().sum()))

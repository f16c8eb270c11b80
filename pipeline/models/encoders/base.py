"""The contract of an encoder, which turns features into a latent; its loss measures a margin from class centroids."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from pipeline.base.errors import CollapseError, TrainingError
from pipeline.models.base import Batch, Scorer
from pipeline.models.encoders.losses.base import Centroids, LatentLoss, class_means
from pipeline.models.scoring import in_parts

STARTING_ROWS = 4096


class Encoder(Scorer):
    """Turns features into a latent.

    A subclass takes ``features`` and ``loss`` first, then its own settings, and implements ``forward``.

    Attributes:
        latent_is_features: whether it maps each record to itself; the latent is not stored again then.
        features: F.
        latent: Z.
        centroid_benign: (Z,) mean of the benign latents, set by ``centre``.
        centroid_attack: (Z,) mean of the attack latents, set by ``centre``.
        modes: (K, Z) benign modes, set by ``initialise``; None if the loss has none.
    """

    latent_is_features: ClassVar[bool] = False
    decides_above = 0.0
    centroid_benign: Tensor
    centroid_attack: Tensor
    modes: Tensor | None

    def __init__(self, features: int, latent: int, loss: LatentLoss) -> None:
        super().__init__()
        self.features = features
        self.latent = latent
        self.latent_loss = loss
        self.register_buffer("centroid_benign", torch.zeros(latent))
        self.register_buffer("centroid_attack", torch.zeros(latent))
        modes = torch.zeros(loss.held, latent) if loss.held else None
        if loss.learns_modes:
            self.register_parameter("modes", None if modes is None else nn.Parameter(modes))
        else:
            self.register_buffer("modes", modes)

    def extra_repr(self) -> str:
        """The loss, so that the printed module shows everything that decides a training."""
        return f"loss={self.latent_loss}"

    @torch.no_grad()
    def initialise(self, x: Tensor, y: Tensor) -> None:
        """Start from data, x (n, F) and y (n,), before training: place the modes by at most 4096 benign rows."""
        benign = spread_rows(x[y == 0])
        if self.modes is None or not len(benign):
            return  # `centre` refuses a training set without benign records
        training = self.training
        self.modes.copy_(self.latent_loss.place(self.eval()(benign)))
        self.train(training)

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Map (B, F) to the latent (B, Z)."""

    def loss(self, batch: Batch) -> Tensor:
        """The latent loss of a batch."""
        z = self(batch.x)
        if self.training and self.modes is not None:
            with torch.no_grad():
                self.modes.copy_(self.latent_loss.follow(self.modes, z, batch))
        return self.latent_loss(z, batch, self.modes)

    def centre(self, z: Tensor, y: Tensor) -> None:
        """Set both centroids from the latents of the whole training set, z (n, Z) and y (n,).

        Without attacks an encoder that is not trained puts both in one place, so that every margin is the same and says
        nothing.

        Raises:
            TrainingError: a class is absent that is needed.
        """
        self.require_classes(y)
        centroids, sizes = class_means(self.latent_loss.project(z.double()), y)
        if sizes[1] == 0:
            centroids[1] = centroids[0]
        self.centroid_benign.copy_(centroids[0])
        self.centroid_attack.copy_(centroids[1])

    def require_classes(self, y: Tensor) -> None:
        """Refuse training rows, with labels y (n,), that lack a class that is needed; best before they are trained on.

        Raises:
            TrainingError: it says which class is absent, and what to do.
        """
        attacks = int((y != 0).sum())
        if len(y) > attacks and (attacks or not self.trainable):
            return
        absent = "attacks" if len(y) > attacks else "benign records"
        remedy = "" if len(y) == attacks else "; to learn without attacks, set stage1.encoder to identity"
        raise TrainingError(
            f"encoder: a centroid for each class is needed, but there are no {absent} among the {len(y)} training "
            f"records; check ingest.path and preprocess.unseen{remedy}"
        )

    def margin(self, z: Tensor) -> Tensor:
        """The margin of the loss, (B, Z) to (B,): higher is more anomalous; above 0, stage 1 alone raises an alarm."""
        return self.latent_loss.margin_of(z, self._centroids(z))

    def _centroids(self, z: Tensor) -> Centroids:
        """Centroids and modes in the precision of z."""
        held = None if self.modes is None else self.modes.to(z.dtype)
        return Centroids(self.centroid_benign.to(z.dtype), self.centroid_attack.to(z.dtype), held)

    @property
    def heeds_confidence(self) -> bool:
        """Whether its loss uses confidence."""
        return self.latent_loss.heeds_confidence

    def settle(self, train: Batch, rows_at_once: int) -> None:
        """Set the centroids by the training records and their present confidence."""
        z = in_parts(self, train.x, rows_at_once)
        taken = (train.y != 0) | (train.confidence > 0)
        self.centre(z[taken], train.y[taken])

    def score(self, x: Tensor) -> Tensor:
        """The margin of the latent of ``x``, (B, F) to (B,)."""
        return self.margin(self(x))

    def verify(self, z: Tensor, y: Tensor) -> None:
        """Refuse latents z (n, Z), with labels y (n,), that carry no information; call ``centre`` before.

        Raises:
            CollapseError: it says what has collapsed, why, and what to do.
        """
        reason = self._collapse(z.double(), y)
        if reason:
            raise CollapseError(
                f"encoder {type(self).__name__}, {len(z)} records ({int((y != 0).sum())} attacks): {reason}"
            )

    def _collapse(self, z: Tensor, y: Tensor) -> str | None:
        if not z.isfinite().all():
            return "the latent is not finite; lower learning_rate, or check the scaled features for extreme values"
        spread = float(z.std(0, correction=0).max())
        if spread < 1e-6:
            return (
                f"every record has the same latent (largest standard deviation {spread:.2g}); "
                "train for more steps (min_steps), weigh compactness less against separation, or lower learning_rate"
            )
        distinct = len(torch.unique(z, dim=0))
        if distinct < min(3, len(z)):
            return f"the latent has only {distinct} distinct values, so it can rank nothing; lower weight_decay"
        if not self.trainable:
            return None  # no loss has shaped the latent
        return self.latent_loss.stuck(self.latent_loss.apart(z, y, self._centroids(z)))


def spread_rows(x: Tensor) -> Tensor:
    """At most ``STARTING_ROWS`` rows, spread over x, (n, F)."""
    return x[_spread(len(x), STARTING_ROWS).to(x.device)]


def spread_with_classes(y: Tensor) -> Tensor:
    """Positions of rows spread over y, (n,), and of more rows of a class that would have too few.

    A class gets at least 1/8 of ``STARTING_ROWS``, as far as it has them, so that rare attacks do not vanish.
    """
    least = STARTING_ROWS // 8
    rows = _spread(len(y), STARTING_ROWS).to(y.device)
    attack = y != 0
    for label in (False, True):
        own = (attack == label).nonzero().squeeze(1)
        if int((attack[rows] == label).sum()) < min(least, len(own)):
            rows = torch.unique(torch.cat([rows, own[_spread(len(own), least).to(y.device)]]))
    return rows


def _spread(n: int, most: int) -> Tensor:
    return torch.linspace(0, n - 1, min(n, most)).long()

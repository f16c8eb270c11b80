"""What a trainer trains: a batch of rows, a model with a loss, and a model that also scores records."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class Batch(NamedTuple):
    """Rows of one training step.

    Attributes:
        x: (B, F) float, features of an encoder or latent of a detector.
        y: (B,) 1 for an attack.
        confidence: (B,) float in [-1, 1], +1 surely benign, -1 surely anomalous, 0 unknown.
    """

    x: Tensor
    y: Tensor
    confidence: Tensor


LossAndGradients = tuple[Tensor, Sequence[Tensor]]
"""A loss, and its gradient by each parameter of its model, in their order."""


class Model(nn.Module, ABC):
    """A module with a loss, which a trainer can train."""

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor:
        """The scalar that training minimises."""

    def loss_and_gradients(self, batch: Batch) -> LossAndGradients | None:
        """The loss with gradients that are written by hand; None, the usual case, leaves them to autograd.

        For a small model on a CPU the speed depends on the number of operations that autograd records, not on the
        arithmetic. By hand, one training of RADON takes two thirds of the CPU time, one of GRAnD three fifths.
        """
        return None

    @property
    def trainable(self) -> bool:
        """Whether any parameter needs a gradient; a closed-form model has none."""
        return any(parameter.requires_grad for parameter in self.parameters())


class Scorer(Model):
    """A model that can score records, including its own training records.

    Attributes:
        updated: whether it was published with confidence updates; these are then on by default.
        strategy: name of the threshold strategy of its updates.
        rule: name of the rule that turns its scores into confidence.
        every_n_epochs: from one update to the next.
        warm_up: epochs before the first update; None for ``every_n_epochs``.
        max_unknown_share: largest share of the training records that an update may leave unknown; below 1 if the loss
            pushes unknown records away.
        decides_above: score above which the model itself calls a record an attack; None if thresholds decide.
    """

    updated: ClassVar[bool] = False
    strategy: ClassVar[str] = "evt"
    rule: ClassVar[str] = "binary"
    every_n_epochs: ClassVar[int] = 3
    warm_up: ClassVar[int | None] = None
    max_unknown_share: ClassVar[float] = 1.0
    decides_above: ClassVar[float | None] = None

    @abstractmethod
    def score(self, x: Tensor) -> Tensor:
        """(B, F) to (B,): higher is more anomalous."""

    def settle(self, train: Batch, rows_at_once: int) -> None:
        """Set what a score needs beside the weights, before training records are scored; most models need nothing."""

    @property
    def heeds_confidence(self) -> bool:
        """Whether the confidence of a record changes its loss."""
        return self.updated


def shares(confidence: Tensor, unknown: float) -> tuple[Tensor, Tensor]:
    """The benign and the anomalous share of each record, (B,) each, in [0, 1].

    The first falls from 1 at confidence 1 to ``unknown`` at 0 and to 0 at -1, the second rises from 0 at 0 to 1 at -1.
    """
    benign = torch.where(confidence >= 0, unknown + (1 - unknown) * confidence, unknown * (1 + confidence))
    return benign, functional.relu(-confidence)


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean of ``values`` weighted by ``weight``, (B,) each; 0 if every weight is 0."""
    total = weight.sum()
    return (weight * values).sum() / torch.where(total > 0, total, 1.0)


def is_fused(x: Tensor) -> bool:
    """Whether a gradient by hand pays off for ``x``: in training on a CPU, without mixed precision."""
    return torch.is_grad_enabled() and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")

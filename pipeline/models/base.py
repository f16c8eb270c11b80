"""What a trainer can train: a batch of rows, a model that owns its loss, and one that scores records."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class Batch(NamedTuple):
    """Rows that are drawn together.

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
    """What a trainer can train: a module that owns its loss."""

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor:
        """The scalar that training lowers."""

    def loss_and_gradients(self, batch: Batch) -> LossAndGradients | None:
        """The same loss with its gradients, written down by hand; None, as for most, where autograd finds them.

        For a small model on a CPU the number of operations that autograd records decides the speed, not the arithmetic.
        """
        return None

    @property
    def trainable(self) -> bool:
        """Whether any parameter needs a gradient; a closed-form model has none."""
        return any(parameter.requires_grad for parameter in self.parameters())


class Scorer(Model):
    """A model that can judge records, those that it is trained on among them.

    Attributes:
        updated: whether it was published with confidence updates, which are on for it unless settings say otherwise.
        strategy: the threshold strategy of its updates, by name.
        rule: what makes confidence of its scores, by name.
        every_n_epochs: from one update to the next.
        warm_up: epochs before the first update; None for as many as between two.
        max_unknown_share: the largest share of the training records that an update is to leave unknown; below 1 where
            the loss pushes away what is unknown.
        decides_above: the score above which the model itself calls a record an attack; None where it leaves that to
            thresholds.
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
        """Set what a score needs beside the weights, before the training records are scored; most need nothing."""

    @property
    def heeds_confidence(self) -> bool:
        """Whether the confidence of a record changes its loss."""
        return self.updated


def shares(confidence: Tensor, unknown: float) -> tuple[Tensor, Tensor]:
    """How much of each record counts as benign and how much as anomalous, (B,) each in [0, 1].

    The first falls from 1 at confidence 1 to ``unknown`` at 0 and to 0 at -1, the second rises from 0 at 0 to 1 at -1.
    """
    benign = torch.where(confidence >= 0, unknown + (1 - unknown) * confidence, unknown * (1 + confidence))
    return benign, functional.relu(-confidence)


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean of ``values`` under ``weight``, (B,) each; 0 where every weight is 0."""
    total = weight.sum()
    return (weight * values).sum() / torch.where(total > 0, total, 1.0)


def is_fused(x: Tensor) -> bool:
    """Whether a function of ``x`` is worth computing with its gradient by hand: training on a CPU, in one precision.

    For a small model the number of operations that autograd records decides the speed there, not the arithmetic.
    """
    return torch.is_grad_enabled() and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")

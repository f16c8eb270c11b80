"""How a model is trained, and how it changes the confidence of its own training records meanwhile."""

import math
from dataclasses import dataclass
from typing import Literal

from pipeline.settings.base import (
    Count,
    CountOrZero,
    NotNegative,
    Positive,
    Section,
    Seed,
    Shape,
    Share,
    ShareAboveZero,
    ShareBelowOne,
    WithPlugins,
)


@dataclass(frozen=True)
class FitSettings(Shape):
    """Settings of ``pipeline.models.training.fit``.

    Attributes:
        epochs: passes over the training rows.
        min_steps: steps that are made at least; on small data the epochs are extended to reach them.
        batch_size: rows in a step, over all devices.
        learning_rate: at the start of the schedule.
        weight_decay: of the optimiser; decoupled in ``adamw``, an L2 term in ``adam``.
        optimizer: ``adam`` or ``adamw``.
        gradient_clip: largest norm of the gradient, 0 for no limit.
        input_noise: standard deviation of Gaussian noise on x, in training only.
        patience: epochs without a better one, as ``select`` says, after which training stops; 0 for never. Where
            confidence is updated, they are counted from the first epoch that trains on an update.
        schedule: of the learning rate: ``cosine`` falls to 0 over the whole run, step by step; ``constant``;
            ``plateau`` is halved when the loss no longer falls, as Najari et al. publish for GRAnD (preprint of 2021,
            Algorithm 1).
        plateau_patience: epochs without a lower loss after which ``plateau`` halves the learning rate.
        plateau_of: the loss that it looks at: ``train_loss``, as published, or ``val_loss``.
        least_learning_rate: training with ``plateau`` stops when the learning rate falls below it.
        keep: the epoch whose weights are kept: the ``best`` one or the ``last``.
        select: what makes an epoch the best: the lowest ``val_loss``, or the highest ``val_f1`` on validation rows with
            attacks that are known.
        seed: of batches, noise and dropout.
        device: ``auto`` (cuda where there is one), ``cpu`` or ``cuda``.
        precision: as Lightning names it.
        strategy: as Lightning names it.
        devices: of one machine, each with a process of its own: GPUs, or with ``device: cpu`` as many processes. A
            stage starts them itself; a model in closed form is fitted by one.
        nodes: machines with so many devices each. With more than one, ``torchrun`` starts the stage on each of them.
    """

    epochs: Count
    min_steps: CountOrZero
    batch_size: Count
    learning_rate: Positive
    weight_decay: NotNegative
    optimizer: Literal["adam", "adamw"]
    gradient_clip: NotNegative
    input_noise: NotNegative
    patience: CountOrZero
    schedule: Literal["cosine", "constant", "plateau"]
    plateau_patience: Count
    plateau_of: Literal["train_loss", "val_loss"]
    least_learning_rate: NotNegative
    keep: Literal["best", "last"]
    select: Literal["val_loss", "val_f1"]
    seed: Seed
    device: Literal["auto", "cpu", "cuda"]
    devices: Count
    nodes: Count
    strategy: Literal["auto", "ddp"]
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "64-true"]

    @property
    def plain(self) -> bool:
        """Whether one process trains without mixed precision, so that a step is what PyTorch alone does."""
        return self.processes == 1 and not self.precision.endswith("-mixed")

    @property
    def processes(self) -> int:
        """How many processes train together."""
        return self.devices * self.nodes

    def epochs_for(self, rows: int) -> int:
        """The epochs that make ``min_steps`` steps on ``rows`` rows, ``epochs`` at least."""
        return max(self.epochs, math.ceil(self.min_steps / math.ceil(rows / self.batch_size)))


@dataclass(frozen=True, kw_only=True)
class UpdateCaps(Shape):
    """How much one update of the confidence may change.

    The defaults are for users of ``pipeline.ssad``, who name a strategy, a rule and no more; params.yaml states each.

    Attributes:
        max_share: of the records labelled benign, the largest that may become anomalous in one update; of those beyond
            it the lowest scores keep the confidence that they had.
        smoothing: share of the old confidence that stays, 0 for none.
        undo: whether an update that makes the model worse on the validation rows is taken back. It is the last one
            then: the model would say the same of its records again. See ``pipeline.models.training.trial``.
    """

    max_share: ShareAboveZero = 0.1
    smoothing: ShareBelowOne = 0.0
    undo: bool = False


@dataclass(frozen=True, kw_only=True)
class ConfidenceSettings(UpdateCaps, WithPlugins):
    """The confidence of the training records: what it is at first, and what makes ``pipeline.models.training.Updates``.

    ``published`` and ``own`` stand for what the model says of itself. The plug-ins are threshold strategies and rules.
    """

    initial: str | None
    updates: Literal["published", "always", "never"]
    thresholds: str
    rule: str
    every_n_epochs: Count | Literal["published"]
    warm_up: Count | Literal["published"]
    max_unknown_share: Share | Literal["own"]


@dataclass(frozen=True)
class Training(Section, WithPlugins):
    """What both stages that train a model have."""

    confidence: ConfidenceSettings
    fit: FitSettings

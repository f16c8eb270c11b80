"""Confidence updates: while a model trains, its own scores of the training records change their weight.

Scores of the training records -> thresholds -> confidence -> the loss of the next epoch, as in RADON (Najari et al.,
2021) and GRAnD (Najari et al., "GRAnD: Robust Anomaly Detection under Data Contamination", 2022). The papers let an
update change any number of records. Here a warm-up, smoothing and two caps keep one update from overturning the
training: one cap limits the share of records that become anomalous, the other the share that is left unknown.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.base.errors import TrainingError
from pipeline.calibration.confidence import Confidence
from pipeline.calibration.thresholds.base import Strategy, Thresholds
from pipeline.models.base import Batch
from pipeline.models.scoring import in_parts
from pipeline.settings.base import Count, Share
from pipeline.settings.training import UpdateCaps


@dataclass(frozen=True)
class Update:
    """One update, as a stage reports it.

    Attributes:
        epoch: the epoch that it follows, counted from 0.
        score: (n,) of the training records.
        thresholds: set by the strategy.
        previous: thresholds of the update before; None at the first.
        confidence: (n,) that the next epoch trains on.
    """

    epoch: int
    score: NDArray[np.float64]
    thresholds: Thresholds
    previous: Thresholds | None
    confidence: NDArray[np.float32]


OnUpdate = Callable[[Update], None]


@dataclass(frozen=True)
class Updates(UpdateCaps):
    """When and how the confidence of the training records is updated.

    Only the confidence of records labelled benign changes; a known attack keeps its -1. Defaults are for users of
    ``pipeline.ssad``; params.yaml or the model states each value. There a number may also be ``published`` or ``own``,
    so that three of them are fields of ``ConfidenceSettings`` too, with another type and the same limits.

    Attributes:
        strategy: scores -> thresholds.
        rule: scores, thresholds -> confidence.
        every_n_epochs: update every n epochs.
        warm_up: epochs before the first update.
        max_unknown_share: largest share of these records that an update may leave unknown. If more would be, those with
            the lowest scores count as benign, with the confidence of the least sure benign record. 1 switches the cap
            off, as published.

    Raises:
        ValueError: a number is out of its limits.
    """

    strategy: Strategy
    rule: Confidence
    every_n_epochs: Count = 3
    warm_up: Count = 3
    max_unknown_share: Share = 1.0

    def due(self, epoch: int) -> bool:
        """Whether an update follows ``epoch``, counted from 0, if it is not the last epoch."""
        done = epoch + 1
        return self.warm_up <= done and (done - self.warm_up) % self.every_n_epochs == 0

    def refuse_too_late(self, epochs: int) -> None:
        """Refuse updates that none of ``epochs`` epochs would train on.

        Raises:
            TrainingError: the first update would follow the last epoch or come later.
        """
        if self.warm_up >= epochs:
            raise TrainingError(
                f"confidence updates are on, but the first would follow epoch {self.warm_up - 1} and training ends "
                f"with epoch {epochs - 1}, counted from 0, so that no epoch would train on one; raise fit.epochs to "
                f"{self.warm_up + 1}, lower confidence.warm_up, or set confidence.updates: never"
            )

    def update(self, epoch: int, score: NDArray[np.float64], train: Batch, previous: Thresholds | None) -> Update:
        """The update that follows from scores, (n,), of the records in ``train``.

        Raises:
            TrainingError: a score is NaN, or no record would count as benign any more.
        """
        _refuse_nan(epoch, score)
        old = train.confidence.cpu().numpy()
        judged = train.y.cpu().numpy() == 0
        thresholds = self.strategy(score[judged], previous)
        new = old.copy()
        ruled = self._less_unknown(score[judged], self.rule(score[judged], thresholds), thresholds)
        new[judged] = self._less_anomalous(score[judged], old[judged], ruled)
        new = (self.smoothing * old + (1 - self.smoothing) * new).astype(np.float32)
        if not (new[judged] > 0).any():
            raise TrainingError(
                f"the confidence update after epoch {epoch} leaves none of {judged.sum()} records that is taken for "
                f"benign (thresholds {thresholds.low:g} and {thresholds.high:g}); lower confidence.max_share, or "
                "choose another strategy in confidence.thresholds"
            )
        return Update(epoch, score, thresholds, previous, new)

    def _less_unknown(
        self, score: NDArray[np.float64], ruled: NDArray[np.float32], thresholds: Thresholds
    ) -> NDArray[np.float32]:
        """If too many records are unknown, count those with the lowest scores as benign."""
        benign = score <= thresholds.low
        unknown = np.flatnonzero(~benign & (score <= thresholds.high))
        spared = _beyond(score, unknown, self.max_unknown_share)
        capped = ruled.copy()
        capped[spared] = ruled[benign].min(initial=1)
        return capped

    def _less_anomalous(
        self, score: NDArray[np.float64], old: NDArray[np.float32], ruled: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """If too many records would become anomalous, leave those with the lowest scores as they were."""
        turned = np.flatnonzero((ruled < 0) & (old >= 0))
        kept = _beyond(score, turned, self.max_share)
        capped = ruled.copy()
        capped[kept] = old[kept]
        return capped


def _beyond(score: NDArray[np.float64], rows: NDArray[np.intp], share: float) -> NDArray[np.intp]:
    """The ``rows`` that remain after those with the highest scores have filled ``share`` of all records."""
    return rows[np.argsort(-score[rows], kind="stable")[int(share * len(score)) :]]


def _refuse_nan(epoch: int, score: NDArray[np.float64]) -> None:
    bad = np.flatnonzero(np.isnan(score))
    if len(bad):
        raise UnscoredError(epoch, bad)


class UnscoredError(TrainingError):
    """Training records whose score is NaN.

    Attributes:
        rows: their positions among the training records.
    """

    def __init__(self, epoch: int, rows: NDArray[np.intp]) -> None:
        self.rows = rows
        super().__init__(
            f"the score of {len(rows)} training records became NaN after epoch {epoch}, the first is row {rows[0]} of "
            "the training set; the last good checkpoint is kept; lower learning_rate, or check the features for "
            "extreme values"
        )


def scores(function: Callable[[Tensor], Tensor], x: Tensor, shard: tuple[int, int], rows_at_once: int) -> Tensor:
    """(m,) scores of the rows of ``x``, (n, F), that belong to this process; m is the same in each process.

    Row i belongs to process i modulo their number; the last processes repeat the last row if needed.
    """
    rank, shards = shard
    rows = torch.arange(rank, len(x) + (-len(x)) % shards, shards, device=x.device).clamp_max(len(x) - 1)
    return in_parts(lambda part: function(x[part]).double(), rows, rows_at_once)


def joined(gathered: Tensor, n: int) -> NDArray[np.float64]:
    """(n,) scores in the order of the rows, from those of each process, (shards, m)."""
    whole: NDArray[np.float64] = gathered.reshape(-1, gathered.shape[-1]).T.reshape(-1)[:n].cpu().numpy()
    return whole


def state(thresholds: Thresholds | None) -> Any:
    """Thresholds for a checkpoint, as a tensor: they may be infinite, which JSON cannot hold."""
    return None if thresholds is None else torch.tensor([thresholds.low, thresholds.high], dtype=torch.float64)


def from_state(value: Any) -> Thresholds | None:
    """The inverse of ``state``."""
    return None if value is None else Thresholds(*value.tolist())

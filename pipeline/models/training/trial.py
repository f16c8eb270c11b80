"""Each confidence update is on trial for one epoch: if the model becomes worse on held-out records, it is taken back.

If there are validation rows with known attacks, the AUROC against the benign records decides: it must not fall. Without
them, only benign labels are used. An update may raise the scores of doubtful records, but most held-out records that
are labelled benign must look about as benign as before. Only the four fifths with the lowest scores count, because an
update is there to find attacks among these records, and their scores should rise. This second rule is coarser: it also
takes back some helpful updates.
"""

from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.calibration.thresholds.base import Thresholds
from pipeline.models.training import updates

BULK = 0.8  # share of the held-out benign records, the most benign ones
MOST_RISE = 1.0  # of the mean score of the bulk, in units of its scale
MOST_LOSS = 0.03  # of the AUROC
FEWEST = 30  # held-out records below which an update is not tried


@dataclass(frozen=True)
class HeldOutScores:
    """How a model scores the held-out records.

    Attributes:
        mean: of the scores of the bulk of the records labelled benign.
        scale: their standard deviation or the size of their mean, whichever is larger; copies of one record have no
            deviation.
        auroc: against the known attacks, None where there are none.
    """

    mean: float
    scale: float
    auroc: float | None

    @classmethod
    def of(cls, score: NDArray[np.float64], auroc: float | None) -> "HeldOutScores":
        """From scores, (n,), of held-out records that are labelled benign."""
        bulk = np.sort(score)[: max(1, int(BULK * len(score)))]
        mean = float(bulk.mean())
        return cls(mean, max(float(bulk.std()), abs(mean)), auroc)

    def fault(self, after: "HeldOutScores") -> str | None:
        """What is worse in ``after``, in words; None if nothing is."""
        if self.auroc is not None and after.auroc is not None:
            if after.auroc >= self.auroc - MOST_LOSS:
                return None
            return (
                f"the AUROC on the validation rows fell from {self.auroc:.4f} to {after.auroc:.4f}; {MOST_LOSS:g} less "
                "is allowed"
            )
        rise = (after.mean - self.mean) / max(self.scale, 1e-12)
        if rise <= MOST_RISE:
            return None
        return (
            f"the mean score of the most benign {BULK:.0%} of the validation rows rose from {self.mean:.4g} to "
            f"{after.mean:.4g}, by {rise:.2f} of their scale; {MOST_RISE:g} is allowed"
        )


@dataclass(frozen=True)
class Before:
    """The state before an update: all that the update and the epoch after it change.

    Attributes:
        epoch: after which the update was made.
        weights: of the model.
        optimizer: its state.
        confidence: (n,) of the training records.
        thresholds: of the update before; None if there was none.
        held_out: how the model scored at that time.
    """

    epoch: int
    weights: dict[str, Tensor]
    optimizer: dict[str, Any]
    confidence: Tensor
    thresholds: Thresholds | None
    held_out: HeldOutScores

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        plain = {name: getattr(self, name) for name in ("epoch", "weights", "optimizer", "confidence")}
        return plain | {"thresholds": updates.state(self.thresholds), "held_out": astuple(self.held_out)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Before":
        """The inverse of ``state``."""
        thresholds, held_out = updates.from_state(state["thresholds"]), HeldOutScores(*state["held_out"])
        return cls(**state | {"thresholds": thresholds, "held_out": held_out})

"""Each confidence update is on trial for one epoch: what makes the model worse on held-out records is taken back.

Where known attacks are watched, their AUROC against the benign records decides: it must not fall. Without them, the
evidence needs no label that training does not have. An update may make what it doubts look worse, but the bulk of the
held-out records labelled benign must look about as benign as before. Only the four fifths with the lowest scores count,
so that attacks among these records, which an update is there to find, do not speak against it. This second rule is the
coarser one: it takes some helpful updates back too.
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
FEWEST = 30  # held-out records that can speak against an update


@dataclass(frozen=True)
class Evidence:
    """What the held-out records say of a model.

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
    def of(cls, score: NDArray[np.float64], auroc: float | None) -> "Evidence":
        """From scores, (n,), of held-out records that are labelled benign."""
        bulk = np.sort(score)[: max(1, int(BULK * len(score)))]
        mean = float(bulk.mean())
        return cls(mean, max(float(bulk.std()), abs(mean)), auroc)

    def fault(self, after: "Evidence") -> str | None:
        """What is worse ``after``, in words; None where nothing is."""
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
    """All that an update and the epoch behind it change, as it was before them.

    Attributes:
        epoch: the one that the update followed.
        weights: of the model.
        optimizer: its state.
        confidence: (n,) of the training records.
        thresholds: those of the update before, None where there was none.
        evidence: of the model at that time.
    """

    epoch: int
    weights: dict[str, Tensor]
    optimizer: dict[str, Any]
    confidence: Tensor
    thresholds: Thresholds | None
    evidence: Evidence

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        plain = {name: getattr(self, name) for name in ("epoch", "weights", "optimizer", "confidence")}
        return plain | {"thresholds": updates.state(self.thresholds), "evidence": astuple(self.evidence)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Before":
        """The inverse of ``state``."""
        thresholds, evidence = updates.from_state(state["thresholds"]), Evidence(*state["evidence"])
        return cls(**state | {"thresholds": thresholds, "evidence": evidence})

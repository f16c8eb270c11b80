"""What a training leaves beside the weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.calibration.thresholds.base import Thresholds


@dataclass(frozen=True)
class Result:
    """What a training leaves beside the weights, n training rows in the order of the data set.

    Attributes:
        record_id: (n,) of the rows.
        scores: (n,) by the trained model, higher = more anomalous.
        confidence: (n,) in [-1, 1], from the scores of the trained model; as at the start if there are no updates.
        thresholds: that cut ``scores``; None if there are no updates.
        history: one dict for each epoch.
        folder: of all files.
        test: ``auroc``, ``auprc``, and counts and rates at each threshold; empty if no test labels are known.
    """

    record_id: NDArray[Any]
    scores: NDArray[np.float64]
    confidence: NDArray[np.float32]
    thresholds: Thresholds | None
    history: Sequence[Mapping[str, Any]]
    folder: Path
    test: Mapping[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> NDArray[np.str_] | None:
        """(n,) ``benign``, ``unknown`` or ``anomalous``; None if there are no thresholds."""
        return self.thresholds.verdict(self.scores) if self.thresholds else None

"""The trivial baseline: the one feature that best separates attacks from benign records."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.evaluation import metrics
from pipeline.evaluation.metrics import Report


@dataclass(frozen=True)
class Feature:
    """The best single feature of a selection set.

    Attributes:
        position: its column.
        name: of that column.
        direction: whether attacks have ``high`` or ``low`` values.
        auroc: on the records on which it was chosen.
    """

    position: int
    name: str
    direction: Literal["high", "low"]
    auroc: float

    def score(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """(n,) the feature as a score, higher = more anomalous, of (n, F) features."""
        values = x[:, self.position].astype(np.float64)
        return values if self.direction == "high" else -values


def best_feature(y: ArrayLike, x: NDArray[np.float32], columns: Sequence[str]) -> Feature | None:
    """The column of (n, F) features that alone best separates attacks from benign records, in either direction.

    Of equal columns the first is taken. None if there are no columns, no attacks or no benign records.
    """
    best: Feature | None = None
    for position, name in enumerate(columns):
        area = metrics.auroc(y, x[:, position])
        if area is None:
            return None
        direction: Literal["high", "low"] = "high" if area >= 0.5 else "low"
        if best is None or max(area, 1 - area) > best.auroc:
            best = Feature(position, name, direction, max(area, 1 - area))
    return best


def one_feature(feature: Feature | None, y: ArrayLike, x: NDArray[np.float32]) -> Report | None:
    """The trivial baseline of one ``feature``, chosen on other records, on labels (n,) and features (n, F)."""
    if feature is None:
        return None
    score = feature.score(x)
    return {
        "feature": feature.name,
        "direction": feature.direction,
        "auroc_val": feature.auroc,
        "auroc": metrics.auroc(y, score),
        "tpr_at_fpr_1pct": metrics.tpr_at_fpr(y, score, 0.01),
        "tpr_at_fpr_01pct": metrics.tpr_at_fpr(y, score, 0.001),
    }

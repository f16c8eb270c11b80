"""The trivial baseline: the one feature that best separates attacks from benign records."""

from collections.abc import Iterable
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
        name: of its column.
        direction: whether attacks have ``high`` or ``low`` values.
        auroc: on the records on which it was chosen.
    """

    name: str
    direction: Literal["high", "low"]
    auroc: float

    def score(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """(n,) the feature as a score, higher = more anomalous, of its (n,) values."""
        scores = values.astype(np.float64)
        return scores if self.direction == "high" else -scores


def best_feature(y: ArrayLike, columns: Iterable[tuple[str, NDArray[np.float32]]]) -> Feature | None:
    """The feature that alone best separates attacks from benign records, in either direction.

    Of equal ones the first is taken. None if there are no features, no attacks or no benign records.

    Args:
        y: (n,) labels, 1 for an attack.
        columns: name and (n,) values of each feature; one is in memory at a time.
    """
    best: Feature | None = None
    for name, values in columns:
        area = metrics.auroc(y, values)
        if area is None:
            return None
        direction: Literal["high", "low"] = "high" if area >= 0.5 else "low"
        if best is None or max(area, 1 - area) > best.auroc:
            best = Feature(name, direction, max(area, 1 - area))
    return best


def one_feature(feature: Feature, y: ArrayLike, values: NDArray[np.float32]) -> Report:
    """The trivial baseline of one ``feature``, chosen on other records, on labels (n,) and its values, (n,)."""
    score = feature.score(values)
    return {
        "feature": feature.name,
        "direction": feature.direction,
        "auroc_val": feature.auroc,
        "auroc": metrics.auroc(y, score),
        "tpr_at_fpr_1pct": metrics.tpr_at_fpr(y, score, 0.01),
        "tpr_at_fpr_01pct": metrics.tpr_at_fpr(y, score, 0.001),
    }

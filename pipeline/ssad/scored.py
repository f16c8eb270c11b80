"""Rows that a model has scored, and metrics of the scores by their labels."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.base.errors import TrainingError
from pipeline.evaluation import metrics


class Seen(NamedTuple):
    """Rows that were scored, in the order of their positions, (m,) each.

    Attributes:
        rows: their positions.
        score: higher = more anomalous.
        y: 0 normal, 1 anomalous, -1 unknown.
        value: input of the objective.
    """

    rows: NDArray[np.int64]
    score: NDArray[np.float64]
    y: NDArray[np.int8]
    value: NDArray[np.float64]

    def ranking(self) -> dict[str, float]:
        """AUROC and AUPRC over the rows that have a label, where both labels occur."""
        known = self.y >= 0
        y, score = self.y[known], self.score[known]
        values = {"auroc": metrics.auroc(y, score), "auprc": metrics.auprc(y, score)}
        return {name: value for name, value in values.items() if value is not None}

    def decided(self, threshold: float) -> dict[str, float | None]:
        """Counts and rates where a score above ``threshold`` is an alarm, over the rows that have a label."""
        known = self.y >= 0
        return metrics.test_metrics(self.y[known], self.score[known] > threshold, threshold)


def per_row(values: Any, rows: int, who: str) -> Tensor:
    """``values``, if they are one number for each row, (B,).

    Raises:
        TrainingError: they are not.
    """
    if not isinstance(values, Tensor) or values.shape != (rows,) or not values.is_floating_point():
        given = f"{values.dtype} {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        raise TrainingError(f"{who}: needs one floating-point number for each of {rows} rows, ({rows},), gave {given}")
    return values

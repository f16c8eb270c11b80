"""The plan of a training: score, objective, updates and optimiser."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.models.training.updates import Updates
from pipeline.ssad.objectives import Objective, PerRow


@dataclass(frozen=True)
class Plan:
    """What is trained, and by which rules.

    Attributes:
        score: model, x -> (B,), higher = more anomalous.
        value: model, x -> (B,), input of the objective.
        objective: values, confidence -> the loss.
        updates: None for none.
        optimizer: parameters -> whatever Lightning's ``configure_optimizers`` may return; None: the model's own, if
            it has one, else Adam at 1e-3 as in SSAD.
        initial: gives the (n,) confidence at the start from the positions of the rows.
        thresholds: at which test rows are judged, beside those of the updates.
        fingerprint: of all this.
    """

    score: PerRow
    value: PerRow
    objective: Objective
    updates: Updates | None
    optimizer: Callable[[Any], Any] | None
    initial: Callable[[NDArray[np.int64]], NDArray[np.float32]]
    thresholds: tuple[float, ...]
    fingerprint: str

"""Confidence in [-1, 1] for each record: +1 surely benign, -1 surely anomalous, 0 unknown.

The weight that a record has in a confidence-aware loss, as in RADON (Najari, Berlemont, Lefebvre, Duffner, Garcia,
"RADON: Robust Autoencoder for Unsupervised Anomaly Detection", SIN 2021).
"""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.thresholds import Thresholds
from pipeline.thresholds.base import without_nan

Confidence = Callable[[ArrayLike, Thresholds], NDArray[np.float32]]


def initial(y: ArrayLike, disagreeing: ArrayLike) -> NDArray[np.float32]:
    """(n,) confidence before any training: what the labels say, and 0 where they contradict each other.

    Args:
        y: (n,) labels, 1 for an attack.
        disagreeing: (n,) mask of the records of which a duplicate bears the other label.
    """
    labels = np.asarray(y)
    return np.where(np.asarray(disagreeing, dtype=bool), 0, np.where(labels == 0, 1, -1)).astype(np.float32)


def binary(scores: ArrayLike, thresholds: Thresholds) -> NDArray[np.float32]:
    """(n,) confidence that is the verdict: +1 benign, 0 unknown, -1 anomalous.

    Args:
        scores: (n,), higher = more anomalous.
        thresholds: where benign ends and anomalous begins.

    Raises:
        DataError: if a score is NaN.
    """
    values = without_nan(scores, "binary confidence")
    return np.where(values <= thresholds.low, 1, np.where(values > thresholds.high, -1, 0)).astype(np.float32)


CONFIDENCES: Final[Mapping[str, Confidence]] = {
    "binary": binary,
}

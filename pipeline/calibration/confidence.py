"""Confidence in [-1, 1] for each record: +1 surely benign, -1 surely anomalous, 0 unknown.

The weight that a record has in a confidence-aware loss, as in RADON (Najari, Berlemont, Lefebvre, Duffner, Garcia,
"RADON: Robust Autoencoder for Unsupervised Anomaly Detection", SIN 2021).

To add one: a class whose settings are its constructor's arguments and whose instances are called with scores and
thresholds, and a line in the registry. ``tests/contracts/test_confidence.py`` then tests it.
"""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.base.errors import DataError
from pipeline.calibration.thresholds.base import Thresholds, without_nan


class Confidence(Protocol):
    """Built from settings, then called with (n,) scores and their thresholds: how sure each verdict is."""

    def __call__(self, scores: ArrayLike, thresholds: Thresholds) -> NDArray[np.float32]:
        """(n,) confidence in [-1, 1] that never rises with the score: above 0 where benign, below 0 where anomalous.

        Raises:
            DataError: if a score is NaN.
        """
        ...


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


class Binary:
    """The verdict: +1 benign, 0 unknown, -1 anomalous, as in RADON."""

    def __call__(self, scores: ArrayLike, thresholds: Thresholds) -> NDArray[np.float32]:
        """(n,) confidence of ``scores``, (n,); errors as in ``binary``."""
        return binary(scores, thresholds)

    def __repr__(self) -> str:
        return "Binary()"


class Ecdf:
    """The rank of a score within its verdict, so that certainty fades towards a threshold::

        benign       1/2 + 1/2 share of the benign scores that are at least as high      from 1 down to 1/2
        unknown      1/2 - share of the unknown scores below, a tie counting one half    between 1/2 and -1/2, about 0
        anomalous   -1/2 - 1/2 share of the anomalous scores that are at most as high    from -1/2 down to -1

    The most benign record has 1 and the most anomalous one -1, whatever unit the scores are in. GRAnD weighs the
    unknown records by their empirical distribution, and so does this; unlike SSAD 0.1.3 it ranks them among all records
    and not among those of a batch. No sure verdict falls below 1/2: a benign record in the middle of its kind is nearly
    as sure as the first. So the verdict can be read from the confidence, and GRAnD's weight of an unknown record is 1/2
    minus it.

    Source: Najari, Berlemont, Lefebvre, Duffner, Garcia, GRAnD (AINA 2022), the loss with eCDF(F_U).
    """

    def __call__(self, scores: ArrayLike, thresholds: Thresholds) -> NDArray[np.float32]:
        """(n,) confidence of ``scores``, (n,), each ranked among all of them.

        Raises:
            DataError: if a score is NaN.
        """
        values = without_nan(scores, "ecdf confidence")
        benign, anomalous = values <= thresholds.low, values > thresholds.high
        unknown = ~(benign | anomalous)
        confidence = np.empty(values.shape, dtype=np.float32)
        confidence[benign] = 0.5 + 0.5 * (1 - _below(values[benign]))
        confidence[unknown] = 0.5 - (_below(values[unknown]) + _up_to(values[unknown])) / 2
        confidence[anomalous] = -0.5 - 0.5 * _up_to(values[anomalous])
        return confidence

    def __repr__(self) -> str:
        return "Ecdf()"


class Hybrid:
    """``weight`` times ``Ecdf``, the rest ``Binary``.

    Args:
        weight: of the empirical distribution, 0 to 1.

    Raises:
        ValueError: if ``weight`` is outside its limits.
    """

    def __init__(self, weight: float = 0.5) -> None:
        if not 0 <= weight <= 1:
            raise ValueError(f"needs 0 <= weight <= 1, given weight={weight}")
        self.weight = weight

    def __call__(self, scores: ArrayLike, thresholds: Thresholds) -> NDArray[np.float32]:
        """(n,) confidence of ``scores``, (n,), each ranked among all of them.

        Raises:
            DataError: if a score is NaN.
        """
        mixed = self.weight * Ecdf()(scores, thresholds) + (1 - self.weight) * binary(scores, thresholds)
        return mixed.astype(np.float32)

    def __repr__(self) -> str:
        return f"Hybrid(weight={self.weight})"


CONFIDENCES: Final[Mapping[str, Callable[..., Confidence]]] = {
    "binary": Binary,
    "ecdf": Ecdf,
    "hybrid": Hybrid,
}


def matched(
    record_id: NDArray[np.uint64], given_id: NDArray[np.uint64], given_confidence: ArrayLike
) -> NDArray[np.float32]:
    """(n,) confidence that someone gave for each of these records, in their order.

    Args:
        record_id: (n,) of the records, each once.
        given_id: (m,) of the records that a confidence was given for, in any order; those of other records are ignored.
        given_confidence: (m,) in [-1, 1].

    Raises:
        DataError: if a record has none, an id comes twice, or a value is outside [-1, 1]; it says how many, and names
            the first three.
    """
    values = np.asarray(given_confidence, dtype=np.float64)
    if values.shape != given_id.shape:
        raise DataError(f"given confidence: {given_id.size:,} record_ids, but {values.size:,} values")
    order = np.argsort(given_id, kind="stable")
    ids = given_id[order]
    _refuse(given_id[np.sort(order[1:][ids[1:] == ids[:-1]])], "given twice", "give each record_id once")
    _refuse(record_id[~np.isin(record_id, given_id)], "without a confidence", "give one for each record; 0 is unknown")
    _refuse(given_id[~(np.abs(values) <= 1)], "with a confidence outside [-1, 1] or NaN", "mend the values")
    return values[order][np.searchsorted(ids, record_id)].astype(np.float32)


def _below(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) share of the values that are lower than each."""
    return np.searchsorted(np.sort(values), values, side="left") / max(values.size, 1)


def _up_to(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) share of the values that are at most as high as each."""
    return np.searchsorted(np.sort(values), values, side="right") / max(values.size, 1)


def _refuse(ids: NDArray[np.uint64], what: str, remedy: str) -> None:
    if ids.size:
        first = ", ".join(f"{value:016x}" for value in ids[:3].tolist())
        more = " ..." if ids.size > 3 else ""
        raise DataError(f"given confidence: {ids.size:,} record_ids {what}: {first}{more}; {remedy}")

"""Rows in bins of each feature."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BINS: Final = 255  # a byte has room for one more, which the library keeps for what is missing
LARGEST: Final = 1e300  # a threshold


class Binned(NamedTuple):
    """Rows in bins.

    Attributes:
        codes: (n, F) bin of each row, by columns in memory.
        thresholds: F vectors: bin b of a feature holds what is above threshold b - 1 and not above threshold b.
    """

    codes: NDArray[np.uint8]
    thresholds: Sequence[Floats]

    def part(self, rows: NDArray[Any]) -> "Binned":
        """Some of the rows: their positions or a mask."""
        return Binned(np.asfortranarray(self.codes[rows]), self.thresholds)


def binned(x: NDArray[np.float32]) -> Binned:
    """Rows, (n, F), in at most ``BINS`` bins of each feature by its quantiles."""
    codes, every = np.empty(x.shape, np.uint8, order="F"), []
    for feature in range(x.shape[1]):
        column = np.ascontiguousarray(x[:, feature])
        order = np.argsort(column)
        own = column[order].astype(np.float64)
        thresholds = _thresholds(own)
        ends = np.concatenate([np.searchsorted(own, thresholds, side="right"), [len(own)]])
        codes[order, feature] = np.repeat(np.arange(len(ends), dtype=np.uint8), np.diff(ends, prepend=0))
        every.append(thresholds)
    return Binned(codes, every)


def _thresholds(column: Floats) -> Floats:
    """Between all values of a sorted column, (n,); if they are many, at its quantiles. These are the library's."""
    distinct = column[np.concatenate([[True], column[1:] != column[:-1]])]
    if len(distinct) <= BINS:
        between = (distinct[:-1] + distinct[1:]) / 2
    else:
        lower, upper = _places(len(column))
        between = np.unique(column[upper] - (column[upper] - column[lower]) / 2)
    found: Floats = np.minimum(between, LARGEST)
    return found


@lru_cache(maxsize=64)
def _places(n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The two places in a sorted column, (n,), between which each quantile lies; often they are the same."""
    shares = np.linspace(0, 100, BINS + 1)[1:-1]
    places = np.percentile(np.arange(n), shares, method="averaged_inverted_cdf")
    return np.floor(places).astype(np.int64), np.ceil(places).astype(np.int64)

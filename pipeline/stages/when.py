"""When records were captured, as far as that tells different times apart."""

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.tables import values_by_id

Place = tuple[NDArray[np.float64], float]
"""(n,) when each record was captured, and how far apart two of them are at different times."""


def when(record_id: NDArray[np.uint64], apart: float) -> Place | None:
    """By their times where all are known, else by their days; None where these are all the same or not known."""
    time = values_by_id(paths.RECORDS, "timestamp", record_id).astype("datetime64[us]")
    if len(time) and not np.isnat(time).any() and time.min() < time.max():
        seconds = (time - time.min()).astype(np.float64) / 1e6
        return seconds, apart * float(seconds.max())
    days = values_by_id(paths.RECORDS, "day", record_id).astype(str)
    names, number = np.unique(days, return_inverse=True)
    return (number.astype(np.float64), 0.0) if len(names) > 1 else None

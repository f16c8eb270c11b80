"""How regularly records of one pair of hosts and one port arrive: a program that calls home does so by the clock."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

GAPS: Final = 10  # the last ones that count
PAUSE: Final = 3600.0  # seconds; after a longer gap all begins anew, so that a night is no gap
LEAST_GAPS: Final = 3  # fewer say nothing of regularity
IRREGULAR: Final = 1.0  # coefficient of variation where too few gaps are known: that of arrivals by chance
_SECOND: Final = 1e6


def regularity(time: Ints, at: Ints, start: Ints, most: int) -> tuple[Ints, Floats, Floats]:
    """Of the last gaps before each event, (n,) each: how many, their mean in seconds, their coefficient of variation.

    Args:
        time: (n,) microseconds, of events sorted by pair, port and time.
        at: (n,) place of each event in the order of time.
        start: (n,) where the pair and port of each event begin.
        most: records that are remembered; a gap that began with an older one is not known.
    """
    n = np.arange(len(time))
    gap = np.diff(time, prepend=0) / _SECOND
    count, total, squares = np.zeros(len(time), np.int64), np.zeros(len(time)), np.zeros(len(time))
    seen = np.ones(len(time), bool)
    for back in range(1, GAPS + 1):
        earlier, length = np.maximum(n - back, 0), gap[np.maximum(n - back + 1, 0)]
        seen &= (n - back >= start) & (at[earlier] >= at - most) & (length <= PAUSE)
        value = np.where(seen, length, 0.0)
        count, total, squares = count + seen, total + value, squares + value**2
    some = np.maximum(count, 1)
    mean = total / some
    spread = np.sqrt(np.maximum(squares / some - mean**2, 0.0))
    varies = np.divide(spread, mean, out=np.zeros(len(time)), where=mean > 0)
    return count, mean, np.where(count >= LEAST_GAPS, varies, IRREGULAR)

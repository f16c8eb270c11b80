"""A function of many rows, computed some rows at a time."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[Any]  # float32, or float64 if the model is

ROWS_AT_ONCE: Final = (
    8192  # in the stages and in a registered model alike, so that both give the same scores bit for bit
)
BLOCK: Final = 128  # rows that fit into a CPU's cache on their way through a model


def in_parts(function: Callable[..., Rows], *given: Rows) -> Rows:
    """``function`` of arrays of n rows each, computed on ``BLOCK`` rows at a time.

    Every part has the same shape, and the last one is filled up, because a matrix product of few rows rounds
    differently from one of many. So the result of a row seldom depends on its neighbours, not even in the last bits.
    What overflows becomes infinite, or no number, and nothing warns of it.
    """
    n = len(given[0])
    with np.errstate(all="ignore"):
        parts = [
            function(*(_filled(each[start : start + BLOCK]) for each in given))[: n - start]
            for start in range(0, max(n, 1), BLOCK)
        ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _filled(x: Rows) -> Rows:
    """x, (n, ...), filled up to ``BLOCK`` rows by copies of its first row; an empty x stays empty."""
    missing = BLOCK - len(x)
    return np.concatenate([x, np.repeat(x[:1], missing, axis=0)]) if 0 < len(x) < BLOCK else x


def scored_where_known(score: Callable[[Rows], Rows], x: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n,) scores of the rows of x, (n, F), NaN for a row that holds a NaN.

    Args:
        score: (m, F) to (m,); it is given the other rows, in their order.
        x: (n, F).
    """
    found = np.full(len(x), np.nan, np.float32)
    known = ~np.isnan(x).any(axis=1)
    if known.any():
        found[known] = score(x[known])
    return found

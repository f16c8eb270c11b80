"""Records that nothing like them, at another time, bears witness to.

A port scan is a dense cluster, and every density learns it. But it lasts an hour, and what a network does every day
comes back on other days. So the records near a benign one also lie at other times, and those near a hidden scan do not.

For each record this compares two distances in standardised features: that to its k-th nearest record, d, and that to
its k-th nearest record at another time, w. A record is doubted where w > ratio max(d, median of d / 2): it has company,
but only at its own time. A lone strange record has large d and w, and is not doubted. The median keeps copies, where d
is 0, from being doubted for a small w. Then a record is doubted, too, if most of its k nearest ones are.

The ratio of two nearest-neighbour distances estimates a ratio of densities: Loftsgaarden, Quesenberry, "A Nonparametric
Estimate of a Multivariate Density Function", 1965.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

REFERENCES: Final = 10_000  # rows at most that others are compared with; the time is linear in them
ENTRIES: Final = 2**22  # of a table of distances
SPREADS: Final = 3  # how often the doubt may pass on to a neighbour


def unwitnessed(
    x: Floats, place: NDArray[np.float64], reach: float, neighbours: int, ratio: float, seed: int = 0
) -> NDArray[np.bool_]:
    """(n,) mask of the records whose like occur at their own time only.

    Args:
        x: (n, F) features.
        place: (n,) when each record was captured: a time, or the number of a day.
        reach: records whose ``place`` differs by more are at different times.
        neighbours: k.
        ratio: above which a record is doubted.
        seed: of the ``REFERENCES`` that are drawn from more records.

    A record that has fewer than k others at other times is not doubted.
    """
    reference = np.sort(np.random.default_rng(seed).permutation(len(x))[:REFERENCES])
    if len(reference) <= neighbours:
        return np.zeros(len(x), dtype=bool)
    near, apart, nearest = _distances(_standardised(x), place, reach, neighbours, reference)
    doubted = np.isfinite(apart) & (apart > ratio * np.maximum(near, np.median(near) / 2))
    for _ in range(SPREADS):
        doubted |= doubted[nearest].mean(axis=1) > 0.5
    return doubted


def _distances(
    z: Floats, place: NDArray[np.float64], reach: float, k: int, reference: NDArray[np.intp]
) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """(n,) distances to the k-th nearest reference, and to the k-th at another time; (n, k) the nearest ones."""
    near, apart = (np.empty(len(z), dtype=np.float32) for _ in range(2))
    nearest = np.empty((len(z), k), dtype=np.intp)
    others, lengths = z[reference], np.square(z[reference]).sum(axis=1)
    for start in range(0, len(z), step := max(1, ENTRIES // len(reference))):
        rows = np.arange(start, min(start + step, len(z)))
        squared = np.maximum(lengths - 2 * z[rows] @ others.T + np.square(z[rows]).sum(axis=1)[:, None], 0)
        squared[rows[:, None] == reference] = np.inf  # a record is no company of its own
        at = np.argpartition(squared, k - 1, axis=1)[:, :k]
        nearest[rows] = reference[at]
        near[rows] = np.sqrt(np.take_along_axis(squared, at, axis=1).max(axis=1))
        squared[np.abs(place[rows, None] - place[reference]) <= reach] = np.inf
        apart[rows] = np.sqrt(np.partition(squared, k - 1, axis=1)[:, k - 1])
    return near, apart, nearest


def _standardised(x: Floats) -> Floats:
    scale = x.std(axis=0)
    z: Floats = ((x - x.mean(axis=0)) / np.where(scale > 0, scale, 1)).astype(np.float32)
    return z

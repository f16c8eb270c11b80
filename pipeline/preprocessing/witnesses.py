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

import numpy as np
from numpy.typing import NDArray

from pipeline.preprocessing.neighbours import Floats, Rows, references, spread, squared_distances


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
        seed: of the references that are drawn from many records; see ``pipeline.preprocessing.neighbours``.

    A record that has fewer than k others at other times is not doubted.
    """
    reference = references(len(x), seed)
    if len(reference) <= neighbours:
        return np.zeros(len(x), dtype=bool)
    near, apart, nearest = _distances(x, place, reach, neighbours, reference)
    return spread(np.isfinite(apart) & (apart > ratio * np.maximum(near, np.median(near) / 2)), nearest)


def _distances(
    x: Floats, place: NDArray[np.float64], reach: float, k: int, reference: Rows
) -> tuple[Floats, Floats, Rows]:
    """(n,) distances to the k-th nearest reference, and to the k-th at another time; (n, k) the nearest ones."""
    near, apart = (np.empty(len(x), dtype=np.float32) for _ in range(2))
    nearest = np.empty((len(x), k), dtype=np.intp)
    for rows, squared in squared_distances(x, reference):
        at = np.argpartition(squared, k - 1, axis=1)[:, :k]
        nearest[rows] = reference[at]
        near[rows] = np.sqrt(np.take_along_axis(squared, at, axis=1).max(axis=1))
        squared[np.abs(place[rows, None] - place[reference]) <= reach] = np.inf
        apart[rows] = np.sqrt(np.partition(squared, k - 1, axis=1)[:, k - 1])
    return near, apart, nearest

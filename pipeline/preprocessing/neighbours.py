"""The nearest records of each record, among a sample of them."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Rows = NDArray[np.intp]

REFERENCES: Final = 10_000  # rows at most that others are compared with; the time is linear in them
ENTRIES: Final = 2**22  # of a table of distances
SPREADS: Final = 3  # how often a doubt may pass on to a neighbour


def references(n: int, seed: int) -> Rows:
    """(r,) the rows, ascending, that all n are compared with; ``REFERENCES`` at most."""
    return np.sort(np.random.default_rng(seed).permutation(n)[:REFERENCES])


def squared_distances(x: Floats, reference: Rows) -> Iterator[tuple[Rows, Floats]]:
    """Some rows at a time, and their squared distances to the references in standardised features, (m, r).

    A record is infinitely far from itself, so that it is no company of its own.
    """
    z = _standardised(x)
    others, lengths = z[reference], np.square(z[reference]).sum(axis=1)
    for start in range(0, len(z), step := max(1, ENTRIES // len(reference))):
        rows = np.arange(start, min(start + step, len(z)))
        squared = np.maximum(lengths - 2 * z[rows] @ others.T + np.square(z[rows]).sum(axis=1)[:, None], 0)
        squared[rows[:, None] == reference] = np.inf
        yield rows, squared


def spread(doubted: NDArray[np.bool_], nearest: Rows) -> NDArray[np.bool_]:
    """(n,) the mask, and each record most of whose nearest ones, (n, k), are under it."""
    for _ in range(SPREADS):
        doubted = doubted | (doubted[nearest].mean(axis=1) > 0.5)
    return doubted


def _standardised(x: Floats) -> Floats:
    scale = x.std(axis=0)
    z: Floats = ((x - x.mean(axis=0)) / np.where(scale > 0, scale, 1)).astype(np.float32)
    return z

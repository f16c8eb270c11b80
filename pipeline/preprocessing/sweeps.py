"""Records of a sweep over ports: those like them go to a port each.

A service has one port, so benign records that are alike go to a few ports. A port scan sends the same few packets to
many ports. So for each record this counts the different ports of its k nearest records, by all features but the ports.
Where most of them differ, the record is doubted. Then a record is doubted, too, if most of its k nearest ones are.

The port of a client is drawn anew for each connection. An extractor that takes the answer for the beginning gives it as
the destination port. So all ports from ``EPHEMERAL`` on count as one. A scan of these alone is not found.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.preprocessing.neighbours import Floats, references, spread, squared_distances

EPHEMERAL: Final = 32_768  # where Linux begins to draw ports of clients; others begin later (RFC 6335: 49,152)
UNKNOWN: Final = -1  # a port that a record does not tell


def sweeping(x: Floats, port: NDArray[np.float64], neighbours: int, share: float, seed: int = 0) -> NDArray[np.bool_]:
    """(n,) mask of the records whose like go to a port each.

    Args:
        x: (n, F) features without the ports.
        port: (n,) destination ports, NaN where a record has none; all of these count as one.
        neighbours: k.
        share: of the k ports; a record is doubted where at least so many are different ones.
        seed: of the references that are drawn from many records; see ``pipeline.preprocessing.neighbours``.

    Fewer records than k + 1 are not doubted.
    """
    reference = references(len(x), seed)
    if len(reference) <= neighbours:
        return np.zeros(len(x), dtype=bool)
    nearest = np.empty((len(x), neighbours), dtype=np.intp)
    for rows, squared in squared_distances(x, reference):
        nearest[rows] = reference[np.argpartition(squared, neighbours - 1, axis=1)[:, :neighbours]]
    ports = np.sort(_services(port)[nearest], axis=1)
    different = 1 + (np.diff(ports, axis=1) != 0).sum(axis=1)
    return spread(different >= share * neighbours, nearest)


def _services(port: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,) ports; one number for all that a client draws, and one where there is none."""
    return np.where(np.isnan(port), UNKNOWN, np.minimum(port, EPHEMERAL)).astype(np.int64)

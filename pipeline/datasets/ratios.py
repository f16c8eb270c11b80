"""Ratios of sizes, for features that are computed from others."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def log_ratio(a: Floats, b: Floats) -> Floats:
    """log((a + 1) / (b + 1)), (n,) each: by how much one exceeds the other, at any size; negative ones count as 0."""
    ratio: Floats = np.log((np.maximum(a, 0) + 1) / (np.maximum(b, 0) + 1))
    return ratio

"""(x - mean) / scale, as it was fitted."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from pipeline.models.arrays.parts import Rows
from pipeline.models.arrays.stored import Stored


@dataclass(frozen=True)
class Standardise:
    """The map of ``pipeline.models.layers.Standardise``.

    Attributes:
        mean, scale: (F,).
    """

    mean: Rows
    scale: Rows

    @classmethod
    def of(cls, arrays: Stored, features: int) -> Self:
        """That of a model, from its part of the arrays."""
        return cls(arrays.floats("mean", features), arrays.floats("scale", features))

    def __call__(self, x: Rows) -> Rows:
        """Map (n, F) to (n, F)."""
        with np.errstate(all="ignore"):  # what overflows is infinitely far away
            mapped: Rows = (x - self.mean) / self.scale
        return mapped

    @property
    def ladj(self) -> Any:
        """Log |det| of the map, the same for every row."""
        return -np.log(self.scale).sum()

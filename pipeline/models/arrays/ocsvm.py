"""A fitted one-class support vector machine."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from pipeline.models.arrays.base import Form, squares
from pipeline.models.arrays.parts import Rows, in_parts
from pipeline.models.arrays.standardise import Standardise
from pipeline.models.arrays.stored import Stored


@dataclass(frozen=True)
class OCSVMForm(Form):
    """Rho - sum_i w_i exp(-gamma |x - s_i|^2).

    Attributes:
        standardise: the features.
        supports: (S, F) s.
        weights: (S,) w.
        gamma, rho: () each.
    """

    standardise: Standardise
    supports: Rows
    weights: Rows
    gamma: Rows
    rho: Rows

    @classmethod
    def of(cls, arrays: Stored, features: int) -> Self:
        """That of a fitted ``OCSVM``."""
        supports = arrays.floats("supports", None, features)
        return cls(
            Standardise.of(arrays.part("standardise"), features),
            supports,
            arrays.floats("weights", len(supports)),
            arrays.floats("gamma"),
            arrays.floats("rho"),
        )

    def scores(self, x: Rows) -> Rows:
        """How far outside, (n,) of (n, F)."""
        return in_parts(self._scores, x)

    def _scores(self, x: Rows) -> Rows:
        z = self.standardise(x)
        apart = z @ self.supports.T  # (B, S)
        apart *= -2
        apart += squares(z)[:, None]
        apart += self._lengths
        np.maximum(apart, 0, out=apart)
        apart *= -self.gamma
        scores: Rows = self.rho - np.exp(apart, out=apart) @ self.weights
        return scores

    @cached_property
    def _lengths(self) -> Rows:
        """(S,) squared lengths of the supports."""
        return squares(self.supports)

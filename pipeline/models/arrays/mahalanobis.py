"""A fitted Mahalanobis distance."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from pipeline.models.arrays.base import Form, squares
from pipeline.models.arrays.parts import Rows, in_parts
from pipeline.models.arrays.stored import Stored


@dataclass(frozen=True)
class MahalanobisForm(Form):
    """(x - mean)' covariance^-1 (x - mean).

    Attributes:
        mean: (F,).
        whitening: (F, F) W, of which W' W is the inverse of the covariance.
    """

    mean: Rows
    whitening: Rows

    @classmethod
    def of(cls, arrays: Stored, features: int) -> Self:
        """That of a fitted ``Mahalanobis``."""
        return cls(arrays.floats("mean", features), arrays.floats("whitening", features, features))

    def scores(self, x: Rows) -> Rows:
        """The squared distance, (n,) of (n, F)."""
        return in_parts(lambda part: squares(self._white(part)), x)

    @property
    def replaces_quickly(self) -> bool:
        """True."""
        return True

    def replaced(self, x: Rows, reference: Rows) -> Rows:
        """(n, F) scores if one entry alone is replaced.

        With whitened w = W (x - mean) and a step s in entry i it is |w|^2 + 2 s (W' w)_i + s^2 |W_i|^2.
        """
        return in_parts(
            lambda part, other: moved(self._white(part), other - part, self.whitening, self._lengths), x, reference
        )

    def terms(self, x: Rows) -> Rows:
        """d_i (covariance^-1 d)_i with d = x - mean, (n, F): their sum is the score, and one may be below 0.

        If d is 0 except in one feature, that feature has the whole sum; squared whitened entries would spread it over
        others (the partial decomposition of Alcala, Qin, "Analysis and Generalization of Fault Diagnosis Methods for
        Process Monitoring", 2011).
        """
        return in_parts(lambda part: (part - self.mean) * (self._white(part) @ self.whitening), x)

    def _white(self, x: Rows) -> Rows:
        white: Rows = (x - self.mean) @ self.whitening.T
        return white

    @cached_property
    def _lengths(self) -> Rows:
        """(F,) the squared length of each column of W."""
        return squares(self.whitening.T)


def moved(white: Rows, step: Rows, whitening: Rows, lengths: Rows) -> Rows:
    """(B, F) squared lengths of W z if one entry of z alone moves by its ``step``, (B, F).

    Args:
        white: (B, G) W z.
        step: (B, F).
        whitening: (G, F) W.
        lengths: (F,) squared lengths of the columns of W.
    """
    change = 2 * step * (white @ whitening) + step * step * lengths
    found: Rows = np.maximum(squares(white)[:, None] + change, 0)
    return found

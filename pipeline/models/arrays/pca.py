"""The reconstruction error of fitted principal components."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

from pipeline.models.arrays.base import Form, squares
from pipeline.models.arrays.mahalanobis import moved
from pipeline.models.arrays.parts import Rows, in_parts
from pipeline.models.arrays.standardise import Standardise
from pipeline.models.arrays.stored import Stored


@dataclass(frozen=True)
class PCAForm(Form):
    """Squared length of a standardised row along the minor components.

    Attributes:
        standardise: the features.
        minor: (M, F) the minor components.
    """

    standardise: Standardise
    minor: Rows

    @classmethod
    def of(cls, arrays: Stored, features: int) -> Self:
        """That of a fitted ``PCA``."""
        return cls(Standardise.of(arrays.part("standardise"), features), arrays.floats("minor", None, features))

    def scores(self, x: Rows) -> Rows:
        """Squared error of the reconstruction, (n,) of (n, F)."""
        return in_parts(lambda part: squares(self.standardise(part) @ self.minor.T), x)

    @property
    def replaces_quickly(self) -> bool:
        """True."""
        return True

    def replaced(self, x: Rows, reference: Rows) -> Rows:
        """(n, F) scores if one entry alone is replaced; as in ``MahalanobisForm.replaced``."""
        return in_parts(self._replaced, x, reference)

    def terms(self, x: Rows) -> Rows:
        """z_i e_i with the error e = z - V V' z of the reconstruction, (n, F): their sum is the score.

        e is orthogonal to V V' z, so that e'e = z'e. The squared e_i have the same sum but no part of z: of one minor
        component they are in the same proportions for every record. See ``MahalanobisForm.terms``.
        """
        return in_parts(self._terms, x)

    def _terms(self, x: Rows) -> Rows:
        z = self.standardise(x)
        terms: Rows = z * (z @ self.minor.T @ self.minor)
        return terms

    def _replaced(self, x: Rows, reference: Rows) -> Rows:
        z, to = self.standardise(x), self.standardise(reference)
        return moved(z @ self.minor.T, to - z, self.minor, self._lengths)

    @cached_property
    def _lengths(self) -> Rows:
        """(F,) the squared length of each column of the minor components."""
        return squares(self.minor.T)

"""A detector that was fitted without the strangest rows."""

from dataclasses import dataclass
from typing import Self

from pipeline.models.arrays.base import Form, Places
from pipeline.models.arrays.parts import Rows
from pipeline.models.arrays.stored import Stored


@dataclass(frozen=True)
class PeeledForm(Form):
    """The detector of the rows that were left.

    Attributes:
        inner: the detector.
        kept: (m,) where the rows that were left stood.
    """

    inner: Form
    kept: Places

    @classmethod
    def of(cls, arrays: Stored, inner: Form) -> Self:
        """That of a fitted ``Peeled`` with this detector."""
        return cls(inner, arrays.whole("kept", None))

    def scores(self, x: Rows) -> Rows:
        """Those of the detector, (n,) of (n, F)."""
        return self.inner.scores(x)

    @property
    def replaces_quickly(self) -> bool:
        """As the detector does."""
        return self.inner.replaces_quickly

    def replaced(self, x: Rows, reference: Rows) -> Rows:
        """Those of the detector, (n, F)."""
        return self.inner.replaced(x, reference)

    def terms(self, x: Rows) -> Rows | None:
        """Those of the detector, (n, F); None if it has none."""
        return self.inner.terms(x)

    def nearest(self, x: Rows) -> Places | None:
        """(n, k) positions, among all rows that were given, of those that the detector finds nearest."""
        rows = self.inner.nearest(x)
        return None if rows is None else self.kept[rows]

"""The contract of a form: a fitted detector as arrays, and what it says of rows."""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from pipeline.models.arrays.parts import ROWS_AT_ONCE, Rows

Places = NDArray[np.int64]


class Form(ABC):
    """A fitted detector. Each row is scored on its own.

    A subclass implements ``scores``. Its method ``of`` makes it of stored arrays, given the settings of the detector
    that the score depends on.
    """

    @abstractmethod
    def scores(self, x: Rows) -> Rows:
        """(n,) of (n, F): higher is more anomalous."""

    @property
    def form(self) -> "Form":
        """Itself."""
        return self

    def raw(self, x: Rows) -> Rows:
        """(n, M) scores of the M parts of the detector, each in its own unit, of x, (n, F)."""
        return self.scores(x)[:, None]

    def of_raw(self, raw: Rows) -> Rows:
        """(n,) scores of rows whose parts have the scores ``raw``, (n, M)."""
        return raw[:, 0]

    def terms(self, x: Rows) -> Rows | None:
        """What each entry of x, (n, F), adds to the score, (n, F); None if the score is no sum over entries."""
        return None

    def nearest(self, x: Rows) -> Places | None:
        """(n, k) positions of the fitted rows that are nearest to x, (n, F); None for a form that keeps no rows."""
        return None

    @property
    def replaces_quickly(self) -> bool:
        """Whether ``replaced`` costs a few scores of each row, however many entries it has."""
        return False

    def replaced(self, x: Rows, reference: Rows) -> Rows:
        """(n, F) score of each row of x, (n, F), if one entry alone takes its value in ``reference``, (n, F).

        Here every such row is scored. A form that knows a shorter way takes it.
        """
        scores = self.scores(x)
        found = np.repeat(scores[:, None], x.shape[1], axis=1)
        changes = np.argwhere(x != reference)
        for start in range(0, len(changes), ROWS_AT_ONCE):
            row, entry = changes[start : start + ROWS_AT_ONCE].T
            changed = x[row]
            changed[np.arange(len(row)), entry] = reference[row, entry]
            found[row, entry] = self.scores(changed)
        return found


def squares(values: Rows) -> Rows:
    """The sums of squares over the last dimension."""
    found: Rows = np.einsum("...f,...f->...", values, values)
    return found

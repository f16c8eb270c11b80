"""Several fitted detectors with one score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np

from pipeline.calibration.surprisal import KNOTS, Surprisal
from pipeline.models.arrays.base import Form, Places
from pipeline.models.arrays.parts import Rows
from pipeline.models.arrays.stored import Stored

Members = Mapping[str, Mapping[str, Any]]  # name -> settings

USUAL: Final[Members] = {"knn": {"neighbours": 1}, "gmm": {}}  # of ``Ensemble``
ROBUST: Final[Members] = {"isolation_forest": {}, "peeled": {"detector": "gmm"}}  # of ``Robust``


@dataclass(frozen=True)
class EnsembleForm(Form):
    """Mean surprise of the members.

    Attributes:
        members: M detectors.
        tails: of the scores of each, by rows that it has not seen.
    """

    members: Sequence[Form]
    tails: Sequence[Surprisal]

    @classmethod
    def of(cls, arrays: Stored, members: Mapping[str, Form]) -> Self:
        """That of a fitted ``Ensemble`` with these members."""
        knots, surprises = (arrays.floats(name, len(members), KNOTS) for name in ("knots", "surprises"))
        above, below = (arrays.floats(name, len(members)) for name in ("above", "below"))
        rows = zip(knots.astype(np.float64), surprises.astype(np.float64), above.tolist(), below.tolist(), strict=True)
        return cls(tuple(members.values()), tuple(Surprisal(*row) for row in rows))

    def scores(self, x: Rows) -> Rows:
        """Mean surprise in nats, (n,) of (n, F)."""
        return self.of_raw(self.raw(x))

    def raw(self, x: Rows) -> Rows:
        """(n, M) scores of the members."""
        return np.stack([member.scores(x) for member in self.members], axis=1)

    def of_raw(self, raw: Rows) -> Rows:
        """(n,) mean surprise of rows whose scores by the members are ``raw``, (n, M)."""
        return self._mean([*raw.T])

    @property
    def replaces_quickly(self) -> bool:
        """As all members do."""
        return all(member.replaces_quickly for member in self.members)

    def replaced(self, x: Rows, reference: Rows) -> Rows:
        """(n, F) mean surprise if one entry alone is replaced."""
        return self._mean([member.replaced(x, reference) for member in self.members])

    def nearest(self, x: Rows) -> Places | None:
        """That of the first member that has any."""
        found = (member.nearest(x) for member in self.members)
        return next((rows for rows in found if rows is not None), None)

    def _mean(self, scores: Sequence[Rows]) -> Rows:
        """(...) mean surprise of M arrays of scores, (...) each."""
        with np.errstate(all="ignore"):
            surprises = [tail.surprise(each).astype(each.dtype) for tail, each in zip(self.tails, scores, strict=True)]
            mean: Rows = np.stack(surprises).mean(0)
        return mean

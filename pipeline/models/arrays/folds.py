"""K fitted detectors, one for each fold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from pipeline.calibration.cross_conformal import route
from pipeline.models.arrays.base import Form, Places
from pipeline.models.arrays.parts import Rows
from pipeline.models.arrays.stored import Stored


@dataclass(frozen=True)
class FoldsForm(Form):
    """A row is scored by the detector of its own fold.

    Attributes:
        models: K detectors of one kind.
        fold: (n,) of the benign rows that they were fitted on, in their order.
        seed: of the hash that assigns a row to a fold.
    """

    models: Sequence[Form]
    fold: Places
    seed: int = 0

    @classmethod
    def of(cls, arrays: Stored, make: Callable[[Stored], Form], number: int, seed: int) -> Self:
        """That of fitted ``Folds``, whose K detectors ``make`` makes."""
        if number < 1:
            raise ValueError(f"{number} folds")
        models = tuple(make(arrays.part(f"models.{k}")) for k in range(number))
        return cls(models, arrays.whole("fold", None), seed)

    def scores(self, x: Rows) -> Rows:
        """(n,) of (n, Z): each row by the model of its fold."""
        return self.by_fold(x, self.route(x))

    def by_fold(self, x: Rows, fold: Places) -> Rows:
        """(n,) scores of x, (n, Z), each by the model of its ``fold``, (n,)."""
        return self._required(lambda k, part: self.models[k].scores(part), fold, x)

    def raw(self, x: Rows) -> Rows:
        """(n, M) scores of the parts of the model of each row's fold."""
        return self._required(lambda k, part: self.models[k].raw(part), self.route(x), x)

    @property
    def replaces_quickly(self) -> bool:
        """As the models do."""
        return self.models[0].replaces_quickly

    def replaced(self, x: Rows, reference: Rows) -> Rows:
        """(n, Z) scores if one entry alone is replaced, by the model that scores the row as it is."""
        return self._required(lambda k, *both: self.models[k].replaced(*both), self.route(x), x, reference)

    def terms(self, x: Rows) -> Rows | None:
        """(n, Z) terms of the model of each row's fold."""
        return self._by_model(lambda k, part: self.models[k].terms(part), self.route(x), x)

    def nearest(self, x: Rows) -> Places | None:
        """(n, k) positions, among all benign rows, of those that the model of each row's fold finds nearest."""

        def found(k: int, part: Rows) -> Places | None:
            rows = self.models[k].nearest(part)
            return None if rows is None else np.flatnonzero(self.fold != k)[rows]

        return self._by_model(found, self.route(x), x)

    def route(self, x: Rows) -> Places:
        """(n,) fold of each row of x, (n, Z)."""
        return route(x, len(self.models), self.seed)

    def _required(self, function: Callable[..., Rows], fold: Places, *given: Rows) -> Rows:
        found = self._by_model(function, fold, *given)
        assert found is not None
        return found

    def _by_model(self, function: Callable[..., Rows | None], fold: Places, *given: Rows) -> Rows | None:
        """The results of ``function``, which takes a fold and its rows, for n rows, in their order."""
        n, joined = len(fold), None
        for k in range(len(self.models)):
            rows = np.flatnonzero(fold == k)
            if not len(rows) and (k or n):
                continue
            part = function(k, *(each[rows] for each in given))
            if part is None:
                return None
            joined = np.empty((n, *part.shape[1:]), part.dtype) if joined is None else joined
            joined[rows] = part
        return joined

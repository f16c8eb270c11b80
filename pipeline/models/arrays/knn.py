"""The distance to the nearest of fitted rows."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal, Protocol, Self

import numpy as np

from pipeline.models.arrays.base import Form, Places, squares
from pipeline.models.arrays.neighbours import Search
from pipeline.models.arrays.parts import Rows, in_parts
from pipeline.models.arrays.standardise import Standardise
from pipeline.models.arrays.stored import Stored

POOL: Final = 16  # references that are near a row, from which ``replaced`` takes distances


class Searching(Protocol):
    """Finds the nearest references."""

    def nearest(self, z: Rows, k: int) -> Places:
        """(n, k) positions of the references that are nearest to each row of z, (n, F), the nearest first."""
        ...


@dataclass(frozen=True)
class KNNForm(Form):
    """The distance to the k-th nearest reference, or the mean distance to the k nearest.

    Attributes:
        standardise: the features.
        reference: (R, F) rows as distances are taken between them.
        rows: (R,) where they stood among the rows that were fitted.
        search: finds the nearest of them.
        whitening: (F, F); None without.
        neighbours, reduce: settings.
    """

    standardise: Standardise
    reference: Rows
    rows: Places
    search: Searching = field(repr=False)
    whitening: Rows | None
    neighbours: int
    reduce: Literal["largest", "mean"]

    @classmethod
    def of(
        cls,
        arrays: Stored,
        features: int,
        *,
        neighbours: int = 5,
        reduce: Literal["largest", "mean"] = "largest",
        metric: Literal["standardised", "whitened"] = "standardised",
        search: Callable[[Rows, Places], Searching] = Search,
    ) -> Self:
        """That of a fitted ``KNN``; ``search`` makes what finds the nearest of references in cells of these sizes."""
        standardise = Standardise.of(arrays.part("standardise"), features)
        whitening = arrays.floats("whitening", features, features) if metric == "whitened" else None
        reference, sizes = arrays.floats("reference", None, features), arrays.whole("sizes", None)
        rows = arrays.whole("rows", len(reference))
        if sizes.min(initial=1) < 1 or sizes.sum() != len(reference) or len(reference) < neighbours:
            raise ValueError(f"{len(reference)} references are not in cells, or fewer than {neighbours} neighbours")
        found = search(reference, sizes)
        return cls(standardise, reference, rows, found, whitening, neighbours, reduce)

    def scores(self, x: Rows) -> Rows:
        """Distance in standard deviations, (n,) of (n, F). The search is faster the more rows it is given."""
        return self._of_neighbours(self._score, x)

    def terms(self, x: Rows) -> Rows:
        """Squared differences from the neighbours, divided by the distance, (n, F): their sum is the score.

        d = sum over i of (z_i - r_i)^2 / d for a distance d; the mean of several is the sum of their means.
        """
        return self._of_neighbours(self._terms, x)

    def nearest(self, x: Rows) -> Places:
        """(n, k) positions of the fitted rows that are nearest to x, (n, F), the nearest first."""
        found: Places = self.rows[self.search.nearest(self._mapped(x), self.neighbours)]
        return found

    @property
    def replaces_quickly(self) -> bool:
        """True."""
        return True

    def replaced(self, x: Rows, reference: Rows) -> Rows:
        """(n, F) scores if one entry alone is replaced: distances from the rows that may then be the nearest.

        These are the ``POOL`` nearest of x, and as many of ``reference``. So a score may be too high, where another row
        would be nearer still, but never too low.
        """
        most = min(max(POOL, self.neighbours), len(self.reference))
        both = self.search.nearest(self._mapped(np.concatenate([x, reference])), most)  # costs less than two searches
        pool = np.concatenate([both[: len(x)], both[len(x) :]], axis=1)
        return in_parts(self._replaced, x, reference, pool)

    def _mapped(self, x: Rows) -> Rows:
        return mapped(x, self.standardise, self.whitening)

    def _of_neighbours(self, function: Callable[[Rows], Rows], x: Rows) -> Rows:
        """``function`` of how x, (n, F), differs from its neighbours, (B, k, F)."""
        z = self._mapped(x)
        nearest = self.search.nearest(z, self.neighbours)
        return in_parts(lambda part, near: function(part[:, None] - self.reference[near]), z, nearest)

    def _score(self, apart: Rows) -> Rows:
        return self._reduced(np.sqrt(squares(apart)))

    def _reduced(self, distances: Rows) -> Rows:
        """The score of the distances of the k nearest, (B, k, ...)."""
        reduced: Rows = distances.max(1) if self.reduce == "largest" else distances.mean(1)
        return reduced

    def _terms(self, apart: Rows) -> Rows:
        distances = np.sqrt(squares(apart))[..., None]
        parts = self._by_feature(apart) / np.maximum(distances, np.finfo(apart.dtype).tiny)
        if self.reduce == "mean":
            mean: Rows = parts.mean(1)
            return mean
        return np.take_along_axis(parts, distances.argmax(1, keepdims=True), axis=1)[:, 0]

    def _by_feature(self, apart: Rows) -> Rows:
        """Squared distances, (B, k, F) differences as distances are taken, by the feature that they come from."""
        if self.whitening is None:
            return np.square(apart)
        # With d = e W, |d|^2 = sum over i of e_i (W d)_i.
        before = np.linalg.solve(self.whitening.T, apart.reshape(-1, apart.shape[-1]).T).T.reshape(apart.shape)
        by_feature: Rows = before * (apart @ self.whitening.T)
        return by_feature

    def _replaced(self, x: Rows, reference: Rows, pool: Places) -> Rows:
        """|d + s W_i|^2 = |d|^2 + 2 s (W d)_i + s^2 |W_i|^2 for a difference d, a step s in entry i and the map W."""
        z = self.standardise(x)
        step = (self.standardise(reference) - z)[:, None]  # (B, 1, F)
        apart = (z if self.whitening is None else z @ self.whitening)[:, None] - self.reference[pool]  # (B, P, F)
        towards = apart if self.whitening is None else apart @ self.whitening.T
        found = squares(apart)[..., None] + 2 * step * towards + step * step * self._lengths
        return self._reduced(np.sqrt(np.maximum(_distinct_least(found, pool, self.neighbours), 0)))

    @cached_property
    def _lengths(self) -> Rows:
        """(F,) the squared length of each row of the whitening; 1 without."""
        return np.ones_like(self.reference[0]) if self.whitening is None else squares(self.whitening)


def mapped(x: Rows, standardise: Standardise, whitening: Rows | None) -> Rows:
    """Rows as distances are taken between them, (n, F)."""
    if whitening is None:
        return standardise(x)
    return in_parts(lambda part: standardise(part) @ whitening, x)


def _distinct_least(found: Rows, pool: Places, k: int) -> Rows:
    """(B, k, F) the k least of squares, (B, P, F), where each reference of the pool, (B, P), counts once."""
    if k == 1:
        least: Rows = found.min(1, keepdims=True)
        return least
    order = np.argsort(pool, axis=1, kind="stable")
    again = np.zeros(pool.shape, bool)
    same = np.diff(np.take_along_axis(pool, order, axis=1), axis=1) == 0
    np.put_along_axis(again, order[:, 1:], same, axis=1)
    return np.partition(np.where(again[..., None], np.inf, found), k - 1, axis=1)[:, :k]

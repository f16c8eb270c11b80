"""Grown trees on the seen attacks."""

import math
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from pipeline.models.arrays.base import Form
from pipeline.models.arrays.parts import Rows, in_parts
from pipeline.models.arrays.stored import Stored
from pipeline.models.arrays.trees import Trees

Sets = Literal["both", "each", "together"]


@dataclass(frozen=True)
class BoostingForm(Form):
    """How much like seen attacks a row is, by G sets of trees; what the score is stands in ``Boosting``.

    Attributes:
        trees: all of them.
        start: (G,) log-odds before the first tree.
        begin, excess: (G,) where the tail of benign log-odds begins, and its mean above that.
        families, quantile, least: settings.
    """

    trees: Trees
    start: Rows
    begin: Rows
    excess: Rows
    families: Sets
    quantile: float
    least: int

    @classmethod
    def of(
        cls, arrays: Stored, features: int, *, families: Sets = "both", quantile: float = 0.99, least: int = 20
    ) -> Self:
        """That of a fitted ``Boosting``."""
        start, root, feature = arrays.floats("start", None), arrays.whole("root", None), arrays.whole("feature", None)
        sets, nodes = len(start), len(feature)
        left, right = (arrays.whole(name, nodes) for name in ("left", "right"))
        threshold, value = (arrays.floats(name, nodes) for name in ("threshold", "value"))
        begin, excess = (arrays.floats(name, sets) for name in ("begin", "excess"))
        within = [(feature, features), *((each, nodes) for each in (root, left, right))]
        if any(((each < 0) | (each >= most)).any() for each, most in within) or not sets or len(root) % sets:
            raise ValueError(f"the nodes of the trees do not fit each other, or {features} features")
        trees = Trees(root, feature, threshold, left, right, value, start, int(arrays.whole("depth")))
        return cls(trees, start, begin, excess, families, quantile, least)

    def scores(self, x: Rows) -> Rows:
        """Sum of the surprises in nats, or log-odds, (n,) of (n, F)."""
        return self.of_raw(self.raw(x))

    def raw(self, x: Rows) -> Rows:
        """(n, G) log-odds of each set of trees."""
        return self.trees.odds(_as_grown(x)).astype(self.start.dtype)

    def of_raw(self, raw: Rows) -> Rows:
        """(...) scores of log-odds, (..., G)."""
        if len(self.start) == 1:
            return raw[..., 0]
        with np.errstate(all="ignore"):
            surprise = np.logaddexp(0, (raw - self.begin) / self.excess - math.log(1 - self.quantile))
        if self.families == "each":
            greatest: Rows = surprise.max(-1)
            return greatest
        score: Rows = surprise[..., 0] + surprise[..., 1:].max(-1)
        return score

    @property
    def replaces_quickly(self) -> bool:
        """True."""
        return True

    def replaced(self, x: Rows, reference: Rows) -> Rows:
        """(n, F) scores if one entry alone is replaced.

        A tree gives another value only where a node on the way of the row looks at that entry and decides otherwise. So
        the leaf is looked for once more there, and nowhere else.
        """
        return in_parts(self._replaced, _as_grown(x), _as_grown(reference))

    def _replaced(self, x: Rows, reference: Rows) -> Rows:
        return self.of_raw(self.trees.replaced(x, reference).astype(self.start.dtype))


def _as_grown(x: Rows) -> Rows:
    """Rows in the precision of those that the trees were grown on."""
    return x.astype(np.float32, copy=False)

"""A fitted isolation forest."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.models.arrays.base import Form
from pipeline.models.arrays.parts import Rows, in_parts
from pipeline.models.arrays.stored import Stored


@dataclass(frozen=True)
class IsolationForestForm(Form):
    """2 ^ -(mean length of the way), by T perfect trees in the order of a heap.

    Attributes:
        split_feature, split_value: (T, 2^depth - 1) of the inner nodes.
        length: (T, 2^depth) h / (T c(samples)) of the leaves.
    """

    split_feature: NDArray[np.int64]
    split_value: Rows
    length: Rows

    @classmethod
    def of(cls, arrays: Stored, features: int) -> Self:
        """That of a fitted ``IsolationForest``."""
        feature = arrays.whole("split_feature", None, None)
        trees, inner = feature.shape
        if inner & (inner + 1) or not ((feature >= 0) & (feature < features)).all():
            raise ValueError(f"the trees are not perfect ones of {features} features")
        return cls(feature, arrays.floats("split_value", trees, inner), arrays.floats("length", trees, inner + 1))

    def scores(self, x: Rows) -> Rows:
        """2 ^ -(E[h] / c), (n,) of (n, F)."""
        return in_parts(self._scores, x.astype(np.float32, copy=False))  # as the trees were grown

    def _scores(self, x: Rows) -> Rows:
        trees, inner = self.split_feature.shape
        row, node = np.arange(len(x))[:, None], np.zeros((len(x), trees), np.int64)
        for _ in range(inner.bit_length()):
            at = node + self._tree * inner
            right = x[row, self.split_feature.take(at)] > self.split_value.take(at)
            node = 2 * node + 1 + right
        leaf = node - inner + self._tree * (inner + 1)
        scores: Rows = np.exp2(-self.length.take(leaf).sum(1))
        return scores

    @cached_property
    def _tree(self) -> NDArray[np.int64]:
        """(T,) numbers of the trees."""
        return np.arange(len(self.split_feature))

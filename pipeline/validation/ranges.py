"""Observed ranges of the features in one pass over batches."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.base.samples import row_hash
from pipeline.validation.findings import Range

Array = NDArray[np.float64]
SAMPLE = 20_000
PERCENTILES = (1, 25, 50, 75, 99)


class Ranges:
    """Gathers extremes and counts of each feature, and a sample of the records for the percentiles.

    The sample holds the ``SAMPLE`` records whose hashed ids are smallest: random, yet the same for all batches.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.low = np.full(len(names), np.inf)
        self.high = np.full(len(names), -np.inf)
        self.nulls = np.zeros(len(names), dtype=np.int64)
        self.infinite = np.zeros(len(names), dtype=np.int64)
        self.keys = np.empty(0, dtype=np.uint64)
        self.sample = np.empty((0, len(names)))

    def add(self, values: Mapping[str, Array], record_id: NDArray[np.uint64]) -> None:
        """Take in a batch: (n,) for each feature."""
        for index, name in enumerate(self.names):
            self._extend(index, values[name])
        if not self.names:
            return
        keys = np.concatenate([self.keys, row_hash([record_id])])
        chosen = np.sort(np.argsort(keys, kind="stable")[:SAMPLE])
        kept, fresh = np.split(chosen, [np.searchsorted(chosen, len(self.keys))])
        rows = np.stack([values[name][fresh - len(self.keys)] for name in self.names], axis=1)  # (fresh, F)
        self.sample = np.concatenate([self.sample[kept], rows])
        self.keys = keys[chosen]

    def result(self) -> dict[str, Range]:
        """The range of each feature."""
        return {name: self._range(index) for index, name in enumerate(self.names)}

    def _extend(self, index: int, values: Array) -> None:
        finite = np.isfinite(values)
        if not finite.all():
            nulls = int(np.isnan(values).sum())
            self.nulls[index] += nulls
            self.infinite[index] += len(values) - int(finite.sum()) - nulls
            values = values[finite]
        self.low[index] = min(self.low[index], values.min(initial=np.inf))
        self.high[index] = max(self.high[index], values.max(initial=-np.inf))

    def _range(self, index: int) -> Range:
        undefined = int(self.nulls[index]), int(self.infinite[index])
        if self.low[index] > self.high[index]:
            return Range(None, None, None, None, None, None, None, *undefined)
        sample = self.sample[:, index]
        sample = sample[np.isfinite(sample)]
        p01, p25, p50, p75, p99 = np.percentile(sample, PERCENTILES).tolist() if len(sample) else [None] * 5
        return Range(float(self.low[index]), float(self.high[index]), p01, p25, p50, p75, p99, *undefined)

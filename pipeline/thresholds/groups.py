"""Thresholds for each group of records by itself, where one for all would fit none of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.errors import DataError, SplitError
from pipeline.thresholds.base import Strategy, Thresholds, without_nan


@dataclass(frozen=True)
class GroupThresholds:
    """Thresholds for each group of records, say a protocol or a day.

    Attributes:
        thresholds: of each group; those of ``pooled`` where it is among ``too_small``.
        pooled: of all records together.
        too_small: groups with too few records for thresholds of their own. What holds for the pooled records on average
            need not hold for one of these.
    """

    thresholds: Mapping[str, Thresholds]
    pooled: Thresholds
    too_small: tuple[str, ...]

    def verdict(self, scores: ArrayLike, groups: ArrayLike) -> NDArray[np.str_]:
        """(n,) verdicts on ``scores``, (n,), by their ``groups``, (n,); a new group is judged by ``pooled``.

        Raises:
            DataError: if a score is NaN, or there are not as many groups as scores.
        """
        values, names = _paired(scores, groups)
        verdicts = self.pooled.verdict(values)
        for name in self.thresholds.keys() & set(names.tolist()):
            verdicts[names == name] = self.thresholds[name].verdict(values[names == name])
        return verdicts


def by_group(scores: ArrayLike, groups: ArrayLike, strategy: Strategy) -> GroupThresholds:
    """Thresholds that ``strategy`` fits on each group by itself, so that its guarantee holds in each (Mondrian).

    Source: Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World" (2005), chapter 4.

    Args:
        scores: (n,) of benign calibration records.
        groups: (n,) the group of each, known without its label; numbers are read as their text.
        strategy: refuses too few scores with a ``SplitError``; then the group has the thresholds of all records.

    Raises:
        DataError: if a score is NaN, or there are not as many groups as scores.
        SplitError: if all scores together are too few.
    """
    values, names = _paired(scores, groups)
    pooled = strategy(values)
    thresholds, too_small = {}, []
    for name in np.unique(names).tolist():
        try:
            thresholds[name] = strategy(values[names == name])
        except SplitError:
            thresholds[name] = pooled
            too_small.append(name)
    return GroupThresholds(thresholds, pooled, tuple(too_small))


def _paired(scores: ArrayLike, groups: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    values, names = without_nan(scores, "by group"), np.asarray(groups, dtype=np.str_)
    if values.shape != names.shape:
        raise DataError(f"by group: {values.size:,} scores, but {names.size:,} groups; give each score its group")
    return values, names

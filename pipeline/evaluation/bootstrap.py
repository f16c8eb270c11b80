"""Ranking metrics on weighted records, so that a bootstrap need not sort each resample.

A resample says how often each record is drawn. AUROC and recall at a false positive rate depend only on the ranks of
the scores. The ranks are found once, and each resample costs one sum over the records.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CELLS: Final = 2**20  # weights in memory at once


@dataclass(frozen=True)
class Ranks:
    """How the scores of b benign records and a attacks lie among each other: all that ranking metrics need.

    Attributes:
        order: (b,) the benign records, ascending by score.
        first: (b,) how many benign records score below each of ``order``.
        below: (a,) how many benign records score below each attack.
        upto: (a,) how many do not score above it.
    """

    order: Ints
    first: Ints
    below: Ints
    upto: Ints

    @classmethod
    def of(cls, benign: ArrayLike, attack: ArrayLike) -> Self:
        """The ranks of (b,) benign scores and (a,) scores of attacks."""
        scores, others = np.asarray(benign), np.asarray(attack)
        order = np.argsort(scores, kind="stable")
        ascending = scores[order]
        first, below = (np.searchsorted(ascending, values, side="left") for values in (ascending, others))
        return cls(order, first, below, np.searchsorted(ascending, others, side="right"))

    def auroc(self, benign: Ints, attack: Ints) -> Floats:
        """(r,) AUROC under (r, b) and (r, a) weights, a tie counting one half."""
        beaten = self._cumulated(benign)
        wins = beaten[:, self.below] + beaten[:, self.upto]  # (r, a), twice the benign weight that each attack beats
        area: Floats = (wins * attack).sum(axis=1) / (2 * beaten[:, -1] * attack.sum(axis=1))
        return area

    def recall(self, benign: Ints, attack: Ints, fpr: float) -> Floats:
        """(r,) the largest recall at a benign FPR of at most ``fpr``, under (r, b) and (r, a) weights."""
        beaten = self._cumulated(benign)
        reached = 1 - beaten[:, self.first] / beaten[:, -1:]  # (r, b), FPR where each benign record is just flagged
        kept = (reached > fpr + 1e-12).sum(axis=1)  # (r,) the lowest ones, which must not be flagged
        found = (self.below >= kept[:, None]) * attack
        recall: Floats = found.sum(axis=1) / attack.sum(axis=1)
        return recall

    def _cumulated(self, benign: Ints) -> Ints:
        """(r, b + 1) weight of the lowest 0, 1, ... b benign records."""
        sums = np.zeros((len(benign), self.order.size + 1), dtype=np.int64)
        np.cumsum(benign[:, self.order], axis=1, out=sums[:, 1:])
        return sums


def draws(strata: Sequence[Ints], rounds: int, seed: int) -> Iterator[Ints]:
    """(r, n) how often each of n records is drawn, some rounds at a time.

    Args:
        strata: the rows that are drawn among themselves, with replacement, as many as there are; together all n.
        rounds: in all.
        seed: of the draw.
    """
    random, n = np.random.default_rng(seed), sum(rows.size for rows in strata)
    step = max(1, CELLS // n)
    for start in range(0, rounds, step):
        some = min(step, rounds - start)
        weights = np.zeros((some, n), dtype=np.int64)
        for rows in strata:
            drawn = random.integers(rows.size, size=(some, rows.size))
            drawn += np.arange(some)[:, None] * rows.size  # each round counts in a row of its own
            weights[:, rows] = np.bincount(drawn.ravel(), minlength=some * rows.size).reshape(some, -1)
        yield weights

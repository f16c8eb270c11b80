"""How far a score falls if one feature alone is as in similar benign records."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.float32]
Given = Mapping[str, ArrayLike]

NEIGHBOURS: Final = 7
ROWS_AT_ONCE: Final = 32_768
ALERTS_AT_ONCE: Final = 128
LIKELY: Final = 160  # benign records whose distance from an alert is computed in full
CUT: Final = 3.0  # mean deviations of a feature, beyond which records are alike to the search for them
LARGEST: Final = 1e300  # stands for an infinite score, because a difference of two infinite ones is undefined


def falls(score: Callable[[Rows, NDArray[np.intp]], Floats], x: Rows, reference: Rows) -> Floats:
    """How far the score of each record falls if one feature alone takes its reference value, (n, F).

    Below 0 where the record would then look more anomalous; exactly 0 where the feature has its reference value.

    Args:
        score: (m, F) rows, and (m,) of which records they are, to (m,).
        x: (n, F).
        reference: (n, F).
    """
    fall = np.zeros(x.shape)
    changed = np.argwhere(x != reference)  # (changes, 2)
    before = score(x, np.arange(len(x)))
    for start in range(0, len(changed), ROWS_AT_ONCE):
        row, feature = changed[start : start + ROWS_AT_ONCE].T
        replaced = x[row]
        replaced[np.arange(len(row)), feature] = reference[row, feature]
        fall[row, feature] = before[row] - score(replaced, row)
    return fall


def _at(given: Mapping[str, NDArray[Any]], rows: NDArray[np.intp]) -> dict[str, ArrayLike]:
    return {name: each[rows] for name, each in given.items()}


def nearest(benign: Rows, x: Rows, neighbours: int) -> NDArray[np.intp]:
    """(n, neighbours) rows of ``benign``, (m, F), that look most like x, (n, F), the nearest first.

    The distance is the sum over the features of the root of their difference. One extreme feature has little weight in
    it, so the other features find records of the same kind. A squared distance would prefer records that are extreme in
    that feature too. Aggarwal, Hinneburg, Keim, "On the Surprising Behavior of Distance Metrics in High
    Dimensional Space", 2001, with p = 1/2.
    """
    parts = [slice(start, start + ALERTS_AT_ONCE) for start in range(0, len(x), ALERTS_AT_ONCE)]
    likely = _likely(benign, max(neighbours, LIKELY))
    found = [_nearest(benign, x[part], likely(x[part]), neighbours) for part in parts]
    return np.concatenate([np.zeros((0, neighbours), np.intp), *found])


def _nearest(benign: Rows, x: Rows, likely: NDArray[np.intp], neighbours: int) -> NDArray[np.intp]:
    """(n, neighbours) the nearest of rows that are likely to be, (n, m), ascending."""
    apart = benign[likely]  # (n, m, F)
    apart -= x[:, None]
    np.sqrt(np.abs(apart, out=apart), out=apart)
    order = np.argsort(apart.sum(2), axis=1, kind="stable")[:, :neighbours]
    return np.take_along_axis(likely, order, axis=1)


def _likely(benign: Rows, most: int) -> Callable[[Rows], NDArray[np.intp]]:
    """Finds, for x (n, F), (n, most) rows that may be the nearest: all of a few, else the nearest by cut features.

    Two records of different kinds differ in many features, and no single one counts for more than ``CUT`` deviations.
    One matrix product finds them, at a fraction of the time of the distances.
    """
    if len(benign) <= most:
        return lambda x: np.tile(np.arange(len(benign)), (len(x), 1))
    middle = np.median(benign, axis=0)
    scale = np.abs(benign - middle).mean(0)
    scale[scale == 0] = 1

    def limited(rows: Rows) -> Rows:
        cut: Rows = ((rows - middle) / scale).clip(-CUT, CUT).astype(np.float32)
        return cut

    known = limited(benign)
    lengths = np.einsum("mf,mf->m", known, known)

    def found(x: Rows) -> NDArray[np.intp]:
        squares = lengths - 2 * (limited(x) @ known.T)
        return np.sort(np.argpartition(squares, most - 1, axis=1)[:, :most], axis=1)

    return found


@dataclass(frozen=True)
class Scoring:
    """The decision rule in two halves.

    Attributes:
        scores: (n, F) features to (n,) raw scores by their names, each record on its own.
        fuse: those to (n,) fused scores. A score of -inf is one that sees nothing unusual at all.
        replaced: (n, F) features and (n, F) reference values to the (n, F) raw scores if one feature alone is replaced,
            by their names; a score that is not among them does not change. None where the models know no quick way:
            then each such record is scored.
    """

    scores: Callable[[Rows], Mapping[str, ArrayLike]]
    fuse: Callable[[Mapping[str, ArrayLike]], ArrayLike]
    replaced: Callable[[Rows, Rows], Mapping[str, NDArray[Any]]] | None = None

    def score(self, x: Rows) -> Floats:
        """(n,) fused scores of (n, F) features, an infinite one as ``LARGEST``."""
        return self.fused(self.scores(x))

    def falls(self, x: Rows, reference: Rows, given: Given | None = None) -> Floats:
        """(n, F) how far the score falls if one feature takes its reference value; as the function ``falls``.

        Args:
            x: (n, F).
            reference: (n, F).
            given: (n,) scores of x by their names, where they are known; one that does not come from the features stays
                as it is.
        """
        known = {name: np.asarray(each) for name, each in (given or self.scores(x)).items()}
        if self.replaced is None:
            return falls(lambda rows, at: self.fused(_at(known, at) | dict(self.scores(rows))), x, reference)
        fall = np.zeros(x.shape)
        at = np.nonzero(x != reference)
        wide = _at(known, at[0]) | {name: each[at] for name, each in self.replaced(x, reference).items()}
        fall[at] = self.fused(known)[at[0]] - self.fused(wide)
        return fall

    def shares(self, x: Rows) -> dict[str, Floats]:
        """(n,) share of each score in the fused score of (n, F) features."""
        return self.shares_of(self.scores(x))

    def shares_of(self, scores: Given) -> dict[str, Floats]:
        """(n,) share of each score, (n,), in the fused score.

        It is how far the fused score falls if that score alone sees nothing unusual, divided by the sum of these falls.
        Of a sum of surprises it is the part of each in it; of the greatest one it is all but a trace. 0 for all where
        none raises it. A score that a record does not have, NaN, has no share.
        """
        given = {name: np.asarray(each, np.float64) for name, each in scores.items()}
        fused = self.fused(given)
        silent = {name: np.where(np.isnan(each), np.nan, -np.inf) for name, each in given.items()}
        drops = {name: (fused - self.fused({**given, name: silent[name]})).clip(0) for name in given}
        total = np.sum(list(drops.values()), axis=0)
        return {name: drop / np.where(total > 0, total, 1) for name, drop in drops.items()}

    def fused(self, scores: Given) -> Floats:
        """(n,) fused scores of the scores, (n,) each, an infinite one as ``LARGEST``."""
        return np.asarray(self.fuse(scores), dtype=np.float64).clip(-LARGEST, LARGEST)


def referred(benign: Rows, x: Rows) -> tuple[NDArray[np.intp], Rows]:
    """(n, k) the benign records that look most like x, (n, F), and (n, F) the median of their features."""
    like = nearest(benign, x, min(NEIGHBOURS, len(benign)))
    reference: Rows = np.median(benign[like], axis=1).astype(np.float32)
    return like, reference

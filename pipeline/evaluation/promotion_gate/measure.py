"""The figures of one model on any weights of the held-out records, and the exact bounds of a share."""

from collections.abc import Sequence

import numpy as np

from pipeline.calibration.thresholds.conformal import Guarantee
from pipeline.evaluation.alarm_share import promised
from pipeline.evaluation.bootstrap import Ranks
from pipeline.evaluation.promotion_gate.base import (
    ALL,
    AT,
    AUROC,
    FAMILY,
    FPR,
    RECALL,
    SEEN,
    UNSEEN,
    Floats,
    Heldout,
    Ints,
    Judged,
    Mask,
)


class Measure:
    """The figures of one model as a function of the weights of the records.

    Args:
        heldout: n records.
        judged: scores and alarms of the model.
        fpr: benign FPR at which the recall of all attacks is read, whatever the thresholds.
        others: names of the other thresholds whose alarms are measured.
    """

    def __init__(self, heldout: Heldout, judged: Judged, fpr: float, others: Sequence[str] = ()) -> None:
        self._benign, self._attack = np.flatnonzero(heldout.y != 1), np.flatnonzero(heldout.y == 1)
        self._unseen, self._recall = heldout.unseen[self._attack], RECALL.format(100 * fpr)
        self._fpr, self._shares = fpr, _shares(heldout, judged, others)
        self._ranks = Ranks.of(judged.score[self._benign], judged.score[self._attack])

    @property
    def names(self) -> dict[str, int]:
        """What is measured, and on how many records."""
        b, a, unseen = self._benign.size, self._attack.size, int(self._unseen.sum())
        return {AUROC: b + unseen, self._recall: b + a} | {name: rows.size for name, (rows, _) in self._shares.items()}

    def __call__(self, weights: Ints) -> Floats:
        """(r, k) figures on r weightings, (r, n), in the order of ``names``."""
        benign, attack = weights[:, self._benign], weights[:, self._attack]
        auroc = self._ranks.auroc(benign, attack * self._unseen)
        recall = self._ranks.recall(benign, attack, self._fpr)
        return np.stack([auroc, recall, *(_share(weights, *share) for share in self._shares.values())], axis=1)


def highest_fpr(rate: float, n: int, n_calibration: int, level: float) -> float:
    """The realised FPR on n benign records that a threshold for ``rate`` exceeds with probability 1 - ``level`` only.

    It is the upper end of what the drift check and the summaries call promised; see ``alarm_share.promised``. Where the
    calibration scores are too few for the rate, no allowance is made for the noise of the threshold.
    """
    from scipy.stats import binom

    if n_calibration and 0 < rate < 1 and Guarantee().rank(n_calibration, rate):
        return promised(n, rate, n_calibration, 2 * level - 1)[1] / n
    return float(binom.ppf(level, n, rate)) / n


def exact_bounds(share: float, n: int, level: float) -> tuple[float, float]:
    """The lower and the upper bound of a probability of which ``share`` was found in n records, each with ``level``.

    Source: Clopper, Pearson, "The Use of Confidence or Fiducial Limits" (Biometrika, 1934).
    """
    from scipy.stats import beta

    k = round(share * n)
    low = float(beta.ppf(1 - level, k, n - k + 1)) if k else 0.0
    return low, float(beta.ppf(level, k + 1, n - k)) if k < n else 1.0


def _shares(heldout: Heldout, judged: Judged, others: Sequence[str]) -> dict[str, tuple[Ints, Mask]]:
    """Name -> the rows that a share is of, and (n,) which records are flagged."""
    attack = heldout.y == 1
    kinds = {FPR: ~attack, ALL: attack, UNSEEN: heldout.unseen, SEEN: attack & ~heldout.unseen}
    rows = {name: np.flatnonzero(mask) for name, mask in kinds.items() if mask.any()}
    families = {FAMILY.format(name): family for name, family in heldout.families.items()}
    shares = {name: (of, judged.alarm) for name, of in (rows | families).items()}
    for threshold in others:
        shares |= {AT.format(name, threshold): (rows[name], judged.others[threshold]) for name in rows if name != ALL}
    return shares


def _share(weights: Ints, rows: Ints, flagged: Mask) -> Floats:
    """(r,) share of the weight of some rows that is flagged."""
    share: Floats = weights[:, rows[flagged[rows]]].sum(axis=1) / weights[:, rows].sum(axis=1)
    return share

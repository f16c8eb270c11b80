"""Metrics of a score and of a decision: ranking metrics, rates with intervals, recall per attack.

A metric that is undefined (no attacks, no benign records, nothing flagged) is ``None``, never NaN, so every report is
valid JSON. Records of equal score are flagged together or not at all.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Mask = NDArray[np.bool_]
Report = dict[str, Any]


@dataclass(frozen=True)
class Curve:
    """Attacks and benign records flagged at each distinct threshold, from the strictest on.

    Attributes:
        score: (k,) distinct scores in descending order; a record is flagged where its score reaches it.
        tp: (k,) attacks flagged.
        fp: (k,) benign records flagged.
    """

    score: NDArray[np.float64]
    tp: NDArray[np.int64]
    fp: NDArray[np.int64]

    @classmethod
    def of(cls, y: ArrayLike, score: ArrayLike) -> "Curve":
        """The curve of ``score``, (n,), against labels ``y``, (n,)."""
        labels, values = np.asarray(y) == 1, np.asarray(score, dtype=np.float64)
        if np.isnan(values).any():
            raise ValueError(f"{np.isnan(values).sum()} of {values.size} scores are NaN")
        order = np.argsort(-values, kind="stable")
        labels, values = labels[order], values[order]
        last = np.flatnonzero(np.append(values[1:] != values[:-1], True)[: values.size])  # of each group of ties
        return cls(values[last], np.cumsum(labels)[last], np.cumsum(~labels)[last])

    @property
    def n_attack(self) -> int:
        """How many attacks there are."""
        return int(self.tp[-1]) if self.tp.size else 0

    @property
    def n_benign(self) -> int:
        """How many benign records there are."""
        return int(self.fp[-1]) if self.fp.size else 0

    @property
    def recall(self) -> NDArray[np.float64]:
        """(k + 1,) share of the attacks flagged, from 0 to 1."""
        return np.append(0.0, self.tp / max(self.n_attack, 1))

    @property
    def fpr(self) -> NDArray[np.float64]:
        """(k + 1,) share of the benign records flagged, from 0 to 1."""
        return np.append(0.0, self.fp / max(self.n_benign, 1))

    @property
    def two_classes(self) -> bool:
        """Whether there are attacks and benign records."""
        return self.n_attack > 0 and self.n_benign > 0

    def precision(self, balanced: bool = False) -> NDArray[np.float64]:
        """(k,) precision at each threshold, at natural prevalence or re-weighted to one attack per benign record."""
        tp, fp = (self.recall[1:], self.fpr[1:]) if balanced else (self.tp, self.fp)
        return tp / (tp + fp)


def auroc(y: ArrayLike, score: ArrayLike) -> float | None:
    """Probability that an attack scores above a benign record, a tie counting one half."""
    curve = Curve.of(y, score)
    return float(np.trapezoid(curve.recall, curve.fpr)) if curve.two_classes else None


def auprc(y: ArrayLike, score: ArrayLike, balanced: bool = False) -> float | None:
    """Average precision: sum of (recall_i - recall_(i-1)) precision_i over the distinct thresholds.

    Args:
        y: (n,) labels, 1 for an attack.
        score: (n,), higher = more anomalous.
        balanced: whether to re-weight the benign records so that they are as many as the attacks.
    """
    curve = Curve.of(y, score)
    return float(np.sum(np.diff(curve.recall) * curve.precision(balanced))) if curve.two_classes else None


def tpr_at_fpr(y: ArrayLike, score: ArrayLike, fpr: float) -> float | None:
    """The largest recall that a threshold reaches while its realised false positive rate is at most ``fpr``."""
    curve = Curve.of(y, score)
    return float(curve.recall[curve.fpr <= fpr].max()) if curve.two_classes else None


def wilson(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion, k of n; the whole of [0, 1] where n = 0.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference" (JASA, 1927).

    Raises:
        ValueError: if not 0 <= k <= n, or the level is not between 0 and 1.
    """
    if not 0 <= k <= n or not 0 < level < 1:
        raise ValueError(f"wilson: needs 0 <= k <= n and 0 < level < 1, given k={k}, n={n}, level={level}")
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + level / 2)
    centre = (k + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(k * (n - k) / n + z * z / 4)
    return (0.0 if k == 0 else centre - half), (1.0 if k == n else centre + half)


def rates(y: ArrayLike, flagged: ArrayLike) -> Report:
    """Counts and rates of a decision, at natural prevalence and as expected on one attack per benign record.

    With recall r and false positive rate f, the balanced precision is r / (r + f), the balanced F1 2r / (r + f + 1).

    Args:
        y: (n,) labels, 1 for an attack.
        flagged: (n,) mask of the records called anomalous.
    """
    tp, fp, tn, fn = _counts(y, flagged)
    recall, fpr = _ratio(tp, tp + fn), _ratio(fp, fp + tn)
    known = recall is not None and fpr is not None
    r, f = recall or 0.0, fpr or 0.0
    return {
        "precision": _ratio(tp, tp + fp),
        "recall": recall,
        "recall_low": _bound(tp, tp + fn, 0),
        "recall_high": _bound(tp, tp + fn, 1),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn) if tp + fn else None,
        "precision_balanced": _ratio(r, r + f) if known else None,
        "f1_balanced": 2 * r / (r + f + 1) if known else None,
        "fpr": fpr,
        "fpr_low": _bound(fp, fp + tn, 0),
        "fpr_high": _bound(fp, fp + tn, 1),
        "alerts_per_million_benign": None if fpr is None else 1e6 * fpr,
        "tp": tp,
        "fp": fp,
        "tn": tn,
        "fn": fn,
    }


def recall_by_attack(y: ArrayLike, attack: ArrayLike, flagged: Mapping[str, Mask]) -> dict[str, Report]:
    """Attack -> {``n``, threshold -> {``recall``, ``low``, ``high``}}, with Wilson's interval."""
    at = np.flatnonzero(np.asarray(y) == 1)  # names of benign records would take much memory
    names, found = np.asarray(attack)[at].astype(str), {name: mask[at] for name, mask in flagged.items()}
    rows = {str(name): names == name for name in np.unique(names)}
    return {name: {"n": int(mask.sum())} | _recalls(mask, found) for name, mask in rows.items()}


def test_metrics(y: ArrayLike, flagged: ArrayLike, threshold: float) -> dict[str, float | None]:
    """The content of a ``test_metrics_threshold={t}.json`` file, with the keys that SSAD gives it, as numbers."""
    tp, fp, tn, fn = _counts(y, flagged)
    return {
        "threshold": float(threshold) if math.isfinite(threshold) else None,
        "TP": tp,
        "TN": tn,
        "FP": fp,
        "FN": fn,
        "TPR": _ratio(tp, tp + fn),
        "FPR": _ratio(fp, fp + tn),
        "TNR": _ratio(tn, fp + tn),
        "FNR": _ratio(fn, tp + fn),
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn) if tp + fn else None,
    }


def _counts(y: ArrayLike, flagged: ArrayLike) -> tuple[int, int, int, int]:
    """tp, fp, tn, fn."""
    attack, alarm = np.asarray(y) == 1, np.asarray(flagged, dtype=bool)
    if attack.shape != alarm.shape:
        raise ValueError(f"y has shape {attack.shape}, the mask of flagged records {alarm.shape}")
    tp, flags, attacks = int((attack & alarm).sum()), int(alarm.sum()), int(attack.sum())
    return tp, flags - tp, attack.size - attacks - flags + tp, attacks - tp


def _recalls(rows: Mask, flagged: Mapping[str, Mask]) -> Report:
    n = int(rows.sum())
    found = {name: int((rows & mask).sum()) for name, mask in flagged.items()}
    return {
        name: {"recall": _ratio(k, n), "low": _bound(k, n, 0), "high": _bound(k, n, 1)} for name, k in found.items()
    }


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _bound(k: int, n: int, side: int) -> float | None:
    return wilson(k, n)[side] if n else None

"""The floor to beat: what the best single feature finds at each level of false alarms.

For each level, the feature is chosen on some records, and its threshold is set on benign ones. Its recall is measured
on records that had no part in either.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.calibration.thresholds.conformal import Guarantee
from pipeline.evaluation.metrics import rates
from pipeline.stages.reports.report import LEVELS, Report

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Single:
    """One feature as a detector.

    Attributes:
        name: of the feature.
        sign: 1 where high values are flagged, -1 where low ones are.
        recall: share of the attacks that it finds among the records that it was chosen on.
    """

    name: str
    sign: int
    recall: float


def strongest(y: NDArray[np.int8], x: Array, names: Sequence[str]) -> dict[str, Single]:
    """At each level the feature that finds most attacks, of (n,) labels and (n, F) features without NaN.

    Of equal ones the first is taken. There is none where there are no benign records, no attacks or no features.
    """
    best: dict[str, Single] = {}
    if not (y == 0).any() or not (y != 0).any():
        return best
    for place, name in enumerate(names):
        benign, attack = x[y == 0, place], x[y != 0, place]
        for sign in (1, -1):
            for level, share in LEVELS.items():
                found = float((sign * attack > cut(sign * benign, share)).mean())
                if level not in best or found > best[level].recall:
                    best[level] = Single(name, sign, found)
    return best


def cut(benign: Array, share: float) -> float:
    """The score that at most this share of benign records exceeds; with few of (m,) records, their highest."""
    rank = max(Guarantee().rank(len(benign), share), 1)
    return float(np.partition(benign, len(benign) - rank)[len(benign) - rank])


def judge(
    level: str, single: Single, benign: Array, y: NDArray[np.int8], values: Array, report: Report, **beside: Any
) -> None:
    """``test_metrics_threshold={level}.json`` of a feature.

    Args:
        level: its name, such as p99.
        single: the feature.
        benign: (m,) its values in the benign records that set the threshold.
        y: (n,) labels of the records that it is judged on.
        values: (n,) its values there.
        report: of the stage.
        beside: what else the file tells.
    """
    threshold = cut(single.sign * benign, LEVELS[level])
    flagged = single.sign * values > threshold
    found = rates(y, flagged)
    bounds = {key: found[key] for key in ("recall_low", "recall_high", "fpr_low", "fpr_high")}
    chosen = {"feature": single.name, "direction": "high" if single.sign > 0 else "low", "recall_chosen": single.recall}
    sizes = {"nominal_fpr": LEVELS[level], "n_threshold": len(benign), "n_judged": len(y)}
    report.test_metrics(y, flagged, threshold, level, **sizes, **bounds, **chosen, **beside)


def up_to(mask: NDArray[np.bool_], most: int, seed: int) -> NDArray[np.intp]:
    """Positions of at most ``most`` of the rows under a mask, drawn at random, in their order."""
    at = np.flatnonzero(mask)
    return at if len(at) <= most else np.sort(np.random.default_rng(seed).choice(at, most, replace=False))

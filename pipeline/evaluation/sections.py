"""One section of ``metrics.json``: metrics of a score and its decisions, with n, intervals and trivial baselines.

Nothing is chosen here. Thresholds are calibrated before. The threshold at a stated false positive rate is read from the
benign records of the section itself, so that scores are compared at equal rates.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.calibration.thresholds.conformal import interval
from pipeline.evaluation import metrics
from pipeline.evaluation.bootstrap import Ranks, draws
from pipeline.evaluation.metrics import Mask, Report
from pipeline.settings.evaluate import Figures

LEVEL: Final = 0.95  # of every interval
MOST_GROUPS: Final = 50  # that false alarms are stated of


@dataclass(frozen=True)
class Asked:
    """What a section states beside its rates.

    Attributes:
        nominal: threshold name -> benign FPR that it was calibrated for, for thresholds that promise one.
        n_calibration: benign records that the thresholds were fitted on.
        figures: at which rates and prevalences more is stated, and how intervals are drawn.
    """

    nominal: Mapping[str, float]
    n_calibration: int
    figures: Figures


def report(y: ArrayLike, attack: ArrayLike, score: ArrayLike, flagged: Mapping[str, Mask], asked: Asked) -> Report:
    """AUROC with its interval, rates at each threshold and at stated false positive rates, and figures per attack.

    The trivial baseline that flags every record is included, at natural prevalence and on a balanced set.

    Args:
        y: (n,) labels, 1 for an attack.
        attack: (n,) attack names, read where y is 1.
        score: (n,), higher = more anomalous.
        flagged: threshold name -> (n,) mask of the records called anomalous at it.
        asked: what to state.
    """
    labels = np.asarray(y)
    n_attack, n = int((labels == 1).sum()), labels.size
    by_attack = metrics.recall_by_attack(y, attack, flagged)
    ranking = auroc_by_attack(y, attack, score)
    bootstrap = asked.figures.bootstrap
    low, high = auroc_interval(y, attack, score, bootstrap.rounds, bootstrap.seed) or (None, None)
    return {
        "n": n,
        "n_benign": n - n_attack,
        "n_attack": n_attack,
        "auroc": metrics.auroc(y, score),
        "auroc_low": low,
        "auroc_high": high,
        "auroc_macro": _mean([by["auroc"] for by in ranking.values()]),
        "auprc": metrics.auprc(y, score),
        "auprc_balanced": metrics.auprc(y, score, balanced=True),
        "tpr_at_fpr_1pct": metrics.tpr_at_fpr(y, score, 0.01),
        "tpr_at_fpr_01pct": metrics.tpr_at_fpr(y, score, 0.001),
        "flag_everything_f1": 2 * n_attack / (n + n_attack) if n_attack else None,
        "flag_everything_f1_balanced": 2 / 3 if n_attack else None,
        "macro_recall": {name: _mean([by[name]["recall"] for by in by_attack.values()]) for name in flagged},
        "thresholds": {name: _rates(name, y, mask, asked) for name, mask in flagged.items()},
        "recall_by_attack": by_attack,
        "auroc_by_attack": ranking,
        "recall_at_fpr": {f"{fpr:g}": recall_at_fpr(y, attack, score, fpr) for fpr in asked.figures.fprs},
    }


def auroc_by_attack(y: ArrayLike, attack: ArrayLike, score: ArrayLike) -> dict[str, Report]:
    """Attack -> {``n``, ``auroc``}: each attack against all benign records; None if there are no benign records.

    Attacks with few records are included; n shows how little their AUROC is worth.
    """
    labels, values = np.asarray(y) == 1, np.asarray(score, dtype=np.float64)
    names = np.asarray(attack)[labels].astype(str)
    ranks, n_benign = Ranks.of(values[~labels], values[labels]), int((~labels).sum())
    beaten = (ranks.below + ranks.upto) / 2  # (a,) benign records that an attack scores above, a tie counting one half
    return {
        str(name): {"n": int(rows.sum()), "auroc": float(beaten[rows].mean()) / n_benign if n_benign else None}
        for name in np.unique(names)
        if (rows := names == name).any()
    }


def auroc_interval(
    y: ArrayLike, attack: ArrayLike, score: ArrayLike, rounds: int, seed: int
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of the AUROC; None if it is undefined.

    Benign records and each attack are resampled separately, because their numbers are a matter of design.
    Source: Efron, Tibshirani, "An Introduction to the Bootstrap" (1993), section 13.3.
    """
    labels, values = np.asarray(y) == 1, np.asarray(score, dtype=np.float64)
    names = np.asarray(attack)[labels].astype(str)
    n_benign = int((~labels).sum())
    if not names.size or not n_benign:
        return None
    ranks = Ranks.of(values[~labels], values[labels])
    strata = [np.arange(n_benign), *(n_benign + np.flatnonzero(names == name) for name in np.unique(names))]
    resampled = [ranks.auroc(drawn[:, :n_benign], drawn[:, n_benign:]) for drawn in draws(strata, rounds, seed)]
    low, high = np.quantile(np.concatenate(resampled), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def recall_at_fpr(y: ArrayLike, attack: ArrayLike, score: ArrayLike, fpr: float) -> Report:
    """Recall at the lowest threshold that flags at most a share ``fpr`` of the benign records.

    Returns:
        The ``fpr`` realised, ``recall`` of all attacks together with its interval, ``by_attack`` and its mean
        ``macro``; None where there are no attacks or no benign records.
    """
    curve = metrics.Curve.of(y, score)
    if not curve.two_classes:
        return {"fpr": None, "recall": None, "low": None, "high": None, "macro": None, "by_attack": {}}
    at = int(np.searchsorted(curve.fpr, fpr, side="right")) - 1  # fpr[0] is 0: of a threshold that flags nothing
    values = np.asarray(score, dtype=np.float64)
    mask = values >= curve.score[at - 1] if at else np.zeros(values.size, dtype=bool)
    by_attack = {
        name: {"n": by["n"], **by["at"]} for name, by in metrics.recall_by_attack(y, attack, {"at": mask}).items()
    }
    low, high = metrics.wilson(int(curve.tp[at - 1]) if at else 0, curve.n_attack)
    return {
        "fpr": float(curve.fpr[at]),
        "recall": float(curve.recall[at]),
        "low": low,
        "high": high,
        "macro": _mean([by["recall"] for by in by_attack.values()]),
        "by_attack": by_attack,
    }


def precision_at(prevalence: float, recall: float | None, fpr: float | None) -> float | None:
    """Share of the alarms that are attacks if a share ``prevalence`` of all records are attacks, by Bayes' rule.

    With recall r, false positive rate f and prevalence q it is r q / (r q + f (1 - q)).
    """
    if recall is None or fpr is None or not recall + fpr:
        return None
    return recall * prevalence / (recall * prevalence + fpr * (1 - prevalence))


def guarantee(flagged: Mapping[str, Mask], recalls: Mapping[str, Mapping[str, float | None]], asked: Asked) -> Report:
    """The false alarm rate that is promised, the one realised on all benign test records, and the precision at it.

    Args:
        flagged: threshold name -> (n,) mask of the benign records called anomalous at it.
        recalls: section -> threshold name -> recall of its attacks.
        asked: what the thresholds were calibrated for.

    Returns:
        ``n_calibration``, ``n_benign``, ``level`` of the intervals and, for each threshold, ``fpr`` as realised with
        its Wilson interval, and beside it for one that promises a rate: ``true_low`` to ``true_high``, where the FPR on
        endless benign records lies, given the calibration records; ``expected_low`` to ``expected_high``, where that of
        the n at hand does; ``within``. ``precision_at_prevalence`` is that of each section at this ``fpr``.
    """
    n = next((mask.size for mask in flagged.values()), 0)
    levels = {name: _promise(name, int(mask.sum()), n, asked) for name, mask in flagged.items()}
    for name, level in levels.items():
        level["precision_at_prevalence"] = {
            section: _precisions(recall[name], level["fpr"], asked) for section, recall in recalls.items()
        }
    return {"n_calibration": asked.n_calibration, "n_benign": n, "level": LEVEL, "levels": levels}


def by_group(flagged: Mapping[str, Mask], groups: NDArray[np.object_], own: Mapping[str, Asked]) -> Report:
    """False alarms of each group of benign records, the largest group first, at most ``MOST_GROUPS`` of them.

    Args:
        flagged: threshold name -> (n,) mask of the benign records called anomalous at it.
        groups: (n,) names, "" for a record without one.
        own: group -> what its own thresholds promise; the other groups have none, and nothing is promised of them.

    Returns:
        Group -> ``n`` and, for each threshold, the same entries as in ``guarantee``.
    """
    names, counts = np.unique(groups.astype(str), return_counts=True)
    return {
        str(name): {
            "n": int(n),
            "n_calibration": own[name].n_calibration if name in own else None,
            "levels": {
                threshold: _promise(threshold, int(mask[groups == name].sum()), int(n), own.get(name))
                for threshold, mask in flagged.items()
            },
        }
        for name, n in sorted(zip(names, counts, strict=True), key=lambda group: (-group[1], group[0]))[:MOST_GROUPS]
    }


def _rates(name: str, y: ArrayLike, flagged: Mask, asked: Asked) -> Report:
    """The rates of one threshold, against what it promises and at stated prevalences."""
    rates = metrics.rates(y, flagged)
    n = rates["fp"] + rates["tn"]
    promise = _promise(name, rates["fp"], n, asked)
    return {
        **rates,
        "fpr_nominal": promise["nominal"],
        "fpr_expected_low": promise["expected_low"],
        "fpr_expected_high": promise["expected_high"],
        "fpr_within": promise["within"],
        "precision_at_prevalence": _precisions(rates["recall"], rates["fpr"], asked),
    }


def _precisions(recall: float | None, fpr: float | None, asked: Asked) -> dict[str, float | None]:
    return {f"{prevalence:g}": precision_at(prevalence, recall, fpr) for prevalence in asked.figures.prevalences}


def _promise(name: str, flags: int, n: int, asked: Asked | None) -> dict[str, Any]:
    """A nominal FPR, where one is promised, against ``flags`` of ``n`` benign records."""
    nominal, m = (asked.nominal.get(name), asked.n_calibration) if asked else (None, 0)
    low, high = metrics.wilson(flags, n) if n else (None, None)
    expected = interval(m, nominal, LEVEL, tested=n) if nominal is not None and n else None
    true = interval(m, nominal, LEVEL) if nominal is not None else None
    return {
        "nominal": nominal,
        "true_low": true[0] if true else None,
        "true_high": true[1] if true else None,
        "fpr": flags / n if n else None,
        "fpr_low": low,
        "fpr_high": high,
        "alerts_per_million_benign": 1e6 * flags / n if n else None,
        "expected_low": expected[0] if expected else None,
        "expected_high": expected[1] if expected else None,
        "within": bool(expected[0] <= flags / n <= expected[1]) if expected else None,
    }


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None

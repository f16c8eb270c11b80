"""Which records are explained, and by what: the strongest alerts of each kind, false alarms among them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.models import read_model
from pipeline.artifacts.samples import read_samples
from pipeline.base.samples import CONTEXT, Samples, joined
from pipeline.calibration.calibration import Calibration
from pipeline.calibration.prediction import Prediction
from pipeline.evaluation.attribution import LARGEST, Explanation, Native, explain, rows
from pipeline.models.detectors.folds import Folds
from pipeline.models.scoring import ROWS_AT_ONCE, in_batches, with_features
from pipeline.serving.bundle import FITTED_ON, Bundle
from pipeline.serving.reasons import scoring_of, shares_of, with_shares

MOST_OF_A_KIND: Final = 3


def explained(splits: Mapping[str, Prediction], threshold: str) -> list[dict[str, Any]]:
    """Rows of ``explanations.csv``: those of ``attribution.rows`` with what the record was and what drove its score.

    The strongest alert of each attack comes first, unseen ones before, then the second of each. ``stage`` is the
    score with the largest share in the score.

    Args:
        splits: name of a test split -> its prediction, in the order of its rows.
        threshold: above which a record is an alert.
    """
    bundle = Bundle.of_project()
    benign = _fitted_on(bundle)
    scoring, native = scoring_of(bundle), _native(bundle)
    found: list[tuple[int, int, list[dict[str, Any]]]] = []
    for number, (split, judged) in enumerate(splits.items()):
        samples = read_samples(paths.PROCESSED, split)
        chosen, places = _strongest(samples.attack, judged.ranked, judged.flagged[threshold])
        alerts = samples.select(chosen)
        explanations = _whole(explain(alerts, benign, scoring, native), bundle.calibration, judged, chosen)
        for place, name, alert in zip(places, alerts.attack, explanations, strict=True):
            about = {"split": split, "attack": str(name), "stage": max(alert.shares, key=lambda key: alert.shares[key])}
            found.append((place, number, [about | row for row in rows([alert])]))
    return [row for _, _, part in sorted(found, key=lambda part: part[:2]) for row in part]


def _whole(
    alerts: list[Explanation], calibration: Calibration, judged: Prediction, chosen: NDArray[np.intp]
) -> list[Explanation]:
    """The same explanations with the context among the scores, where it has one."""
    if CONTEXT not in calibration.used or not alerts:
        return alerts
    shares = shares_of(calibration, {name: scores[chosen] for name, scores in judged.scores.items()})
    whole = zip(with_shares(alerts, shares), chosen.tolist(), strict=True)
    return [replace(alert, score=float(min(judged.score[row], LARGEST))) for alert, row in whole]


def _fitted_on(bundle: Bundle) -> Samples:
    """The benign records that the detector was fitted on, in their order; with folds not of train alone."""
    names = FITTED_ON if isinstance(bundle.model.detector, Folds) else ("train",)
    parts = [read_samples(paths.PROCESSED, name) for name in names]
    return joined([part.select(part.trusted) for part in parts])


def _native(bundle: Bundle) -> Native:
    model = bundle.model

    def seen(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return in_batches(
            lambda part: with_features(model.encoder(part), part, model.pass_features), x, ROWS_AT_ONCE, model.device
        )

    columns = tuple(read_model(paths.DETECTOR)[0]["columns"])
    return Native(model.detector, seen, columns, model.device)  # type: ignore[arg-type]  # every registered one explains


def _strongest(
    attack: NDArray[Any], score: NDArray[np.float64], flagged: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], list[int]]:
    """Rows of the strongest alerts of each attack and of the benign records, whose are false; and their places."""
    names, chosen = np.asarray(attack).astype(str), [np.zeros(0, np.intp)]
    places: list[int] = []
    for name in np.unique(names):
        rows = np.flatnonzero(flagged & (names == name))
        strongest = rows[np.argsort(-score[rows], kind="stable")][:MOST_OF_A_KIND]
        chosen.append(strongest)
        places += range(len(strongest))
    return np.concatenate(chosen), places

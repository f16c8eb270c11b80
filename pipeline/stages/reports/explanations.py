"""Which records are explained, and by what: the strongest alerts of each kind, false alarms among them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.models import read_model
from pipeline.artifacts.samples import read_samples
from pipeline.artifacts.tables import are_among
from pipeline.base.samples import CONTEXT, Samples, joined
from pipeline.calibration.calibration import Calibration
from pipeline.calibration.prediction import Prediction
from pipeline.evaluation.attribution import MOST_BENIGN, Explanation, Native, explain, rows
from pipeline.models.arrays.folds import FoldsForm
from pipeline.serving.benign import rows_of
from pipeline.serving.bundle import Bundle
from pipeline.serving.gathered import FITTED_ON
from pipeline.serving.reasons import Explainer, scoring_of

MOST_OF_A_KIND: Final = 3


def explained(splits: Mapping[str, Prediction], threshold: str, bundle: Bundle) -> list[dict[str, Any]]:
    """Rows of ``explanations.csv``: those of ``attribution.rows`` with what the record was and what drove its score.

    ``reason`` is what the record has there in raw units, beside what benign records have; "" of the detector's terms.

    The strongest alert of each attack comes first, unseen ones before, then the second of each. ``stage`` is the
    score with the largest share in the score.

    Args:
        splits: name of a test split -> its prediction, in the order of its rows.
        threshold: above which a record is an alert.
        bundle: the model.
    """
    fitted = _fitted_on(bundle)
    benign = _benign(fitted[:: max(1, -(-len(fitted) // MOST_BENIGN))])
    scoring, native, explainer = scoring_of(bundle), _native(bundle, fitted), Explainer(bundle)
    found: list[tuple[int, int, list[dict[str, Any]]]] = []
    for number, (split, judged) in enumerate(splits.items()):
        attack = read_samples(paths.PROCESSED, split, columns=()).attack
        chosen, places = _strongest(attack, judged.ranked, judged.flagged[threshold])
        alerts = _at(split, chosen, len(attack))
        explanations = explain(alerts, benign, scoring, native, beside=_beside(bundle.calibration, judged, chosen))
        told = _reasons(explainer, explanations)
        for place, name, alert, said in zip(places, alerts.attack, explanations, told, strict=True):
            about = {"split": split, "attack": str(name), "stage": max(alert.shares, key=lambda key: alert.shares[key])}
            found.append((place, number, [about | row | _reason(row, said) for row in rows([alert])]))
    return [row for _, _, part in sorted(found, key=lambda part: part[:2]) for row in part]


def _beside(calibration: Calibration, judged: Prediction, chosen: NDArray[np.intp]) -> dict[str, NDArray[np.float64]]:
    """The scores of the contexts, which do not come from the features, where the decision takes them."""
    return {CONTEXT: judged.context[chosen]} if CONTEXT in calibration.used else {}


def _reasons(explainer: Explainer, explanations: Sequence[Explanation]) -> list[dict[str, str]]:
    """Feature -> what each record has there, in raw units beside what is usual; for the features that are named."""
    ids = np.array([each.record_id for each in explanations], np.uint64)
    order = np.argsort(ids)
    names = [column.name for column in explainer.bundle.columns]
    features = [[part.feature for part in explanations[row].features] for row in order.tolist()]
    found = explainer.told(rows_of(paths.RECORDS, ids, names), features)
    told = [{reason.feature: reason.text for reason in reasons} for reasons in found]
    return [told[place] for place in np.argsort(order).tolist()]


def _reason(row: Mapping[str, Any], told: Mapping[str, str]) -> dict[str, str]:
    return {"reason": told[row["feature"]] if row["account"] == "replacement" else ""}


def _at(split: str, rows: NDArray[np.intp], n: int) -> Samples:
    """The n samples of a split at ``rows``, in their order; no others are read into memory."""
    mask = np.zeros(n, dtype=bool)
    mask[rows] = True
    return read_samples(paths.PROCESSED, split, mask).select(np.searchsorted(np.flatnonzero(mask), rows))


def _fitted_on(bundle: Bundle) -> NDArray[np.uint64]:
    """(n,) ids of the benign records that the detector was fitted on, in their order; with folds not of train alone."""
    names = FITTED_ON if isinstance(bundle.model.detector.form, FoldsForm) else ("train",)
    parts = [read_samples(paths.SCORES, name, columns=()) for name in names]
    return np.concatenate([part.record_id[part.trusted] for part in parts])


def _benign(ids: NDArray[np.uint64]) -> Samples:
    """The samples that models were fitted on with these ids, (k,), in the order of the splits."""
    wanted = np.sort(ids)
    who = {split: read_samples(paths.PROCESSED, split, columns=()).record_id for split in FITTED_ON}
    rows = {split: are_among(each, wanted) for split, each in who.items()}
    return joined([read_samples(paths.PROCESSED, split, mask) for split, mask in rows.items()])


def _native(bundle: Bundle, fitted: NDArray[np.uint64]) -> Native:
    return Native(bundle.model.detector, bundle.model.seen, tuple(read_model(paths.DETECTOR)[0]["columns"]), fitted)


def _strongest(
    attack: NDArray[Any], score: NDArray[np.float64], flagged: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], list[int]]:
    """Rows of the strongest alerts of each attack and of the benign records, whose are false; and their places."""
    chosen, places = [np.zeros(0, np.intp)], list[int]()
    for name in sorted(set(attack.tolist())):
        rows = np.flatnonzero(flagged & (attack == name))
        strongest = rows[np.argsort(-score[rows], kind="stable")][:MOST_OF_A_KIND]
        chosen.append(strongest)
        places += range(len(strongest))
    return np.concatenate(chosen), places

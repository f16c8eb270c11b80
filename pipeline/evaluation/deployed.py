"""What ``metrics.json`` states of the calibrated decision on both test splits."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.base.samples import Samples
from pipeline.calibration.calibration import Calibration
from pipeline.calibration.named_thresholds import UNKNOWN, Names
from pipeline.calibration.prediction import Prediction
from pipeline.evaluation import alarm_share, sections
from pipeline.evaluation.metrics import Mask
from pipeline.evaluation.sections import Asked
from pipeline.settings.evaluate import Figures

LABELS: Final = ("doubted", "others")  # the two parts of the benign test records
SECTIONS = {"seen": "test_seen", "unseen": "test_unseen"}  # section of metrics.json -> split


def asked_of(calibration: Calibration, figures: Figures, predictions: Iterable[Prediction]) -> Asked:
    """What each section states, beside what the decisions promise that judged the records of all sections.

    Nothing is promised over all records where groups have decisions of their own.
    """
    decided = sum((each.decided for each in predictions), Counter[str]())
    side = max(decided, key=lambda name: decided[name], default=UNKNOWN)
    if calibration.groups:
        return Asked({}, calibration.reference.size, figures)
    promised = calibration.promised(decided)
    nominal = {name: alarm_share.beside(name, 0, parts).promised for name, parts in promised.items()}
    return Asked(nominal, calibration.decisions[side].reference.size, figures)


def section(samples: Samples, prediction: Prediction, asked: Asked) -> dict[str, Any]:
    """One section: the whole decision, and stage 1 alone beside it."""
    whole = sections.report(samples.y, samples.attack, prediction.ranked, prediction.flagged, asked)
    alone = {"published": prediction.margin > 0}
    return {**whole, "stage1_only": sections.report(samples.y, samples.attack, prediction.margin, alone, asked)}


def guarantee(
    calibration: Calibration,
    tests: Mapping[str, Samples],
    predictions: Mapping[str, Prediction],
    found: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Names],
    doubted: Mask | None,
    asked: Asked,
) -> dict[str, Any]:
    """The promised and the realised false alarms, of all benign test records and of each group.

    Args:
        calibration: the decision.
        tests: section -> its records.
        predictions: section -> the decision on its records.
        found: section -> its content.
        groups: record column -> (n,) groups of the benign records of all sections; "" where a record has none.
        doubted: (n,) which of the same records have a label that validate doubts; None where it doubts no label.
        asked: what each section states.
    """
    recalls = {name: {key: at["recall"] for key, at in part["thresholds"].items()} for name, part in found.items()}
    flagged = _false_alarms(tests, predictions)
    stated = sections.guarantee(flagged, recalls, asked)
    own = {
        name: replace(asked, nominal=calibration.promises(name), n_calibration=decision.reference.size)
        for name, decision in calibration.groups.items()
    }
    stated["groups"] = {
        column: sections.by_group(flagged, names, own if column == calibration.group else {})
        for column, names in groups.items()
        if (names != UNKNOWN).any()
    }
    if doubted is not None:
        stated["doubted_labels"] = sections.by_group(flagged, np.where(doubted, *LABELS), {LABELS[1]: asked})
    stated["by"] = calibration.group if calibration.groups else None
    stated["worst"] = calibration.worst
    return stated


def _false_alarms(tests: Mapping[str, Samples], predictions: Mapping[str, Prediction]) -> dict[str, NDArray[np.bool_]]:
    """Threshold -> mask of the benign records of all sections that it flags."""
    names = next(iter(predictions.values())).flagged
    return {
        name: np.concatenate([part.flagged[name][tests[key].benign] for key, part in predictions.items()])
        for name in names
    }

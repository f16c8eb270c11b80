"""Whether there are folds, so that every benign record sets the thresholds, or the calibration records are held out."""

from pipeline.artifacts import paths
from pipeline.artifacts.models import read_model
from pipeline.base.errors import ConfigError, SplitError
from pipeline.models.detectors.base import Detector
from pipeline.settings.stage2 import Stage2
from pipeline.stages.dealt import DEALT, Dealt, deal
from pipeline.stages.reports.report import Report
from pipeline.stages.reports.stage2 import say_folds, say_held_out, say_taken
from pipeline.stages.taken import Taken, take


def dealt_or_held_out(settings: Stage2, detector: Detector, report: Report) -> tuple[Taken, Dealt | None]:
    """The rows that are taken; and the n benign ones with the (n,) fold of each, or None where none are dealt.

    Where none are, the calibration records are held out. Which records set the thresholds, and what holds for these, is
    said before anything is fitted.

    Raises:
        ConfigError: folds are asked for, but a model is trained by gradient descent; or a column is unknown.
        SplitError: folds are asked for, but one would be empty.
    """
    kind, trained = settings.calibration.kind, _trained(settings, detector)
    if kind == "cross" and trained:
        raise ConfigError(
            f"stage2.calibration.kind: cross needs models in closed form, but {trained}; set it to split or auto, "
            "which hold the calibration records out"
        )
    if kind == "split" or trained:
        return _held_out(settings, detector, trained or "stage2.calibration.kind is split", report), None
    taken = take(settings.max_rows, together=True)
    try:
        dealt = deal(settings.calibration, taken)
    except SplitError as error:
        if kind == "cross":
            raise
        return _held_out(settings, detector, str(error), report), None
    say_folds(dealt[1], settings.calibration.folds, DEALT, report)
    say_taken(taken, report)
    return taken, dealt


def _held_out(settings: Stage2, detector: Detector, why: str, report: Report) -> Taken:
    taken = take(settings.max_rows, together=False, whole=("train", "val") if detector.trainable else ())
    say_held_out(int(taken["calibration"].sum()), why, report)
    say_taken(taken, report)
    return taken


def _trained(settings: Stage2, detector: Detector) -> str:
    """Which model is trained by gradient descent, so that one for each fold would take long; "" for none."""
    encoder = read_model(paths.ENCODER)[0]["encoder"]
    if encoder != "identity":
        return f"stage1.encoder: {encoder} is trained"
    return f"stage2.detector: {settings.detector} is trained" if detector.trainable else ""

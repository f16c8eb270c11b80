"""Whether there are folds, so that every benign record sets the thresholds, or the calibration records are held out."""

from pipeline.artifacts import paths
from pipeline.artifacts.models import read_model
from pipeline.base.errors import ConfigError, SplitError
from pipeline.models.detectors.base import Detector
from pipeline.settings.stage2 import Stage2
from pipeline.stages.dealt import DEALT, Dealt, deal
from pipeline.stages.reports.report import Report
from pipeline.stages.reports.stage2 import say_folds, say_held_out


def dealt_or_held_out(settings: Stage2, detector: Detector, report: Report) -> Dealt | None:
    """The n benign records with the (n,) fold of each, or None where the calibration records are held out.

    Which records set the thresholds, and what holds for these, is said before anything is fitted.

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
        say_held_out(trained or "stage2.calibration.kind is split", report)
        return None
    try:
        benign, fold = deal(settings.calibration)
    except SplitError as error:
        if kind == "cross":
            raise
        say_held_out(str(error), report)
        return None
    say_folds(fold, settings.calibration.folds, DEALT, report)
    return benign, fold


def _trained(settings: Stage2, detector: Detector) -> str:
    """Which model is trained by gradient descent, so that one for each fold would take long; "" for none."""
    encoder = read_model(paths.ENCODER)[0]["encoder"]
    if encoder != "identity":
        return f"stage1.encoder: {encoder} is trained"
    return f"stage2.detector: {settings.detector} is trained" if detector.trainable else ""

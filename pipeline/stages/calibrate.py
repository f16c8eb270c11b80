"""Benign calibration scores -> thresholds, verdict intervals and p-values."""

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.models import read_model, write_model
from pipeline.artifacts.samples import read_samples
from pipeline.base.registry import build, find
from pipeline.base.samples import Samples
from pipeline.calibration.calibration import LEAST_FOR_A_CLASS, LEAST_FOR_SURPRISALS, Calibration
from pipeline.calibration.fusion import FUSIONS
from pipeline.calibration.groups import check_columns, frequent_only
from pipeline.calibration.thresholds.registry import THRESHOLDS
from pipeline.preprocessing.features import Features
from pipeline.settings.calibrate import Calibrate
from pipeline.stages.calibration_scores import benign_scores, fusion_of
from pipeline.stages.frame import launch
from pipeline.stages.record_groups import groups_of
from pipeline.stages.reports.calibrate import foretell, write_reports
from pipeline.stages.reports.report import Report


def calibrate(settings: Calibrate, report: Report) -> None:
    """Fit the decision on benign records, each scored by a model that has not seen it; show what it says of val."""
    find(FUSIONS, settings.fusion, "calibrate.fusion")
    if settings.group is not None:
        check_columns("calibrate.group", [settings.group], Features.load(*read_model(paths.FEATURES)).reads)
    plugin = settings.settings(settings.thresholds, THRESHOLDS)
    strategy = build(THRESHOLDS, settings.thresholds, "calibrate.thresholds", **plugin)
    benign, worst = benign_scores(settings)
    report.reads(settings.drawn_from, benign)
    foretell(settings, len(benign), report)
    val = read_samples(paths.SCORES, "val")
    calibration = Calibration.fit(
        **dict(zip(benign.columns, benign.x.T.astype(np.float64), strict=True)),
        fusion=fusion_of(settings),
        percentiles=settings.percentiles,
        strategy=strategy,
        used=None if settings.scores == "all" else settings.scores,
        # Benign records of val, so that those of calibration and of test are exchangeable: no surprisal was fitted on
        # either. With folds they come from the left-out scores, which are many.
        surprisals_from=_scores(val, val.benign, LEAST_FOR_SURPRISALS) if worst == 1 else None,
        attacks=_scores(val, ~val.benign, LEAST_FOR_A_CLASS),
        group=settings.group,
        groups=groups_of(settings.group, benign.record_id),
        attack_groups=frequent_only(groups_of(settings.group, val.record_id[~val.benign]), LEAST_FOR_A_CLASS),
        worst=worst,
    )
    write_model(paths.THRESHOLDS, *calibration.state())
    write_reports(calibration, benign, val, groups_of(settings.group, val.record_id), report)


def _scores(samples: Samples, mask: NDArray[np.bool_], least: int) -> list[NDArray[np.float64]] | None:
    """E times (k,) scores of the records under ``mask``, or None if they are fewer than ``least``."""
    return list(samples.x[mask].T.astype(np.float64)) if mask.sum() >= least else None


if __name__ == "__main__":
    launch("calibrate", Calibrate, calibrate)

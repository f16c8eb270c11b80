"""Benign calibration scores -> thresholds, verdict intervals and p-values."""

import numpy as np

from pipeline import artifacts, figures, metrics
from pipeline.config import Calibrate
from pipeline.errors import SplitError
from pipeline.inference import FUSIONS, Calibration
from pipeline.registry import build, find
from pipeline.samples import Samples
from pipeline.stages import launch
from pipeline.stages.report import Report
from pipeline.thresholds import THRESHOLDS

LEVELS = np.geomspace(0.002, 0.3, 24)  # nominal false-positive rates of the calibration curve


def calibrate(settings: Calibrate, report: Report) -> None:
    """Fit the decision on the calibration split; show how it holds on val."""
    find(FUSIONS, settings.fusion, "calibrate.fusion")
    plugin = settings.settings(settings.thresholds, THRESHOLDS)
    strategy = build(THRESHOLDS, settings.thresholds, "calibrate.thresholds", **plugin)
    benign = artifacts.read_samples(artifacts.SCORES, "calibration")
    if not len(benign):
        raise SplitError("there are no benign calibration records; raise preprocess.shares.calibration")
    report.reads("calibration", benign)
    named = dict(zip(benign.columns, benign.x.T.astype(np.float64), strict=True))
    counted = None if settings.evidence == "all" else settings.evidence
    calibration = Calibration.fit(
        **named, fusion=settings.fusion, percentiles=settings.percentiles, strategy=strategy, counted=counted
    )
    artifacts.write_model(artifacts.THRESHOLDS, *calibration.state())
    report.json("thresholds", {"named": dict(calibration.thresholds), "n": len(benign)})
    report.run.metrics({f"threshold.{name}": value for name, value in calibration.thresholds.items()})
    _report(calibration, artifacts.read_samples(artifacts.SCORES, "val"), report)


def _report(calibration: Calibration, val: Samples, report: Report) -> None:
    evidence = val.x.T.astype(np.float64)
    score = calibration.score(*evidence)
    report.judged(0, val, score, calibration.intervals)
    for name, threshold in calibration.thresholds.items():
        report.test_metrics(val.y, calibration.exceeds(name, *evidence), threshold, name)
    report.ranking(val, score)
    p_value = calibration.p_value(score[val.benign])
    alarms = [int((p_value <= level).sum()) for level in LEVELS]
    interval = np.array([metrics.wilson(k, len(p_value)) for k in alarms])
    realised = np.array(alarms) / len(p_value)
    subtitle = f"{report.subtitle}, val"
    figure = figures.calibration_curve(LEVELS, realised, interval, n=len(p_value), subtitle=subtitle)
    report.figure("calibration_curve", figure)


if __name__ == "__main__":
    launch("calibrate", Calibrate, calibrate)

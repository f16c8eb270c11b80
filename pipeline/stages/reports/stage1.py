"""The reports of stage 1: what the margin alone says of val."""

import numpy as np

from pipeline.artifacts.latents import read_margins
from pipeline.calibration.thresholds.percentile import Percentile
from pipeline.stages.reports import scores
from pipeline.stages.reports.report import Report


def write_reports(epoch: int, report: Report) -> None:
    """Judge val by its margin, at the percentiles of the calibration records; ``epoch`` is the last of the training."""
    val = read_margins("val")
    margin = val.x[:, 0].astype(np.float64)
    thresholds = Percentile()(read_margins("calibration").x[:, 0])
    scores.judged(report, epoch, val, margin, thresholds)
    report.test_metrics(val.y, margin > 0, 0.0)  # the published decision of stage 1
    report.test_metrics(val.y, margin > thresholds.high, thresholds.high, "p99")
    scores.ranking(report, val, margin, epoch + 1)

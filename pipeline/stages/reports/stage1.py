"""The reports of stage 1: what the margin alone says of val."""

import numpy as np

from pipeline.artifacts import paths
from pipeline.artifacts.samples import read_samples
from pipeline.calibration.thresholds.percentile import Percentile
from pipeline.stages.reports import scores
from pipeline.stages.reports.report import Report


def write_reports(epoch: int, report: Report) -> None:
    """Judge val by its margin, at the percentiles of the calibration records; ``epoch`` is the last of the training."""
    val = read_samples(paths.LATENT, "val")
    margin = val.x[:, -1].astype(np.float64)
    thresholds = Percentile()(read_samples(paths.LATENT, "calibration").x[:, -1])
    scores.judged(report, epoch, val, margin, thresholds)
    report.test_metrics(val.y, margin > 0, 0.0)  # the published decision of stage 1
    report.test_metrics(val.y, margin > thresholds.high, thresholds.high, "p99")
    scores.ranking(report, val, margin, epoch + 1)

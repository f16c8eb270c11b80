"""What the stages that score records write of the scores: confidence, intervals, a histogram, the ranking."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.base.samples import Samples
from pipeline.calibration import confidence
from pipeline.calibration.thresholds.base import Thresholds
from pipeline.evaluation import metrics
from pipeline.reporting.figures.models import score_histogram
from pipeline.stages.reports.report import Report


def judged(
    report: Report,
    epoch: int,
    samples: Samples,
    score: NDArray[np.floating[Any]],
    thresholds: Thresholds,
    said: tuple[NDArray[np.float32], NDArray[np.str_]] | None = None,
) -> None:
    """The confidence CSV, interval JSON and analysis figure of scores that were judged after ``epoch``.

    ``said`` is the confidence and the verdict, (n,) each, where other thresholds than these decided on some.
    """
    sure, verdict = said or (confidence.binary(score, thresholds), thresholds.verdict(score))
    columns: dict[str, NDArray[Any]] = {
        "record_id": samples.record_id,
        "score": np.asarray(score, dtype=np.float64),
        "confidence": sure,
        "verdict": verdict,
    }
    report.confidence_table(epoch, columns)
    report.json(f"confidence_intervals_epoch_{epoch}", thresholds.intervals())
    groups = np.where(samples.benign, "benign", "attack")
    figure = score_histogram(score, groups, thresholds, subtitle=report.subtitle)
    report.figure(f"confidence_analysis_epoch_{epoch}", figure)


def ranking(report: Report, samples: Samples, score: NDArray[np.floating[Any]], step: int | None = None) -> None:
    """AUROC and AUPRC of one score on one split, as metrics of the run, at a step behind those of its epochs."""
    values = {"auroc": metrics.auroc(samples.y, score), "auprc": metrics.auprc(samples.y, score)}
    report.run.metrics({f"val.{name}": value for name, value in values.items() if value is not None}, step)

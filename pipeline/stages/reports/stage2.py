"""The reports of stage 2: which records will set the thresholds, and what the detector alone says of val."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.samples import read_samples
from pipeline.base.samples import Samples
from pipeline.calibration.cross_conformal import IN_EVERY_MODEL, worst_factor
from pipeline.calibration.thresholds.percentile import Percentile
from pipeline.stages.reports import scores
from pipeline.stages.reports.report import Report


def say_held_out(held: int, why: str, report: Report) -> None:
    """One model for all: the ``held`` calibration records set the thresholds."""
    report.say(f"{held:,} benign calibration records, on which no model is fitted, will set the thresholds: {why}")


def say_folds(fold: NDArray[np.int64], folds: int, splits: Sequence[str], report: Report) -> None:
    """A model for each fold: all benign records of ``splits`` set the thresholds; ``fold``, (n,), is that of each."""
    dealt = int((fold != IN_EVERY_MODEL).sum())
    report.say(
        f"All {dealt:,} benign records of {', '.join(splits)} will set the thresholds, in {folds} folds. "
        "If the models of the folds are alike, about 1 % of new benign records exceed a level of 1 %. "
        f"Whatever the models are, at most {worst_factor(fold):.1f} % do."
    )
    if dealt < len(fold):
        report.say(f"{len(fold) - dealt:,} alerts that were dismissed are fitted by every model, and set no threshold")


def say_taken(taken: Mapping[str, NDArray[np.bool_]], report: Report) -> None:
    """How many rows are taken of each split, (n,) which, where it is a sample."""
    sampled = {split: rows for split, rows in taken.items() if not rows.all()}
    if sampled:
        told = ", ".join(f"{rows.sum():,} of {len(rows):,} of {split}" for split, rows in sampled.items())
        report.say(f"Models and thresholds are fitted on samples, drawn by the ids of records: {told}")


def say_no_head(head: str, report: Report) -> None:
    """That a head which the settings name is left out."""
    if head != "none":
        report.say(f"no head: {head} learns from seen attacks, and the training records have none")


def write_reports(epoch: int, benign: Samples, report: Report) -> None:
    """Report on val by the detector's score, at percentiles of ``benign`` records that it has not seen."""
    val = read_samples(paths.SCORES, "val")
    score = val.x[:, 1].astype(np.float64)
    thresholds = Percentile()(benign.x[:, 1])
    scores.judged(report, epoch, val, score, thresholds)
    report.test_metrics(val.y, score > thresholds.high, thresholds.high, "p99")
    scores.ranking(report, val, score, epoch + 1)

"""The reports of a training: its epochs, its loss curves and its confidence updates."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.base.samples import Samples
from pipeline.calibration.thresholds.base import VERDICTS
from pipeline.models.training import History, Update, Updates
from pipeline.reporting.figures.confidence import confidence_analysis
from pipeline.reporting.figures.models import loss_curves, no_loss
from pipeline.stages.reports.report import Report


def nothing_to_train(name: str, report: Report) -> None:
    """In place of the loss curves a figure that says why there are none: DVC shows what stands under their name."""
    report.figure("loss_curves", no_loss(name, report.subtitle))


def given_confidence(path: str, rows: int, used: int, report: Report) -> None:
    """How many rows of a table of confidence are of other records than the training ones."""
    others = rows - used
    report.run.metrics({"confidence.of_other_records": others})
    if others:
        report.say(f"{path}: {others:,} of {rows:,} record_ids are of other records; ignored")


def as_metrics(row: Mapping[str, Any]) -> dict[str, float]:
    """A row of the history as metrics of its epoch: ``val.auroc`` and ``val.f1`` as every stage names them."""
    names = {"val_auroc": "val.auroc", "val_f1": "val.f1"}
    return {names.get(key, key): float(value) for key, value in row.items() if value is not None}


def write_history(name: str, history: History, plan: Updates | None, report: Report) -> None:
    """The epochs as a table and a figure, which one was kept, and what became of the confidence updates."""
    rows = history.records()
    report.table("history", rows)
    report.figure("loss_curves", loss_curves(rows, history.best_epoch, name, report.subtitle))
    values = {"best_epoch": history.best_epoch, "records_per_s": rows[-1]["records_per_s"]}
    kept = f"{name}: the weights of epoch {history.best_epoch} of 0 to {len(rows) - 1} were kept"
    if plan is not None:
        kept += f"; they have trained on {history.updates_seen} confidence updates"
        values |= {"kept_updates": history.updates_seen, "undone_updates": len(history.undone)}
        undone = [asdict(update) for update in history.undone]
        report.json("confidence_updates", {"kept": history.updates_seen, "undone": undone})
    report.say(kept)
    report.run.metrics(values)
    for update in history.undone:
        report.say(f"{name}: the confidence update after epoch {update.epoch} was taken back: {update.reason}")


def write_update(update: Update, train: Samples, plan: Updates, report: Report) -> None:
    """Confidence CSV, interval JSON and analysis figure of an update; the share in each region, and how right it was.

    Where the truth is known, ``precision`` is the share of attacks among the records labelled benign that the update
    takes for anomalous, ``recall`` the share of those attacks that it takes for anomalous.
    """
    epoch, judged = update.epoch, train.benign
    verdict = update.thresholds.verdict(update.score)
    columns: dict[str, NDArray[Any]] = {"record_id": train.record_id, "score": update.score}
    report.confidence_table(epoch, {**columns, "confidence": update.confidence, "verdict": verdict})
    report.json(f"confidence_intervals_epoch_{epoch}", update.thresholds.intervals())
    score, hidden = update.score[judged], train.attack[judged] != "benign"
    groups = np.where(hidden, "hidden attack", "labelled benign")
    analysis = plan.strategy.analysis(score, update.previous)
    figure = confidence_analysis(score, groups, update.thresholds, analysis, subtitle=report.subtitle)
    report.figure(f"confidence_analysis_epoch_{epoch}", figure)
    anomalous = update.confidence[judged] < 0
    found = int((anomalous & hidden).sum())
    values = {name: float((verdict[judged] == name).mean()) for name in VERDICTS}
    values["taken_for_anomalous"] = float(anomalous.mean())
    if anomalous.any():
        values["precision"] = found / int(anomalous.sum())
    if hidden.any():
        values["recall"] = found / int(hidden.sum())
    report.run.metrics({f"update.{name}": value for name, value in values.items()}, step=epoch)

"""What both training stages do: samples to tensors, one fit with its confidence updates, its curves."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline import artifacts
from pipeline.base.errors import CollapseError, ConfigError, DataError, TrainingError
from pipeline.base.registry import build
from pipeline.base.samples import Samples
from pipeline.calibration import confidence
from pipeline.calibration.confidence import CONFIDENCES
from pipeline.calibration.thresholds.base import VERDICTS
from pipeline.calibration.thresholds.registry import THRESHOLDS
from pipeline.models.layers import Batch, Model, Scorer
from pipeline.models.training import BESIDE, History, UnscoredError, Update, Updates, fit
from pipeline.reporting.figures.confidence import confidence_analysis
from pipeline.reporting.figures.models import loss_curves
from pipeline.settings.training import ConfidenceSettings, FitSettings, Training
from pipeline.stages.reports.report import Report

ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class Learnt:
    """What a training leaves beside the weights.

    Attributes:
        epoch: the last one, counted from 0; 0 where nothing was to be trained.
        confidence: (n,) of the training records, as it stood at the end.
    """

    epoch: int
    confidence: NDArray[np.float32]


def batch_of(samples: Samples) -> Batch:
    """A whole split as one batch of tensors; x shares its memory, which is most of it."""
    return Batch(torch.from_numpy(samples.x), torch.tensor(samples.y), torch.tensor(samples.confidence))


def device_of(settings: FitSettings) -> torch.device:
    """Where to score in bulk: the device that the settings name."""
    named = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(named if settings.device == "auto" else settings.device)


@dataclass(frozen=True)
class Splits:
    """What a model is trained and judged on.

    Attributes:
        train: the rows that it trains on.
        val: those whose loss chooses the epoch.
        watched: those whose AUROC and F1 are told after each epoch, where both classes are among them. A model that
            trains on benign records is chosen by benign ones, but watched on attacks too.
    """

    train: Samples
    val: Samples
    watched: Samples


def learn(model: Scorer, data: Splits, settings: Training, stage: str, report: Report) -> Learnt:
    """Fit ``model``, with confidence updates where the settings or the model ask for them, and draw its loss.

    Raises:
        CollapseError: the trained model is no better than the untrained one.
    """
    name = type(model).__name__
    train = _with_given_confidence(data.train, settings.confidence, report)
    plan = updates_of(model, settings.confidence, stage)
    if not model.trainable:
        figure = loss_curves([], None, f"{name}: closed form", report.subtitle)
        report.figure("loss_curves", figure)
        return Learnt(0, train.confidence)
    judge = batch_of(data.val)
    # A stage that dies loses its reports, and its training goes on: those of updates wait beside the checkpoint.
    waiting = Report(artifacts.CHECKPOINTS / stage / BESIDE, report.run)
    untrained = _loss(model, judge)
    try:
        history = fit(
            model,
            batch_of(train),
            judge,
            settings.fit,
            artifacts.CHECKPOINTS / stage,
            on_epoch=lambda epoch, values: report.run.metrics(_as_metrics(values), step=epoch),
            watched=batch_of(data.watched) if len(np.unique(data.watched.y)) == 2 else None,
            updates=plan,
            on_update=lambda update: _report(update, train, plan, waiting),  # type: ignore[arg-type]  # only with a plan
        )
    except UnscoredError as error:
        first = train.record_id[error.rows[0]]
        raise TrainingError(f"record {first:016x}: {error}") from error
    waiting.hand_over(report)
    _refuse_collapse(name, untrained, _loss(model, judge))
    _report_history(name, history, plan, report)
    return Learnt(len(history.rows) - 1, history.confidence)  # type: ignore[arg-type]  # it was trained


def _as_metrics(row: Mapping[str, Any]) -> dict[str, float]:
    """A row of the history as metrics of its epoch: ``val.auroc`` and ``val.f1`` as every stage names them."""
    names = {"val_auroc": "val.auroc", "val_f1": "val.f1"}
    return {names.get(key, key): float(value) for key, value in row.items() if value is not None}


def _report_history(name: str, history: History, plan: Updates | None, report: Report) -> None:
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


def updates_of(model: Scorer, settings: ConfidenceSettings, stage: str) -> Updates | None:
    """The confidence updates that the settings of ``stage``, or else the model, ask for; None for none.

    Raises:
        ConfigError: a name or a setting is unknown, or the loss of the model would not heed what the updates say.
    """
    if settings.updates == "never" or (settings.updates == "published" and not model.updated):
        return None
    if not model.heeds_confidence:
        raise ConfigError(
            f"{stage}.confidence.updates: {settings.updates!r}, but the loss of {type(model).__name__} heeds no "
            "confidence; choose leave_out or push where it has a setting confidence (maf, each loss of stage1), or "
            "another model"
        )
    known = {*THRESHOLDS, *CONFIDENCES}
    strategy = model.strategy if settings.thresholds == "published" else settings.thresholds
    rule = model.rule if settings.rule == "published" else settings.rule
    every = model.every_n_epochs if settings.every_n_epochs == "published" else settings.every_n_epochs
    unknown = settings.max_unknown_share
    return Updates(
        build(THRESHOLDS, strategy, f"{stage}.confidence.thresholds", **settings.settings(strategy, known)),
        build(CONFIDENCES, rule, f"{stage}.confidence.rule", **settings.settings(rule, known)),
        every_n_epochs=every,
        warm_up=(model.warm_up or every) if settings.warm_up == "published" else settings.warm_up,
        max_share=settings.max_share,
        max_unknown_share=model.max_unknown_share if unknown == "own" else unknown,
        smoothing=settings.smoothing,
        undo=settings.undo,
    )


def _report(update: Update, train: Samples, plan: Updates, report: Report) -> None:
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


def _with_given_confidence(train: Samples, settings: ConfidenceSettings, report: Report) -> Samples:
    if settings.initial is None:
        return train
    given = artifacts.read_confidence(Path(settings.initial))
    try:
        matched = confidence.matched(train.record_id, *given)
    except DataError as error:
        raise DataError(f"{settings.initial}: {error}") from error
    others = len(given[0]) - len(train)
    report.run.metrics({"confidence.of_other_records": others})
    if others:
        report.say(f"{settings.initial}: {others:,} of {len(given[0]):,} record_ids are of other records; ignored")
    return replace(train, confidence=matched)


def _loss(model: Model, batch: Batch) -> float:
    """Mean loss in evaluation mode."""
    was_training = model.training
    model.eval()
    parts = zip(*(torch.split(column, ROWS_AT_ONCE) for column in batch), strict=True)
    with torch.no_grad():
        losses = [(len(x), float(model.loss(Batch(x, y, c)))) for x, y, c in parts]
    model.train(was_training)
    return sum(n * loss for n, loss in losses) / len(batch.y)


def _refuse_collapse(name: str, untrained: float, trained: float) -> None:
    if not trained < untrained:
        raise CollapseError(
            f"{name}: the validation loss of the trained model, {trained:g}, is not below that of the untrained one, "
            f"{untrained:g}; train for longer (epochs, min_steps), or lower learning_rate"
        )

"""What both training stages do: fit a model, update the confidence of its records meanwhile, and report on it."""

import numpy as np

from pipeline.artifacts import paths
from pipeline.base.errors import TrainingError
from pipeline.base.samples import Samples
from pipeline.models.base import Scorer
from pipeline.models.training import BESIDE, History, UnscoredError, Updates, fit, ranks
from pipeline.models.training.bulk import Learnt, Splits, batch_of, mean_loss, refuse_collapse
from pipeline.models.training.given import with_given_confidence
from pipeline.models.training.plan import updates_of
from pipeline.settings.training import FitSettings, Training
from pipeline.stages.reports import training
from pipeline.stages.reports.report import Report


def learn(model: Scorer, data: Splits, settings: Training, stage: str, report: Report) -> Learnt:
    """Fit ``model``, with confidence updates where they are asked for, and draw its loss; other processes end here.

    Raises:
        CollapseError: the trained model is no better than the untrained one.
    """
    name, train, given = type(model).__name__, data.train, settings.confidence.initial
    if given is not None:
        train, rows = with_given_confidence(train, given, model, stage)
        training.given_confidence(given, rows, len(train), report)
    plan = updates_of(model, settings.confidence, stage)
    if not model.trainable:
        training.nothing_to_train(name, report)
        return Learnt(0, train.confidence)
    # A stage that dies loses its reports, and its training goes on: those of updates wait beside the checkpoint.
    waiting = Report(paths.CHECKPOINTS / stage / BESIDE, report.run)
    untrained = mean_loss(model, judge := batch_of(data.val))
    history = _fit(model, train, data, settings.fit, stage, plan, waiting)
    ranks.end_others()
    waiting.hand_over(report)
    refuse_collapse(name, untrained, mean_loss(model, judge))
    training.write_history(name, history, plan, report)
    return Learnt(len(history.rows) - 1, history.confidence)  # type: ignore[arg-type]  # it was trained


def _fit(
    model: Scorer, train: Samples, data: Splits, how: FitSettings, stage: str, plan: Updates | None, waiting: Report
) -> History:
    watched = batch_of(data.watched) if len(np.unique(data.watched.y)) == 2 else None
    try:
        return fit(
            model,
            batch_of(train),
            batch_of(data.val),
            how,
            paths.CHECKPOINTS / stage,
            on_epoch=lambda epoch, values: waiting.run.metrics(training.as_metrics(values), step=epoch),
            watched=watched,
            updates=plan,
            on_update=lambda update: training.write_update(update, train, plan, waiting),  # type: ignore[arg-type]  # only with a plan
        )
    except UnscoredError as error:
        raise TrainingError(f"record {train.record_id[error.rows[0]]:016x}: {error}") from error

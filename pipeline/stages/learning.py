"""What both training stages do: samples to tensors, one fit, its curves."""

import torch

from pipeline import artifacts, figures
from pipeline.config import Fit
from pipeline.nn import Batch, Model
from pipeline.samples import Samples
from pipeline.stages.report import Report
from pipeline.training import FitSettings, fit


def batch_of(samples: Samples) -> Batch:
    """A whole split as one batch of tensors; x shares its memory, which is most of it."""
    return Batch(torch.from_numpy(samples.x), torch.tensor(samples.y), torch.tensor(samples.confidence))


def device_of(settings: Fit) -> torch.device:
    """Where to score in bulk: the device that the settings name."""
    named = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(named if settings.device == "auto" else settings.device)


def learn(model: Model, train: Batch, val: Batch, settings: Fit, stage: str, report: Report) -> int:
    """Fit ``model`` and draw its loss; returns the epoch whose weights were kept, 0 where nothing is to be trained."""
    if not model.trainable:
        report.figure(
            "loss_curves", figures.loss_curves([], None, f"{type(model).__name__}: closed form", report.subtitle)
        )
        return 0
    history = fit(
        model,
        train,
        val,
        FitSettings(**settings.model_dump()),
        artifacts.CHECKPOINTS / stage,
        on_epoch=lambda epoch, values: report.run.metrics(values, step=epoch),
    )
    rows = history.records()
    report.table("history", rows)
    name = type(model).__name__
    report.figure("loss_curves", figures.loss_curves(rows, history.best_epoch, name, report.subtitle))
    report.run.metrics({"best_epoch": history.best_epoch, "records_per_s": rows[-1]["records_per_s"]})
    return history.best_epoch

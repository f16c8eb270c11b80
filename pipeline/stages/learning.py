"""What both training stages do: samples to tensors, one fit, its curves."""

import torch
from torch import nn

from pipeline import artifacts, figures
from pipeline.config import Fit
from pipeline.nn import Batch
from pipeline.samples import Samples
from pipeline.stages.report import Report
from pipeline.training import FitSettings, device_named, fit


def batch_of(samples: Samples) -> Batch:
    """A whole split as one batch of tensors, which share its memory."""
    return Batch(torch.from_numpy(samples.x), torch.from_numpy(samples.y), torch.from_numpy(samples.confidence))


def device_of(settings: Fit) -> torch.device:
    """The device that the settings name."""
    return device_named(settings.device)


def learn(model: nn.Module, train: Batch, val: Batch, settings: Fit, stage: str, report: Report) -> int:
    """Fit ``model`` and draw its loss; returns the epoch whose weights were kept, 0 where nothing is to be trained."""
    if not any(parameter.requires_grad for parameter in model.parameters()):
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

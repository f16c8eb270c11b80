"""The encoder of stage 1: built from the settings, and the records that it is fitted on."""

from typing import Final

from pipeline.artifacts import paths
from pipeline.artifacts.samples import read_samples
from pipeline.base.registry import build
from pipeline.base.samples import Samples, drawn
from pipeline.models.encoders.base import Encoder
from pipeline.models.encoders.losses.registry import LOSSES
from pipeline.models.encoders.registry import ENCODERS
from pipeline.settings.stage1 import Stage1
from pipeline.stages.reports.report import Report

CENTRED: Final = 50_000  # records at most that the centroids of an encoder that is not trained come from


def built(settings: Stage1, columns: tuple[str, ...]) -> tuple[Encoder, dict[str, object]]:
    """The encoder, and what its JSON says of it."""
    known = {*ENCODERS, *LOSSES}
    plugin, loss_plugin = (settings.settings(name, known) for name in (settings.encoder, settings.loss))
    loss = build(LOSSES, settings.loss, "stage1.loss", **loss_plugin)
    encoder = build(ENCODERS, settings.encoder, "stage1.encoder", features=len(columns), loss=loss, **plugin)
    return encoder, {
        "encoder": settings.encoder,
        "settings": plugin,
        "loss": settings.loss,
        "loss_settings": loss_plugin,
        "pass_features": settings.pass_features,
        "columns": list(columns),
    }


def balanced_rows(encoder: Encoder, report: Report) -> Samples:
    """The balanced train rows; for an encoder that is not trained, a sample of many."""
    train = read_samples(paths.PROCESSED, "train", columns=())
    rows = train.balanced.copy()
    if not encoder.trainable:
        rows[rows] = drawn(train.record_id[rows], CENTRED)
    if rows.sum() < train.balanced.sum():
        report.say(f"the centroids come from {rows.sum():,} of {train.balanced.sum():,} records, drawn by their ids")
    return read_samples(paths.PROCESSED, "train", rows)

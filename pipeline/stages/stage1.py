"""Features -> latent: an encoder trained on benign records and seen attacks, and its margin between the two."""

import torch

from pipeline.artifacts import paths
from pipeline.artifacts.models import write_model
from pipeline.artifacts.samples import read_samples
from pipeline.base.registry import build
from pipeline.models.encoders.base import Encoder
from pipeline.models.encoders.losses.registry import LOSSES
from pipeline.models.encoders.registry import ENCODERS
from pipeline.models.training.bulk import Splits, device_of
from pipeline.settings.stage1 import Stage1
from pipeline.stages import launch
from pipeline.stages.latents import mapped, write_latents
from pipeline.stages.learning import learn
from pipeline.stages.reports.report import Report
from pipeline.stages.reports.stage1 import write_reports


def stage1(settings: Stage1, report: Report) -> None:
    """Train the encoder on the balanced train rows, then map every split to its latent and margin."""
    train, val = (read_samples(paths.PROCESSED, split) for split in ("train", "val"))
    balanced = train.select(train.balanced)
    report.reads("train", balanced)
    torch.manual_seed(settings.fit.seed)  # of the starting weights, so that a killed stage goes on with its own
    encoder, description = _build(settings, train.columns)
    encoder.initialise(torch.from_numpy(balanced.x), torch.tensor(balanced.y))
    learnt = learn(encoder, Splits(balanced, val, val), settings, "stage1", report)
    device = device_of(settings.fit.device)
    z = torch.from_numpy(mapped(encoder.to(device), balanced.x, device))
    y = torch.tensor(balanced.y)
    taken = torch.from_numpy((balanced.y != 0) | (learnt.confidence >= 0))  # not what turned out to be anomalous
    encoder.cpu().centre(z[taken], y[taken])
    encoder.verify(z, y)
    write_model(paths.ENCODER, description, {name: tensor.numpy() for name, tensor in encoder.state_dict().items()})
    write_latents(encoder.to(device), device, settings.pass_features)
    write_reports(learnt.epoch, report)


def _build(settings: Stage1, columns: tuple[str, ...]) -> tuple[Encoder, dict[str, object]]:
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


if __name__ == "__main__":
    launch("stage1", Stage1, stage1)

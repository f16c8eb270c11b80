"""Features -> latent: an encoder trained on benign records and seen attacks, and its margin between the two."""

import torch

from pipeline.artifacts import paths
from pipeline.artifacts.models import write_model
from pipeline.artifacts.samples import columns_of_x, read_samples
from pipeline.models.training.bulk import Splits, device_of
from pipeline.settings.stage1 import Stage1
from pipeline.stages.encoders import balanced_rows, built
from pipeline.stages.latents import mapped, write_latents
from pipeline.stages.learning import learn
from pipeline.stages.ranks import launch, trained_or_alone
from pipeline.stages.reports.report import Report
from pipeline.stages.reports.stage1 import write_reports


def stage1(settings: Stage1, report: Report) -> None:
    """Train the encoder on the balanced train rows, then map every split to its latent and margin."""
    torch.manual_seed(settings.fit.seed)  # of the starting weights, so that a killed stage goes on with its own
    encoder, description = built(settings, columns_of_x(paths.PROCESSED / "train.parquet"))
    trained_or_alone(encoder, settings.fit, report)
    balanced = balanced_rows(encoder, report)
    report.reads("train", balanced)
    encoder.require_classes(torch.tensor(balanced.y))
    encoder.initialise(torch.from_numpy(balanced.x), torch.tensor(balanced.y))
    val = read_samples(paths.PROCESSED, "val") if encoder.trainable else balanced.select(slice(0))
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


if __name__ == "__main__":
    launch("stage1", Stage1, stage1)

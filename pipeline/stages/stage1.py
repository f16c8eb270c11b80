"""Features -> latent: an encoder trained on benign records and seen attacks, and its margin between the two."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline import artifacts
from pipeline.base.registry import build
from pipeline.calibration.thresholds.percentile import Percentile
from pipeline.models.encoders.base import Encoder
from pipeline.models.encoders.losses.registry import LOSSES
from pipeline.models.encoders.registry import ENCODERS
from pipeline.models.layers import in_batches, in_parts, with_features
from pipeline.preprocessing import splits
from pipeline.settings.stage1 import Stage1
from pipeline.stages import launch
from pipeline.stages.learning import ROWS_AT_ONCE, Splits, device_of, learn
from pipeline.stages.reports import scores
from pipeline.stages.reports.report import Report


def stage1(settings: Stage1, report: Report) -> None:
    """Train the encoder on the balanced train rows, then map every split to its latent and margin."""
    train = artifacts.read_samples(artifacts.PROCESSED, "train")
    balanced = train.select(train.balanced)
    report.reads("train", balanced)
    torch.manual_seed(settings.fit.seed)  # of the starting weights, so that a killed stage goes on with its own
    encoder = _build(settings, len(train.columns))
    encoder.initialise(torch.from_numpy(balanced.x), torch.tensor(balanced.y))
    val = artifacts.read_samples(artifacts.PROCESSED, "val")
    learnt = learn(encoder, Splits(balanced, val, val), settings, "stage1", report)
    device = device_of(settings.fit)
    encoder.to(device)
    z = torch.from_numpy(_in_parts(encoder, balanced.x, device))
    y = torch.tensor(balanced.y)
    taken = torch.from_numpy((balanced.y != 0) | (learnt.confidence >= 0))  # not what turned out to be anomalous
    encoder.cpu().centre(z[taken], y[taken])
    encoder.verify(z, y)
    weights = {name: tensor.numpy() for name, tensor in encoder.state_dict().items()}
    artifacts.write_model(artifacts.ENCODER, _description(settings, train.columns), weights)
    _map(encoder.to(device), device, settings.pass_features)
    _report(learnt.epoch, report)


def _build(settings: Stage1, features: int) -> Encoder:
    known = {*ENCODERS, *LOSSES}
    loss = build(LOSSES, settings.loss, "stage1.loss", **settings.settings(settings.loss, known))
    plugin = settings.settings(settings.encoder, known)
    return build(ENCODERS, settings.encoder, "stage1.encoder", features=features, loss=loss, **plugin)


def _description(settings: Stage1, columns: tuple[str, ...]) -> dict[str, object]:
    known = {*ENCODERS, *LOSSES}
    return {
        "encoder": settings.encoder,
        "settings": settings.settings(settings.encoder, known),
        "loss": settings.loss,
        "loss_settings": settings.settings(settings.loss, known),
        "pass_features": settings.pass_features,
        "columns": list(columns),
    }


def _in_parts(
    function: Callable[[Tensor], Tensor], x: NDArray[np.float32], device: torch.device
) -> NDArray[np.float32]:
    return in_batches(lambda rows: in_parts(function, rows, ROWS_AT_ONCE), x, ROWS_AT_ONCE, device)


def _map(encoder: Encoder, device: torch.device, pass_features: bool) -> None:
    """Store what the second stage sees, and the margin, of every split."""

    def latent_and_margin(x: Tensor) -> Tensor:
        z = encoder(x)
        return torch.cat([with_features(z, x, pass_features), encoder.margin(z)[:, None]], dim=1)  # (B, Z (+ F) + 1)

    def function(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return _in_parts(latent_and_margin, x, device)

    latent = tuple(f"z{i}" for i in range(encoder.latent))
    with artifacts.whole_folder(artifacts.LATENT) as folder:
        for split in splits.SPLITS:
            samples = artifacts.read_samples(artifacts.PROCESSED, split)
            columns = (*latent, *(samples.columns if pass_features else ()), "margin")
            artifacts.write_samples(folder, split, samples.map(function, columns))


def _report(epoch: int, report: Report) -> None:
    val = artifacts.read_samples(artifacts.LATENT, "val")
    margin = val.x[:, -1].astype(np.float64)
    thresholds = Percentile()(artifacts.read_samples(artifacts.LATENT, "calibration").x[:, -1])
    scores.judged(report, epoch, val, margin, thresholds)
    report.test_metrics(val.y, margin > 0, 0.0)  # the published decision of stage 1
    report.test_metrics(val.y, margin > thresholds.high, thresholds.high, "p99")
    scores.ranking(report, val, margin, epoch + 1)


if __name__ == "__main__":
    launch("stage1", Stage1, stage1)

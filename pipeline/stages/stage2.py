"""Latent -> score: a detector trained on the benign latents, higher where a record is more anomalous."""

from collections.abc import Sequence

import numpy as np
import torch

from pipeline import artifacts, splits
from pipeline.config import Stage2
from pipeline.datasets.labels import family
from pipeline.detectors import DETECTORS, Detector
from pipeline.errors import ConfigError
from pipeline.nn import in_batches
from pipeline.registry import build
from pipeline.samples import EVIDENCE, Samples
from pipeline.stages import launch
from pipeline.stages.learning import ROWS_AT_ONCE, Splits, device_of, learn
from pipeline.stages.report import Report
from pipeline.thresholds import Percentile


def stage2(settings: Stage2, report: Report) -> None:
    """Train the detector on the train rows that it wants, then score every split."""
    train = _latent("train")
    torch.manual_seed(settings.fit.seed)  # of the starting weights, so that a killed stage goes on with its own
    detector = build(
        DETECTORS,
        settings.detector,
        "stage2.detector",
        features=len(train.columns),
        **settings.settings(settings.detector, DETECTORS),
    )
    known = train if detector.trains_on == "all" else train.select(train.benign)
    report.reads("train", known)
    val = _latent("val")
    judge = val if detector.trains_on == "all" else val.select(val.benign)
    detector.initialise_labelled(torch.from_numpy(known.x), _families(known))
    learnt = learn(detector, Splits(known, judge, val), settings, "stage2", report)
    detector.verify(torch.from_numpy(judge.x))
    description = {
        "detector": settings.detector,
        "settings": settings.settings(settings.detector, DETECTORS),
        "columns": list(train.columns),
    }
    weights = {name: tensor.numpy() for name, tensor in detector.state_dict().items()}
    artifacts.write_model(artifacts.DETECTOR, description, weights)
    head = _head(settings, train, val)
    _score([detector] if head is None else [detector, head], device_of(settings.fit))
    _report(learnt.epoch, report)


def _head(settings: Stage2, train: Samples, val: Samples) -> Detector | None:
    """A supervised detector beside the other one, which learns what the seen attacks look like; stored either way."""
    if settings.head == "none":
        artifacts.write_model(artifacts.HEAD, {"detector": "none"}, {})
        return None
    plugin = settings.settings(settings.head, DETECTORS)
    head = build(DETECTORS, settings.head, "stage2.head", features=len(train.columns), **plugin)
    if settings.head == settings.detector:
        raise ConfigError(
            f"stage2.head: {settings.head!r} is stage2.detector already, and would count twice; set one to another"
        )
    if head.trains_on != "all" or head.trainable:
        raise ConfigError(
            f"stage2.head: {settings.head!r} is no detector that learns from seen attacks in closed form; allowed are "
            "none and boosting"
        )
    head.initialise_labelled(torch.from_numpy(train.x), _families(train))
    head.verify(torch.from_numpy(val.x))
    description = {"detector": settings.head, "settings": plugin, "columns": list(train.columns)}
    artifacts.write_model(
        artifacts.HEAD, description, {name: value.numpy() for name, value in head.state_dict().items()}
    )
    return head


def _families(samples: Samples) -> torch.Tensor:
    """(n,) 0 for what is labelled benign, else the number of the attack's family, from 1 on."""
    numbers = np.zeros(len(samples), np.int64)
    attacks = ~samples.benign
    names = np.array([family(attack) for attack in samples.attack[attacks]], dtype=str)
    numbers[attacks] = np.unique(names, return_inverse=True)[1] + 1
    return torch.from_numpy(numbers)


def _latent(split: str) -> Samples:
    """The latent of a split without its margin."""
    samples = artifacts.read_samples(artifacts.LATENT, split)
    return samples.map(lambda x: np.ascontiguousarray(x[:, :-1]), samples.columns[:-1])


def _score(detectors: Sequence[Detector], device: torch.device) -> None:
    """Store the evidence of every split: the margin, and the score of each detector."""
    for detector in detectors:
        detector.to(device)
    with artifacts.whole_folder(artifacts.SCORES) as folder:
        for split in splits.SPLITS:
            latent = artifacts.read_samples(artifacts.LATENT, split)
            z, margin = np.ascontiguousarray(latent.x[:, :-1]), latent.x[:, -1]
            scores = [margin, *(in_batches(each.score, z, ROWS_AT_ONCE, device) for each in detectors)]
            evidence = np.stack(scores, axis=1)
            artifacts.write_samples(folder, split, latent.map(lambda _, x=evidence: x, EVIDENCE[: len(scores)]))  # type: ignore[misc]


def _report(epoch: int, report: Report) -> None:
    val = artifacts.read_samples(artifacts.SCORES, "val")
    density = val.x[:, 1].astype(np.float64)
    thresholds = Percentile()(artifacts.read_samples(artifacts.SCORES, "calibration").x[:, 1])
    report.judged(epoch, val, density, thresholds)
    report.test_metrics(val.y, density > thresholds.high, thresholds.high, "p99")
    report.ranking(val, density, epoch + 1)


if __name__ == "__main__":
    launch("stage2", Stage2, stage2)

"""Latent -> score: a detector trained on the benign latents, higher where a record is more anomalous."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline import artifacts
from pipeline.base.errors import ConfigError
from pipeline.base.registry import build
from pipeline.base.samples import EVIDENCE, Samples
from pipeline.calibration import cross_conformal
from pipeline.calibration.thresholds.percentile import Percentile
from pipeline.datasets.labels import family
from pipeline.models.detectors.base import Detector
from pipeline.models.detectors.folds import Folds
from pipeline.models.detectors.registry import DETECTORS
from pipeline.models.layers import in_batches
from pipeline.preprocessing import splits
from pipeline.settings.stage2 import Stage2
from pipeline.stages import across, launch
from pipeline.stages.learning import ROWS_AT_ONCE, Splits, device_of, learn
from pipeline.stages.reports import scores
from pipeline.stages.reports.report import Report


def stage2(settings: Stage2, report: Report) -> None:
    """Train the detector on the train rows that it wants, then score every split."""
    train, val = _latent("train"), _latent("val")
    torch.manual_seed(settings.fit.seed)  # of the starting weights, so that a killed stage goes on with its own
    detector = _builder(settings, settings.detector, "detector", train)()
    dealt = across.dealt(settings, detector, report)
    if dealt is not None:
        _fit_folds(settings, train, val, *dealt, report)
        return
    known = train if detector.trains_on == "all" else train.select(train.benign)
    report.reads("train", known)
    judge = val if detector.trains_on == "all" else val.select(val.benign)
    detector.fit(torch.from_numpy(known.x), _families(known))
    learnt = learn(detector, Splits(known, judge, val), settings, "stage2", report)
    detector.verify(torch.from_numpy(judge.x))
    _keep(settings, detector, artifacts.DETECTOR, settings.detector, train)
    head = _head(settings, train, val)
    with _scores([detector] if head is None else [detector, head], device_of(settings.fit)):
        pass
    _report(learnt.epoch, artifacts.read_samples(artifacts.SCORES, "calibration"), report)


def _fit_folds(
    settings: Stage2, train: Samples, val: Samples, benign: Samples, fold: NDArray[np.int64], report: Report
) -> None:
    """Fit a model for each fold of the benign records, (n,), then score every split."""
    attacks = train.select(~train.benign)
    report.reads("train", attacks)
    report.reads("benign", benign)
    fitted = []
    for name, role, stem in _models(settings):
        make = _builder(settings, name, role, train)
        labelled = make().trains_on == "all"
        given, judge = (attacks, val) if labelled else (attacks.select(slice(0, 0)), val.select(val.benign))
        x, attack_x = torch.from_numpy(benign.x), torch.from_numpy(given.x)
        folds = Folds.fitted(make, x, torch.from_numpy(fold), attack_x, _families(given), settings.calibration.seed)
        folds.verify(torch.from_numpy(judge.x))
        _keep(settings, folds, stem, name, train)
        fitted.append(folds)
    learn(make(), Splits(benign, val, val), settings, "stage2", report)  # draws that there is nothing to train
    if settings.head == "none":
        artifacts.write_model(artifacts.HEAD, {"detector": "none"}, {})
    with _scores(fitted, device_of(settings.fit)) as folder:
        across.write(folder, fitted, fold)
    _report(0, artifacts.read_samples(artifacts.SCORES, cross_conformal.OUT_OF_FOLD), report)


def _models(settings: Stage2) -> list[tuple[str, str, Path]]:
    """Name, role and place of the detector, and of the head where there is one."""
    _check_head(settings)
    head = [] if settings.head == "none" else [(settings.head, "head", artifacts.HEAD)]
    return [(settings.detector, "detector", artifacts.DETECTOR), *head]


def _builder(settings: Stage2, name: str, role: str, train: Samples) -> Callable[[], Detector]:
    plugin = settings.settings(name, DETECTORS)
    return partial(build, DETECTORS, name, f"stage2.{role}", features=len(train.columns), **plugin)


def _keep(settings: Stage2, model: Detector, stem: Path, name: str, train: Samples) -> None:
    """Store a fitted model."""
    plugin = settings.settings(name, DETECTORS)
    description = {"detector": name, "settings": plugin, "columns": list(train.columns)}
    if isinstance(model, Folds):
        description["folds"] = {"number": len(model.models), "seed": model.seed}
    artifacts.write_model(stem, description, {key: value.numpy() for key, value in model.state_dict().items()})


def _head(settings: Stage2, train: Samples, val: Samples) -> Detector | None:
    """A supervised detector beside the other one, which learns what the seen attacks look like; stored either way."""
    _check_head(settings)
    if settings.head == "none":
        artifacts.write_model(artifacts.HEAD, {"detector": "none"}, {})
        return None
    head = _builder(settings, settings.head, "head", train)()
    head.fit(torch.from_numpy(train.x), _families(train))
    head.verify(torch.from_numpy(val.x))
    _keep(settings, head, artifacts.HEAD, settings.head, train)
    return head


def _check_head(settings: Stage2) -> None:
    if settings.head == "none":
        return
    plugin = settings.settings(settings.head, DETECTORS)
    head = build(DETECTORS, settings.head, "stage2.head", features=1, **plugin)
    if settings.head == settings.detector:
        raise ConfigError(
            f"stage2.head: {settings.head!r} is stage2.detector already, and would count twice; set one to another"
        )
    if head.trains_on != "all" or head.trainable:
        raise ConfigError(
            f"stage2.head: {settings.head!r} is no detector that learns from seen attacks in closed form; allowed are "
            "none and boosting"
        )


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


@contextmanager
def _scores(detectors: Sequence[Detector], device: torch.device) -> Iterator[Path]:
    """Store the evidence of every split, the margin and the score of each detector; gives the folder for more."""
    for detector in detectors:
        detector.to(device)
    with artifacts.whole_folder(artifacts.SCORES) as folder:
        for split in splits.SPLITS:
            latent = artifacts.read_samples(artifacts.LATENT, split)
            z, margin = np.ascontiguousarray(latent.x[:, :-1]), latent.x[:, -1]
            scores = [margin, *(in_batches(each.scores, z, ROWS_AT_ONCE, device) for each in detectors)]
            evidence = np.stack(scores, axis=1)
            artifacts.write_samples(folder, split, latent.map(lambda _, x=evidence: x, EVIDENCE[: len(scores)]))  # type: ignore[misc]
        yield folder


def _report(epoch: int, benign: Samples, report: Report) -> None:
    """What the density says of val, at the percentiles of ``benign`` records that it has not seen."""
    val = artifacts.read_samples(artifacts.SCORES, "val")
    density = val.x[:, 1].astype(np.float64)
    thresholds = Percentile()(benign.x[:, 1])
    scores.judged(report, epoch, val, density, thresholds)
    report.test_metrics(val.y, density > thresholds.high, thresholds.high, "p99")
    scores.ranking(report, val, density, epoch + 1)


if __name__ == "__main__":
    launch("stage2", Stage2, stage2)

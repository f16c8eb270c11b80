"""Every benign record as a calibration record: whether there are folds, and which record is in which."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline import artifacts
from pipeline.base.errors import ConfigError, SplitError, near_miss
from pipeline.base.samples import Samples, joined
from pipeline.calibration import cross_conformal
from pipeline.models.detectors.base import Detector
from pipeline.models.detectors.folds import Folds
from pipeline.settings.stage2 import Stage2
from pipeline.stages.groups import groups
from pipeline.stages.reports.report import Report

DEALT = ("train", "val", "calibration")  # whose benign records are dealt into folds; no epoch is to be chosen on val


def dealt(settings: Stage2, detector: Detector, report: Report) -> tuple[Samples, NDArray[np.int64]] | None:
    """The n benign records with the (n,) fold of each, or None where one model for all is to be fitted.

    Which records set the thresholds, and what holds for these, is said before anything is fitted.

    Raises:
        ConfigError: folds are asked for, but a model is trained by gradient descent; or a column is unknown.
        SplitError: folds are asked for, but one would be empty.
    """
    asked = settings.calibration
    hindrance = _hindrance(settings, detector)
    if asked.kind == "cross" and hindrance:
        raise ConfigError(
            f"stage2.calibration.kind: cross needs models in closed form, but {hindrance}; set it to split or auto, "
            "which hold the calibration records out"
        )
    if asked.kind == "split" or hindrance:
        _say_held_out(hindrance or "stage2.calibration.kind is split", report)
        return None
    benign = pool()
    together = [_values(name, benign.record_id) for name in asked.together]
    try:
        fold = cross_conformal.deal(benign.x, together, asked.folds, asked.seed)
    except SplitError as error:
        if asked.kind == "cross":
            raise
        _say_held_out(str(error), report)
        return None
    report.say(
        f"All {len(fold):,} benign records of {', '.join(DEALT)} will set the thresholds, in {asked.folds} folds. "
        "If the models of the folds are alike, about 1 % of new benign records exceed a level of 1 %. "
        f"Whatever the models are, at most {cross_conformal.worst_factor(fold):.1f} % do."
    )
    return benign, fold


def _hindrance(settings: Stage2, detector: Detector) -> str:
    """Which model is trained by gradient descent, so that one for each fold would take long; "" for none."""
    encoder = artifacts.read_model(artifacts.ENCODER)[0]["encoder"]
    if encoder != "identity":
        return f"stage1.encoder: {encoder} is trained"
    return f"stage2.detector: {settings.detector} is trained" if detector.trainable else ""


def _say_held_out(why: str, report: Report) -> None:
    held = len(artifacts.read_samples(artifacts.LATENT, "calibration"))
    report.say(f"{held:,} benign calibration records, on which no model is fitted, will set the thresholds: {why}")


def pool() -> Samples:
    """The benign records that are dealt, with their latent and no margin."""
    benign = _benign(artifacts.LATENT)
    return benign.map(lambda x: np.ascontiguousarray(x[:, :-1]), benign.columns[:-1])


def write(folder: Path, detectors: Sequence[Folds], fold: NDArray[np.int64]) -> None:
    """Store the evidence of the benign records, by the models that have not seen them, and the fold of each.

    Args:
        folder: of the scores.
        detectors: what scores them.
        fold: (n,) of each.
    """
    scored = _benign(folder)
    evidence, z = scored.x.copy(), pool().x
    elsewhere = detectors[0].route(torch.from_numpy(z)).numpy() != fold  # its group has taken it out of its own fold
    if elsewhere.any():
        rows, at = torch.from_numpy(z[elsewhere]), torch.from_numpy(fold[elsewhere])
        device = detectors[0].fold.device
        with torch.no_grad():
            said = [each.by_fold(rows.to(device), at.to(device)).float().cpu().numpy() for each in detectors]
        evidence[elsewhere, 1:] = np.stack(said, axis=1)
    told = np.concatenate([evidence, fold[:, None].astype(np.float32)], axis=1)
    artifacts.write_samples(folder, cross_conformal.OUT_OF_FOLD, scored.map(lambda _: told, (*scored.columns, "fold")))


def _benign(folder: Path) -> Samples:
    """The benign records that are dealt, as they stand in the splits in a folder."""
    parts = [artifacts.read_samples(folder, split) for split in DEALT]
    return joined([part.select(part.benign) for part in parts])


def _values(name: str, record_id: NDArray[np.uint64]) -> NDArray[np.str_]:
    """(n,) values of a record column; a record that has none shares it with no other."""
    known = artifacts.column_names(artifacts.RECORDS)
    if name not in known:
        raise ConfigError(f"stage2.calibration.together: {name!r} is no column of the records{near_miss(name, known)}")
    value = groups(name, record_id).astype(str)
    return np.where(value == "", np.char.add("\0", np.arange(len(value)).astype(str)), value)

"""The models of stage 2: one detector and one head, or a model of each kind for every fold."""

import torch

from pipeline.artifacts.latents import read_latents
from pipeline.models.detectors.base import Detector
from pipeline.models.detectors.folds import Folds
from pipeline.models.training.bulk import Splits
from pipeline.settings.stage2 import Stage2
from pipeline.stages import weights
from pipeline.stages.dealt import Dealt
from pipeline.stages.detectors import builder, keep
from pipeline.stages.learning import learn
from pipeline.stages.reports.report import Report
from pipeline.stages.taken import Taken, who


def fit_one(
    settings: Stage2, models: dict[str, str], detector: Detector, taken: Taken, report: Report
) -> tuple[list[Detector], int]:
    """Fit the detector, and the head where there is one; gives both, and the last epoch of the detector."""
    train, val = who("train"), read_latents("val", taken["val"])
    known = read_latents("train", taken["train"] & weights.known_to(detector, train))
    judge = val if detector.trains_on == "all" else val.select(val.trusted)
    report.reads("train", known)
    detector.fit(*weights.given(known, settings.label_weight))
    learnt = learn(detector, Splits(known, judge, val), settings, "stage2", report)
    detector.verify(torch.from_numpy(judge.x))
    keep(settings, detector, "detector", known.columns)
    if "head" not in models:
        return [detector], learnt.epoch
    head = builder(settings, models["head"], "head", len(known.columns))()
    known = read_latents("train", taken["train"] & weights.known_to(head, train))
    head.fit(*weights.given(known, settings.label_weight))
    head.verify(torch.from_numpy(val.x))
    keep(settings, head, "head", known.columns, weights.families(known, settings.label_weight))
    return [detector, head], learnt.epoch


def fit_folds(settings: Stage2, models: dict[str, str], taken: Taken, dealt: Dealt, report: Report) -> list[Folds]:
    """Fit a model of each kind for each fold of the benign records."""
    (benign, fold), fitted, val = dealt, [], read_latents("val", taken["val"])
    attacks = read_latents("train", taken["train"] & ~who("train").benign)
    report.reads("train", attacks)
    report.reads("benign", benign)
    for role, name in models.items():
        make = builder(settings, name, role, len(attacks.columns))
        labelled = make().trains_on == "all"
        known, judge = (attacks, val) if labelled else (attacks.select(slice(0, 0)), val.select(val.trusted))
        rows, seed = (torch.from_numpy(benign.x), torch.from_numpy(fold)), settings.calibration.seed
        folds = Folds.fitted(make, *rows, *weights.given(known, settings.label_weight), seed)
        folds.verify(torch.from_numpy(judge.x))
        keep(settings, folds, role, attacks.columns, weights.families(known, settings.label_weight))
        fitted.append(folds)
    detector = builder(settings, models["detector"], "detector", len(attacks.columns))()
    learn(detector, Splits(benign, val, val), settings, "stage2", report)  # draws that there is nothing to train
    return fitted

"""Which records a model of stage 2 is given, and how often: those that analysts have confirmed count more than once."""

import numpy as np
import torch
from torch import Tensor

from pipeline.artifacts.labels import CONFIRMED
from pipeline.artifacts.samples import Mask
from pipeline.base.samples import Samples
from pipeline.datasets.labels import family, family_numbers
from pipeline.models.detectors.base import Detector
from pipeline.stages import analysts


def known_to(detector: Detector, train: Samples) -> Mask:
    """(n,) the train rows that a detector is fitted on; doubted ones only if it learns to push them away."""
    if detector.trains_on == "all":
        return train.trusted | ~train.benign
    return train.benign if detector.heeds_confidence else train.trusted


def given(samples: Samples, weight: int) -> tuple[Tensor, Tensor]:
    """(m, Z) rows, confirmed attacks ``weight`` times; (m,) the number of the family of each, 0 for benign.

    A dismissed alert counts once: it often looks like an attack, and more weight on it would hide attacks.
    """
    samples = _weighted(samples, weight)
    return torch.from_numpy(samples.x), torch.from_numpy(family_numbers(samples.attack, samples.benign))


def families(samples: Samples, weight: int) -> dict[str, int]:
    """Family of attacks -> how many rows ``given`` gives of it, in the order of their numbers."""
    attacks = _weighted(samples.select(~samples.benign), weight).attack
    names, counts = np.unique(np.array([family(name) for name in attacks], dtype=str), return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def _weighted(samples: Samples, weight: int) -> Samples:
    confirmed = np.isin(samples.record_id, analysts.ids_of(CONFIRMED)) & ~samples.benign
    return samples.select(np.repeat(np.arange(len(samples)), np.where(confirmed, weight, 1)))

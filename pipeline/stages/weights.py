"""How often a model of stage 2 is given each record: those that analysts have labelled count more than once."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.base.samples import Samples
from pipeline.datasets.labels import family_numbers
from pipeline.models.detectors.base import Detector
from pipeline.stages import analysts


def repeated(model: Detector, samples: Samples, weight: int) -> NDArray[np.intp]:
    """(m,) positions of n samples, ``weight`` times each that an analyst has labelled, if the model learns attacks."""
    ids = np.array([*analysts.attacks()] if model.trains_on == "all" else [], dtype=np.uint64)
    return np.repeat(np.arange(len(samples)), np.where(np.isin(samples.record_id, ids), weight, 1))


def given_to(model: Detector, samples: Samples, weight: int) -> tuple[Tensor, Tensor]:
    """(m, Z) rows as often as in ``repeated``, and the (m,) number of the family of each, 0 for benign."""
    samples = samples.select(repeated(model, samples, weight))
    return torch.from_numpy(samples.x), torch.from_numpy(family_numbers(samples.attack, samples.benign))

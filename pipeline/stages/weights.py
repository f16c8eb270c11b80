"""How often a model of stage 2 is given each record: those that analysts have confirmed count more than once."""

import numpy as np
import torch
from torch import Tensor

from pipeline.artifacts.labels import CONFIRMED
from pipeline.base.samples import Samples
from pipeline.datasets.labels import family_numbers
from pipeline.stages import analysts


def given(samples: Samples, weight: int) -> tuple[Tensor, Tensor]:
    """(m, Z) rows, confirmed attacks ``weight`` times; (m,) the number of the family of each, 0 for benign.

    A dismissed alert counts once: it often looks like an attack, and more weight on it would hide attacks.
    """
    confirmed = np.isin(samples.record_id, analysts.ids_of(CONFIRMED)) & ~samples.benign
    samples = samples.select(np.repeat(np.arange(len(samples)), np.where(confirmed, weight, 1)))
    return torch.from_numpy(samples.x), torch.from_numpy(family_numbers(samples.attack, samples.benign))

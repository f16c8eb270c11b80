"""The scores of the benign records that set the thresholds: of those that are dealt into folds, and of doubted ones."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.latents import read_latents
from pipeline.artifacts.samples import read_samples
from pipeline.base.samples import Samples, joined
from pipeline.stages.dealt import DEALT
from pipeline.stages.taken import Taken, who


def scores_of_dealt(folder: Path) -> Samples:
    """The scores of the records that are dealt, from those of all rows that are taken."""
    parts = [read_samples(folder, split) for split in DEALT]
    return joined([part.select(part.trusted) for part in parts])


def doubted(folder: Path, taken: Taken) -> tuple[Samples, NDArray[np.float32]]:
    """The doubted records among those that are taken, (m,) with their scores and their latents, (m, Z).

    No model is fitted on them, but they set thresholds.
    """
    parts = [read_samples(folder, split) for split in DEALT]
    scores = joined([part.select(part.benign & ~part.trusted) for part in parts])
    named = {split: who(split) for split in DEALT}
    rows = {split: taken[split] & each.benign & ~each.trusted for split, each in named.items()}
    return scores, joined([read_latents(split, rows[split]) for split in DEALT]).x

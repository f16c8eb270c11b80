"""Which rows of the splits that models are fitted on stage 2 reads: all of few, and of many a sample.

The sample is drawn by the ids of the records, so that it is the same each time. Of attacks every family is cut to the
same number, so that rare ones stay whole. What an analyst has labelled is never left out.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd

from pipeline.artifacts import paths
from pipeline.artifacts.labels import CONFIRMED, DISMISSED
from pipeline.artifacts.samples import Mask, read_samples
from pipeline.base.samples import Samples, drawn
from pipeline.datasets.labels import family
from pipeline.stages import analysts

FITTED: Final = ("train", "val", "calibration")

Taken = Mapping[str, Mask]
"""Split of ``FITTED`` -> (n,) which of its rows are taken."""


def who(split: str) -> Samples:
    """The samples of a split without their features, (n, 0)."""
    return read_samples(paths.LATENT, split, columns=())


def take(most: int, together: bool, whole: Sequence[str] = ()) -> Taken:
    """The rows that are taken: at most ``most`` benign ones, and half as many attacks.

    Args:
        most: benign rows.
        together: whether they are counted over all splits, as they are dealt into folds together; else in each.
        whole: splits of which every row is taken.
    """
    named = {split: who(split) for split in FITTED}
    labelled = np.concatenate([analysts.ids_of(CONFIRMED), analysts.ids_of(DISMISSED)])
    found: dict[str, Mask] = {}
    for splits in [FITTED] if together else [(split,) for split in FITTED]:
        rows = _drawn([named[split] for split in splits], most) | np.isin(
            np.concatenate([named[split].record_id for split in splits]), labelled
        )
        parts = np.split(rows, np.cumsum([len(named[split]) for split in splits])[:-1])
        found |= dict(zip(splits, parts, strict=True))
    return {split: np.ones_like(rows) if split in whole else rows for split, rows in found.items()}


def _drawn(parts: Sequence[Samples], most: int) -> Mask:
    """(n,) mask of the rows of all parts that are taken."""
    ids, benign = (np.concatenate([getattr(part, name) for part in parts]) for name in ("record_id", "benign"))
    rows = np.empty(len(ids), dtype=bool)
    rows[benign] = drawn(ids[benign], most)
    code, names = pd.factorize(np.concatenate([part.attack[~part.benign] for part in parts]))
    number = np.unique([family(name) for name in names], return_inverse=True)[1]
    rows[~benign] = drawn(ids[~benign], max(1, most // 2), number[code])
    return rows

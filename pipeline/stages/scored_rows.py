"""Which rows of each split stage 2 scores: all of the tests, and of the others those that are taken."""

from collections.abc import Iterator

import numpy as np

from pipeline.artifacts.latents import latent_groups
from pipeline.artifacts.samples import Mask
from pipeline.base.samples import ATTACKS, Samples
from pipeline.stages.taken import Taken, who


def to_score(split: str, taken: Taken) -> Mask:
    """(n,) which rows of a split have scores. Attacks of train have none, as no later stage reads them."""
    named = who(split)
    rows = taken.get(split, np.ones(len(named), bool))
    return rows & named.benign if split == "train" else rows


def stated(split: str) -> dict[str, str] | None:
    """What the file of the scores says of itself: that of train, how many attacks it has."""
    return {ATTACKS: str(int((~who(split).benign).sum()))} if split == "train" else None


def taken_groups(split: str, rows: Mask) -> Iterator[Samples]:
    """Latent and margin of the rows of a split under a mask, (n,), a row group at a time."""
    start = 0
    for latent in latent_groups(split):
        inside = rows[start : start + len(latent)]
        start += len(latent)
        yield latent if inside.all() else latent.select(inside)

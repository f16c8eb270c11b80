"""The benign records that are dealt into folds, and the fold of each."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.labels import DISMISSED
from pipeline.artifacts.samples import read_samples
from pipeline.artifacts.tables import column_names, values_by_id
from pipeline.base.errors import ConfigError, near_miss
from pipeline.base.samples import Samples, joined
from pipeline.calibration import cross_conformal
from pipeline.calibration.groups import apart_where_unknown
from pipeline.calibration.named_thresholds import group_names
from pipeline.settings.stage2 import CalibrationSettings
from pipeline.stages import analysts

DEALT = ("train", "val", "calibration")  # whose benign records are dealt into folds; no epoch is to be chosen on val

Dealt = tuple[Samples, NDArray[np.int64]]
"""n benign records, and the (n,) fold of each; ``IN_EVERY_MODEL`` for one that every model is fitted on."""


def deal(asked: CalibrationSettings) -> Dealt:
    """The n benign records that are dealt, and the (n,) fold of each.

    An alert that was dismissed is fitted by every model, or the model of its own fold would raise it again. It sets no
    threshold then.

    Raises:
        ConfigError: a column that is to keep records together is unknown.
        SplitError: a fold would be empty.
    """
    benign = benign_of(paths.LATENT).without_last_column()
    together = [_values(name, benign.record_id) for name in asked.together]
    fold = cross_conformal.deal(benign.x, together, asked.folds, asked.seed)
    fold[np.isin(benign.record_id, analysts.ids_of(DISMISSED))] = cross_conformal.IN_EVERY_MODEL
    return benign, fold


def benign_of(folder: Path) -> Samples:
    """The benign records that are dealt, as they stand in the splits in a folder; doubted ones are left out."""
    parts = [read_samples(folder, split) for split in DEALT]
    return joined([part.select(part.trusted) for part in parts])


def doubted_of(folder: Path) -> Samples:
    """The doubted records of these splits: no model is fitted on them, but they set thresholds."""
    parts = [read_samples(folder, split) for split in DEALT]
    return joined([part.select(part.benign & ~part.trusted) for part in parts])


def _values(name: str, record_id: NDArray[np.uint64]) -> NDArray[np.str_]:
    """(n,) values of a record column; a record that has none shares it with no other."""
    known = column_names(paths.RECORDS)
    if name not in known:
        raise ConfigError(f"stage2.calibration.together: {name!r} is no column of the records{near_miss(name, known)}")
    return apart_where_unknown(group_names(values_by_id(paths.RECORDS, name, record_id)))

"""The benign records that are dealt into folds, and the fold of each."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.labels import DISMISSED
from pipeline.artifacts.latents import read_latents
from pipeline.artifacts.tables import column_names, values_by_id
from pipeline.base.errors import ConfigError, near_miss
from pipeline.base.samples import Samples, joined
from pipeline.calibration import cross_conformal
from pipeline.calibration.groups import apart_where_unknown
from pipeline.calibration.named_thresholds import group_names
from pipeline.settings.stage2 import CalibrationSettings
from pipeline.stages import analysts
from pipeline.stages.taken import FITTED, Taken, who

DEALT: Final = FITTED  # whose benign records are dealt into folds; no epoch is to be chosen on val

Dealt = tuple[Samples, NDArray[np.int64]]
"""n benign records, and the (n,) fold of each; ``IN_EVERY_MODEL`` for one that every model is fitted on."""


def deal(asked: CalibrationSettings, taken: Taken) -> Dealt:
    """The n benign records that are dealt, and the (n,) fold of each.

    An alert that was dismissed is fitted by every model, or the model of its own fold would raise it again. It sets no
    threshold then.

    Args:
        asked: which records share a fold.
        taken: the rows of each split that are dealt, where they are benign and not doubted.

    Raises:
        ConfigError: a column that is to keep records together is unknown.
        SplitError: a fold would be empty.
    """
    benign = joined([read_latents(split, taken[split] & who(split).trusted) for split in DEALT])
    together = [_values(name, benign.record_id) for name in asked.together]
    fold = cross_conformal.deal(benign.x, together, asked.folds, asked.seed)
    fold[np.isin(benign.record_id, analysts.ids_of(DISMISSED))] = cross_conformal.IN_EVERY_MODEL
    return benign, fold


def _values(name: str, record_id: NDArray[np.uint64]) -> NDArray[np.str_]:
    """(n,) values of a record column; a record that has none shares it with no other."""
    known = column_names(paths.RECORDS)
    if name not in known:
        raise ConfigError(f"stage2.calibration.together: {name!r} is no column of the records{near_miss(name, known)}")
    return apart_where_unknown(group_names(values_by_id(paths.RECORDS, name, record_id)))

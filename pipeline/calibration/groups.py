"""Groups of records, by a column that new records have too."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import ConfigError, near_miss
from pipeline.calibration.named_thresholds import UNKNOWN, Names
from pipeline.datasets.schema import GROUPABLE, PROVENANCE


def check_columns(setting: str, names: Sequence[str], reads: Sequence[str]) -> None:
    """Refuse a column that new records may lack, or one that says who a record is or how it was labelled.

    Args:
        setting: that names the columns; the message starts with it.
        names: of the columns.
        reads: the record columns that the model reads.

    Raises:
        ConfigError: with the near miss.
    """
    known = [*GROUPABLE, *reads]
    for name in names:
        if name not in known:
            what = "is no group of traffic" if name in PROVENANCE else "is no column that the model reads"
            raise ConfigError(f"{setting}: {name!r} {what}{near_miss(name, known)}; known: {', '.join(known)}")


def apart_where_unknown(names: Names) -> NDArray[np.str_]:
    """(n,) names of groups; a record without one gets a name that no other record has."""
    known = names.astype(str)
    own = np.char.add("\0", np.arange(len(known)).astype(str))
    return np.where(known == UNKNOWN, own, known)


def frequent_only(names: Names | None, least: int) -> Names | None:
    """(n,) names of groups; those that fewer than ``least`` records have become unknown. None stays None."""
    if names is None:
        return None
    found, counts = np.unique(names.astype(str), return_counts=True)
    return np.where(np.isin(names.astype(str), found[counts >= least]), names, UNKNOWN)

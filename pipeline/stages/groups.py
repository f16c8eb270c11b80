"""Which group a record belongs to, by a column of the records as ingest stored them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.tables import read_table
from pipeline.base.errors import ArtifactError, ConfigError, near_miss
from pipeline.calibration.named_thresholds import Names, group_names
from pipeline.datasets.schema import PROVENANCE, TOLD


def check(setting: str, names: Sequence[str], reads: Sequence[str]) -> None:
    """Refuse a column that new records may lack, or that tells who a record is or what it was labelled.

    Args:
        setting: that names the columns, for the message.
        names: of the columns.
        reads: the record columns that the model reads.

    Raises:
        ConfigError: with the near miss.
    """
    known = [*TOLD, *reads]
    for name in names:
        if name not in known:
            what = "is no group of traffic" if name in PROVENANCE else "is no column that the model reads"
            raise ConfigError(f"{setting}: {name!r} {what}{near_miss(name, known)}; known: {', '.join(known)}")


def groups(column: str, record_id: NDArray[np.uint64]) -> Names:
    """(n,) names of the groups of records, by their ids, (n,); "" where a record has no value.

    Raises:
        ArtifactError: the records are absent, or others than those that the ids are of.
    """
    table = read_table(paths.RECORDS, ["record_id", column])
    ids, names = table.column("record_id").to_numpy(), group_names(np.asarray(table.column(column).to_pandas()))
    order = np.argsort(ids)
    at = order[np.searchsorted(ids[order], record_id).clip(max=max(len(ids) - 1, 0))] if len(ids) else np.zeros(0, int)
    if len(at) != len(record_id) or (ids[at] != record_id).any():
        raise ArtifactError(f"{paths.RECORDS}: holds other records than {paths.SCORES}; run dvc repro")
    found: Names = names[at]
    return found

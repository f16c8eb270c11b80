"""Which group a record belongs to, by a column of the records as ingest stored them."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.tables import column_names, values_by_id
from pipeline.base.samples import Samples
from pipeline.calibration.named_thresholds import Names, group_names


def groups_of(column: str | None, record_id: NDArray[np.uint64]) -> Names | None:
    """(n,) names of the groups of records, by their ids, (n,); None where no column tells groups apart.

    Raises:
        ArtifactError: the records are absent, or others than those that the ids are of.
    """
    return None if column is None else group_names(values_by_id(paths.RECORDS, column, record_id))


def groups_of_benign(columns: Iterable[str | None], tests: Iterable[Samples]) -> dict[str, Names]:
    """Record column -> groups of the benign records of all tests; columns that the records lack are passed over."""
    record_id = np.concatenate([samples.record_id[samples.benign] for samples in tests])
    known = column_names(paths.RECORDS)
    return {
        column: group_names(values_by_id(paths.RECORDS, column, record_id))
        for column in dict.fromkeys(columns)
        if column in known
    }

"""Drills made of the records of this project, as models read them; see ``pipeline.evaluation.drills``."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.datasets.schema import Column
from pipeline.evaluation import drills
from pipeline.serving import record_columns
from pipeline.serving.benign import MOST, rows_of
from pipeline.settings.evaluate import Drills


def planted(columns: Sequence[Column], ids: NDArray[np.uint64], settings: Drills) -> tuple[pa.Table, NDArray[np.str_]]:
    """Altered records, raw, and the kind of each.

    Args:
        columns: those that models read.
        ids: (n,) of the benign records that they are made of; some are enough.
        settings: how many, and the seed.

    Raises:
        ArtifactError: the records are absent, or lack a column or a record.
    """
    some = np.sort(ids)[:MOST]  # ids are hashes: a random sample, and always the same one
    raw = rows_of(paths.RECORDS, some, [column.name for column in columns])
    made, kind = drills.plant(dict(record_columns.arrays(columns, raw)), settings.records, settings.seed)
    return pa.table(made), kind.astype(str)

"""The labels of analysts, for the stages that learn from them."""

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import labels, paths
from pipeline.artifacts.tables import row_groups, strings

SOURCE_FILE = paths.LABELS.as_posix()  # of the records that are known by their label alone


def attacks() -> dict[int, str]:
    """Record id -> the attack that its last label names, ``benign`` where it was dismissed."""
    return {number: label.attack for number, label in labels.in_force(labels.read()).items()}


def ids_of(verdict: str) -> NDArray[np.uint64]:
    """(k,) ids of the records whose last label is ``confirmed`` or ``dismissed``."""
    found = labels.in_force(labels.read()).values()
    return np.array([label.record_id for label in found if label.verdict == verdict], dtype=np.uint64)


def appended() -> int:
    """How many records at the end of the ingested ones are known by their label alone."""
    groups = row_groups(paths.RECORDS, ["source_file"])
    return sum(int((strings(group.column("source_file")) == SOURCE_FILE).sum()) for group in groups)

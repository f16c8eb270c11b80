"""The records that ingest stored, as what contexts are made of."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.tables import column_names, row_groups, strings
from pipeline.preprocessing.context.past import backwards
from pipeline.preprocessing.context.talks import Ints, Mask, Talks, reads, talks_of


def stored_talks(allowed: float) -> tuple[Talks, Mask, int]:
    """All records, which have a context, and how many lie ``allowed`` seconds behind an earlier one of their file."""
    names = reads(column_names(paths.RECORDS))
    parts = [(*talks_of(table), _files(table)) for table in row_groups(paths.RECORDS, [*names, "source_file"])]
    talks, known = Talks.joined(*(part for part, _, _ in parts)), np.concatenate([part for _, part, _ in parts])
    files = np.concatenate([part for _, _, part in parts]).astype(str)
    late = sum(backwards(talks.time[rows], known[rows], allowed) for rows in _each(files))
    return talks, known, late


def _files(table: pa.Table) -> NDArray[np.object_]:
    return strings(table.column("source_file"))


def _each(names: NDArray[np.str_]) -> list[Ints]:
    """The rows of each name, in their order."""
    _, codes = np.unique(names, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)

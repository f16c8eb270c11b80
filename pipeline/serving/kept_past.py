"""The contexts of the records of a sample: kept beside these when their file is scored, as a sample has no past."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.preprocessing.context.past import Matrix, columns
from pipeline.serving.bundle import Bundle
from pipeline.serving.recent_past import RecentPast

PREFIX: Final = "context."  # before the name of each column of a context


def beside(records: pa.Table, past: RecentPast | None, x: Matrix | None) -> pa.Table:
    """The records with their contexts, (n, F), as further columns; as they are where the model reads none."""
    if past is None or x is None:
        return records
    for place, name in enumerate(columns(past.windows)):
        records = records.append_column(f"{PREFIX}{name}", pa.array(x[:, place]))
    return records


def names(past: RecentPast | None) -> list[str]:
    """The columns that ``beside`` adds."""
    return [] if past is None else [f"{PREFIX}{name}" for name in columns(past.windows)]


def scores(bundle: Bundle, sample: pa.Table, about: Mapping[str, Any] | None) -> NDArray[np.float32]:
    """(n,) scores of the kept contexts of a sample, NaN where there is none that the model could read.

    Args:
        bundle: the model.
        sample: n records.
        about: over which past the kept contexts look back; None where none are kept.
    """
    past = bundle.looks_back
    if past is None or about != past.about or not {*names(past)} <= {*sample.column_names}:
        return np.full(sample.num_rows, np.nan, np.float32)
    parts = [sample.column(name).to_numpy().astype(np.float32) for name in names(past)]
    return past.scores(np.stack(parts, axis=1))

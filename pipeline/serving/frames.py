"""A pandas frame of raw records as the model reads it: columns by their canonical names, values in Arrow's types."""

from typing import Any

import pandas as pd
import pyarrow as pa

from pipeline.base.errors import DataError
from pipeline.datasets.names import canonical_names
from pipeline.serving import record_columns
from pipeline.serving.bundle import Bundle


def records(frame: pd.DataFrame, bundle: Bundle) -> dict[str, pa.Array]:
    """The columns that a model reads, and the one that tells groups apart where the frame has it, as canonical ones.

    Whole numbers and booleans are numbers, a missing value is NaN or none, and columns may have the names of any
    published file of CIC-IDS-2017; see ``datasets.names``.

    Args:
        frame: n raw records.
        bundle: the model.

    Raises:
        SchemaError: two columns mean the same one.
        DataError: a column holds values of several kinds.
    """
    wanted = dict.fromkeys([*(column.name for column in bundle.columns), *_group(bundle)])
    names = canonical_names(frame.columns, wanted)
    return {name: _values(name, frame[names[name]]) for name in wanted if name in names}


def _group(bundle: Bundle) -> tuple[str, ...]:
    name = bundle.calibration.group
    return () if name is None else (name,)


def _values(name: str, column: Any) -> pa.Array:
    if isinstance(column, pd.DataFrame):
        raise DataError(f"column {name!r}: {column.shape[1]} columns of the frame have this name; rename or drop one")
    found = record_columns.converted(name, column)
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found

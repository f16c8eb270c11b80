"""The records that ingest stored, as columns, a row group at a time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.tables import RowGroup, column_names, row_group_parts, strings
from pipeline.base.engine import mapped
from pipeline.base.errors import DataError
from pipeline.datasets.schema import PROVENANCE
from pipeline.preprocessing.assignment import Identities
from pipeline.preprocessing.chronological import microseconds
from pipeline.preprocessing.derived import Columns
from pipeline.preprocessing.recipe import Recipe, content_hash


def raw_columns() -> list[str]:
    """The columns that features are made of."""
    return [name for name in column_names(paths.RECORDS) if name not in PROVENANCE]


def columns_of(table: pa.Table, names: Sequence[str]) -> Columns:
    """(n,) values of each column."""
    columns = {name: table.column(name) for name in names}
    return {
        name: strings(column) if pa.types.is_dictionary(column.type) else column.to_numpy()
        for name, column in columns.items()
    }


def identities(recipe: Recipe) -> Identities:
    """What the split of each record depends on.

    Raises:
        DataError: there are no records.
    """
    names = raw_columns()
    groups = row_group_parts(paths.RECORDS, ["record_id", "attack", "attempted", "day", "timestamp", *names])
    parts = list(mapped(_identity, groups, shared=(names, recipe)))
    if not any(len(record_id) for record_id, *_ in parts):
        raise DataError(f"{paths.RECORDS}: holds no records; run ingest on a source that does")
    return Identities(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _identity(group: RowGroup, names: list[str], recipe: Recipe) -> tuple[NDArray[Any], ...]:
    table = group.read()
    attempted = table.column("attempted").fill_null(False).to_numpy()
    content = content_hash(columns_of(table, names), recipe)
    attack, day = (strings(table.column(name)) for name in ("attack", "day"))
    time = microseconds(table.column("timestamp"))
    return table.column("record_id").to_numpy(), attack, attempted, day, content, time

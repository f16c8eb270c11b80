"""The records that ingest stored, as columns, a row group at a time."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.tables import column_names, row_groups, strings, with_slices
from pipeline.base.errors import DataError
from pipeline.base.parallel import in_order
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

    def identity(table: pa.Table) -> tuple[NDArray[Any], ...]:
        attempted = table.column("attempted").fill_null(False).to_numpy()
        content = content_hash(columns_of(table, names), recipe)
        attack, day = (strings(table.column(name)) for name in ("attack", "day"))
        time = microseconds(table.column("timestamp"))
        return table.column("record_id").to_numpy(), attack, attempted, day, content, time

    tables = row_groups(paths.RECORDS, ["record_id", "attack", "attempted", "day", "timestamp", *names])
    parts = list(in_order(identity, tables))
    if not any(len(record_id) for record_id, *_ in parts):
        raise DataError(f"{paths.RECORDS}: holds no records; run ingest on a source that does")
    return Identities(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def columns_where(mask: NDArray[np.bool_]) -> Iterator[Columns]:
    """The columns of the records under a mask, (n,)."""
    for table, rows in with_slices(row_groups(paths.RECORDS, names := raw_columns())):
        yield {name: values[mask[rows]] for name, values in columns_of(table, names).items()}

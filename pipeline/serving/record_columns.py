"""Raw records as the columns that a model reads: checked, and in Arrow's types."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.base.errors import DataError, SchemaError, near_miss
from pipeline.datasets import words
from pipeline.datasets.schema import Column

Records: TypeAlias = Mapping[str, Any] | pa.Table  # canonical column -> (n,) values; other columns are passed over


def names_of(records: Records) -> Collection[str]:
    """The columns that records have."""
    names: Collection[str] = records.column_names if isinstance(records, pa.Table) else records.keys()
    return names


def require(columns: Sequence[Column], names: Collection[str]) -> None:
    """Refuse records that lack a column.

    Raises:
        SchemaError: with all that are missing.
    """
    missing = [column.name for column in columns if column.name not in names]
    if missing:
        listed = ", ".join(f"{name!r}{near_miss(name, set(names) - {*missing})}" for name in missing)
        raise SchemaError(f"the records lack {len(missing)} of the {len(columns)} columns read: {listed}")


def table(columns: Sequence[Column], records: Records) -> pa.Table:
    """The columns of records, checked.

    Raises:
        SchemaError: one is missing.
        DataError: one holds what it should not, or is shorter than the others.
    """
    require(columns, names_of(records))
    read = {column.name: arrow(column, records[column.name]) for column in columns}
    _check_lengths({name: len(values) for name, values in read.items()})
    return pa.table(read)


def arrow(column: Column, values: Any, text_only: bool = False) -> pa.ChunkedArray | pa.Array:
    """The values of a column as Arrow has them.

    Args:
        column: what it holds.
        values: of any kind.
        text_only: whether numbers are refused where words are expected.

    Raises:
        DataError: they are not what the column holds.
    """
    found = converted(column.name, values)
    _check_kind(column, found.type, text_only)
    return found


def converted(name: str, values: Any) -> pa.ChunkedArray | pa.Array:
    """Values of any kind as Arrow has them; what pandas calls missing is null.

    Raises:
        DataError: they are of several kinds, or a whole number has more than 64 bits.
    """
    if isinstance(values, pa.ChunkedArray | pa.Array):
        return values
    column = values if isinstance(values, pd.Series) else np.asarray(values)
    try:
        return pa.array(column, from_pandas=isinstance(column, pd.Series) or column.dtype == object)
    except (pa.ArrowException, OverflowError) as error:
        raise DataError(
            f"column {name!r} holds values of several kinds, or a number beyond 64 bits: {error}"
        ) from error


def arrays(columns: Sequence[Column], read: pa.Table) -> Iterator[tuple[str, NDArray[Any]]]:
    """Each column of a checked table as the features read it: float64, or words, "" for none.

    A number or a truth value in a column of words is the word that spells it.
    """
    for column in columns:
        values = read.column(column.name)
        if column.categorical:
            texts = words.of_values(values).fill_null("")
            yield column.name, texts.to_numpy(zero_copy_only=False).astype(object)
        else:
            yield column.name, values.cast(pa.float64(), safe=False).to_numpy()  # a huge integer is rounded


def _check_kind(column: Column, kind: pa.DataType, text_only: bool) -> None:
    is_text = words.is_text(kind)
    is_number = pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)
    fits = is_text or (is_number and not text_only) if column.categorical else is_number
    if not (fits or pa.types.is_null(kind)):
        allowed = "numbers" if not column.categorical else "words" if text_only else "words and numbers"
        raise DataError(f"column {column.name!r} holds {kind}, allowed are {allowed}")


def _check_lengths(rows: Mapping[str, int]) -> None:
    usual = max(rows.values(), key=list(rows.values()).count, default=0)
    for name, n in rows.items():
        if n != usual:
            raise DataError(f"column {name!r} holds {n} values, the others hold {usual}")

"""A pandas frame of raw records as the model reads it: columns by their canonical names, values in Arrow's types."""

from collections.abc import Hashable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.base.errors import DataError, SchemaError
from pipeline.datasets import cells, words
from pipeline.datasets.names import canonical_names
from pipeline.serving import record_columns
from pipeline.serving.bundle import Bundle


def records(frame: pd.DataFrame, bundle: Bundle, beside: tuple[str, ...] = ()) -> dict[str, pa.Array]:
    """The columns that a model reads, and the one that tells groups apart where the frame has it, as canonical ones.

    Whole numbers and booleans are numbers, and so is text that spells them. A missing value is NaN or none. Columns may
    have the names of any published file of CIC-IDS-2017; see ``datasets.names``.

    Args:
        frame: n raw records.
        bundle: the model.
        beside: columns of numbers that are wanted as well, where the frame has them. The model does not need them, so
            one that holds something else, or that two columns may mean, is left out.

    Raises:
        SchemaError: two columns mean the same one.
        DataError: a column holds values of several kinds, or text that spells no number where numbers are expected.
    """
    wanted = tuple(dict.fromkeys([*(column.name for column in bundle.columns), *_group(bundle)]))
    header = tuple(frame.columns)
    names = _names(header, wanted)
    numbers = {column.name for column in bundle.columns if not column.categorical}
    given = {name: names[name] for name in wanted if name in names}
    others = {name: column for name in beside if name not in given and (column := _one(header, name)) is not None}
    plain = _plain(frame, {name: column for name, column in given.items() if name in numbers} | others)
    read = {
        name: plain[name] if name in plain else _values(name, frame[given[name]], name in numbers) for name in given
    }
    return read | {
        name: values
        for name, column in others.items()
        if (values := plain[name] if name in plain else _if_numbers(name, frame[column])) is not None
    }


def _one(header: tuple[Hashable, ...], name: str) -> Any:
    """What the frame calls a column; None where it has none, or two that may be it."""
    try:
        return _names(header, (name,)).get(name)
    except SchemaError:
        return None


def _if_numbers(name: str, column: Any) -> pa.Array | None:
    """The numbers of a column; None where it holds something else."""
    try:
        return _values(name, column, True)
    except DataError:
        return None


def _plain(frame: pd.DataFrame, given: Mapping[str, Any]) -> dict[str, pa.Array]:
    """The columns that NumPy has as numbers, all at once: column by column takes longer than a small model."""
    kinds = {
        column: isinstance(kind, np.dtype) and kind.kind in "iuf"
        for column, kind in zip(frame.columns, frame.dtypes, strict=True)
    }
    usual = {name: column for name, column in given.items() if kinds[column]}
    if not usual or not frame.columns.is_unique:
        return {}
    places = frame.columns.get_indexer(pd.Index([*usual.values()]))
    values = np.asfortranarray(frame.iloc[:, places].to_numpy(np.float64))
    return dict(zip(usual, map(pa.array, values.T), strict=True))


@lru_cache(maxsize=64)  # a model that serves is asked with the same header again and again
def _names(given: tuple[Hashable, ...], wanted: tuple[str, ...]) -> Mapping[str, Any]:
    return canonical_names(given, wanted)


def _group(bundle: Bundle) -> tuple[str, ...]:
    name = bundle.calibration.group
    return () if name is None else (name,)


def _values(name: str, column: Any, is_number: bool) -> pa.Array:
    if isinstance(column, pd.DataFrame):
        raise DataError(f"column {name!r}: {column.shape[1]} columns of the frame have this name; rename or drop one")
    if is_number and column.dtype == object:
        column = _texts(column)
    found = record_columns.converted(name, column)
    found = found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
    return _spelt(name, found) if is_number and words.is_text(found.type) else found


def _texts(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """The same values; where some of them are text, all are text."""
    is_text = column.map(lambda value: isinstance(value, str))
    return column if not is_text.any() else column.where(is_text | column.isna(), column.astype(str))


def _spelt(name: str, texts: pa.Array) -> pa.Array:
    """The numbers that texts spell.

    Raises:
        DataError: one of them spells none.
    """
    given = texts.cast(pa.string()).to_pandas()
    values, faulty = cells.numbers(given)
    if faulty.any():
        raise DataError(f"column {name!r} holds {given[faulty].iloc[0]!r}, allowed are numbers")
    return pa.array(values)

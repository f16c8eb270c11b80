"""Parquet tables, read and written a row group at a time, and the CSV of their columns."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow.csv import CSVWriter
from pyarrow.csv import write_csv as write_arrow_csv

from pipeline.artifacts.files import atomic, unreadable
from pipeline.base.csv_cells import in_cell
from pipeline.base.errors import ArtifactError

ROW_GROUP = 32_768


class TableWriter:
    """Writes one Parquet file, some rows at a time; the file is there only after the block ended without an error."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._schema = schema
        self._waiting: list[pa.Table] = []
        self.rows = 0

    def __enter__(self) -> Self:
        self._target = self._opened()
        return self._target.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._target.__exit__(*error)

    @contextmanager
    def _opened(self) -> Iterator[Self]:
        # Numbers of network traffic hardly repeat: a dictionary costs time there and saves nothing.
        words = [field.name for field in self._schema if pa.types.is_dictionary(field.type)]
        settings = {"compression": "lz4", "use_dictionary": words, "write_statistics": False}
        with atomic(self._path) as temporary, pq.ParquetWriter(temporary, self._schema, **settings) as self._writer:
            yield self
            self._flush(sum(part.num_rows for part in self._waiting))

    def write(self, table: pa.Table) -> None:
        """Append the rows of ``table``; they are gathered into row groups of ``ROW_GROUP``."""
        self._waiting.append(table)
        self.rows += table.num_rows
        waiting = sum(part.num_rows for part in self._waiting)
        self._flush(waiting - waiting % ROW_GROUP)

    def _flush(self, rows: int) -> None:
        if rows:
            table = pa.concat_tables(self._waiting)
            self._writer.write_table(table.slice(0, rows), ROW_GROUP)
            self._waiting = [table.slice(rows)]


def row_groups(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The rows of a Parquet file, a row group at a time.

    Raises:
        ArtifactError: the file is absent, damaged or no Parquet.
    """
    with opened(path) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=None if columns is None else list(columns))


def row_group(path: Path, number: int, columns: Sequence[str] | None = None) -> pa.Table:
    """One row group of a Parquet file, counted from 0.

    Raises:
        ArtifactError: the file is absent, damaged or no Parquet.
    """
    with opened(path) as file:
        return file.read_row_group(number, columns=None if columns is None else list(columns))


@dataclass(frozen=True)
class RowGroup:
    """A row group of a Parquet file, which can be read on its own, by another process, too.

    Attributes:
        path: of the file, absolute.
        number: of the row group, counted from 0.
        rows: its place among all rows.
        columns: that are read; None for all.
        changed: when the file was changed last, nanoseconds.
    """

    path: Path
    number: int
    rows: slice
    columns: tuple[str, ...] | None
    changed: int

    def read(self) -> pa.Table:
        """The rows.

        Raises:
            ArtifactError: the file is absent, damaged or no Parquet.
        """
        try:
            with pq.ParquetFile(self.path, metadata=_metadata(self.path, self.changed)) as file:
                return file.read_row_group(self.number, columns=None if self.columns is None else list(self.columns))
        except (OSError, pa.ArrowException) as error:
            raise unreadable(self.path, error) from error


def row_group_parts(path: Path, columns: Sequence[str] | None = None) -> Iterator[RowGroup]:
    """The row groups of a Parquet file, unread.

    Raises:
        ArtifactError: the file is absent, damaged or no Parquet.
    """
    start = 0
    with opened(path) as file:
        changed = path.stat().st_mtime_ns
        for number in range(file.num_row_groups):
            rows = slice(start, start + file.metadata.row_group(number).num_rows)
            yield RowGroup(path.resolve(), number, rows, None if columns is None else tuple(columns), changed)
            start = rows.stop


@lru_cache(maxsize=4)
def _metadata(path: Path, changed: int) -> pq.FileMetaData:  # read once, as it grows with the number of row groups
    return pq.read_metadata(path)


def with_slices(tables: Iterable[pa.Table]) -> Iterator[tuple[pa.Table, slice]]:
    """Each table with the place of its rows among all."""
    start = 0
    for table in tables:
        yield table, slice(start, start + table.num_rows)
        start += table.num_rows


def column_names(path: Path) -> list[str]:
    """The columns of a Parquet file.

    Raises:
        ArtifactError: the file is absent, damaged or no Parquet.
    """
    with opened(path) as file:
        return list(file.schema_arrow.names)


def column_type(path: Path, name: str) -> pa.DataType:
    """What a column of a Parquet file holds.

    Raises:
        ArtifactError: the file is absent, no Parquet, or has no such column.
    """
    with opened(path) as file:
        if name not in file.schema_arrow.names:
            raise ArtifactError(f"{path}: has no column {name!r}")
        return file.schema_arrow.field(name).type


def table_metadata(path: Path) -> dict[str, str]:
    """What a Parquet file says of itself beside its columns.

    Raises:
        ArtifactError: the file is absent, damaged or no Parquet.
    """
    with opened(path) as file:
        return {key.decode(): value.decode() for key, value in (file.schema_arrow.metadata or {}).items()}


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A whole Parquet file.

    Raises:
        ArtifactError: the file is absent, damaged or no Parquet.
    """
    with opened(path) as file:
        return file.read(columns=None if columns is None else list(columns))


@contextmanager
def opened(path: Path) -> Iterator[pq.ParquetFile]:
    """A Parquet file, open for reading.

    Raises:
        ArtifactError: the file is absent, damaged or no Parquet.
    """
    try:
        with pq.ParquetFile(path) as file:
            yield file  # damage in the middle shows only when it is read
    except (OSError, pa.ArrowException) as error:
        raise unreadable(path, error) from error


def values_by_id(path: Path, column: str, record_id: NDArray[np.uint64]) -> NDArray[Any]:
    """(n,) values of a column of the records whose ids, (n,), are given.

    Raises:
        ArtifactError: the table is absent, or lacks a record.
    """
    wanted, ids, parts = np.sort(record_id), [], []
    for group in row_groups(path, ["record_id", column]):
        part = group.filter(pa.array(are_among(group.column("record_id").to_numpy(), wanted)))
        ids.append(part.column("record_id").to_numpy())
        parts.append(part.select([column]))
    values = np.asarray(pa.concat_tables(parts).column(column).to_pandas()) if parts else np.zeros(0)
    known = np.concatenate([np.zeros(0, np.uint64), *ids])
    by_id = np.argsort(known)
    at = by_id[np.searchsorted(known[by_id], record_id).clip(max=max(len(known) - 1, 0))] if len(known) else by_id
    if len(at) != len(record_id) or (known[at] != record_id).any():
        raise ArtifactError(f"{path}: holds other records than later stages were run on; run `dvc repro`")
    found: NDArray[Any] = values[at]
    return found


def are_among(values: NDArray[np.uint64], ascending: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """(n,) which values, (n,), are among others, (k,), that are in ascending order."""
    if not len(ascending):
        return np.zeros(len(values), dtype=bool)
    found: NDArray[np.bool_] = ascending[np.searchsorted(ascending, values).clip(max=len(ascending) - 1)] == values
    return found


def strings(column: pa.ChunkedArray) -> NDArray[np.object_]:
    """(n,) str objects of a column of dictionaries, None where it has none; equal ones are the same object."""
    encoded = column.unify_dictionaries().combine_chunks()
    words = np.array([*encoded.dictionary.to_pylist(), None], dtype=object)
    return words[encoded.indices.fill_null(len(words) - 1).to_numpy()]  # type: ignore[no-any-return]


def write_columns(path: Path, columns: Mapping[str, NDArray[Any] | pa.ChunkedArray]) -> None:
    """Write a CSV of columns that have the same length, for people: no text is a formula, see ``base.escaping``.

    A uint64 id is written as sixteen hexadecimal digits: a number of that size would be rounded by most readers.
    """
    table = pa.table({in_cell(name): _as_arrow(values) for name, values in columns.items()})
    with atomic(path) as temporary:
        write_arrow_csv(table, temporary)


def write_parts(path: Path, parts: Iterable[pa.Table]) -> None:
    """Write a CSV of tables of one schema, of which one is in memory at a time; words and ids as ``write_columns``."""
    with atomic(path) as temporary, ExitStack() as opened:
        writer = None
        for part in parts:
            text = pa.table({in_cell(name): _as_arrow(_plain(part.column(name))) for name in part.column_names})
            writer = writer or opened.enter_context(CSVWriter(temporary, text.schema))
            writer.write_table(text)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _as_arrow(values: NDArray[Any] | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, pa.ChunkedArray):
        return _as_arrow(values.to_numpy()) if values.type == pa.uint64() else _in_cells(values)
    return _hexadecimal(values) if values.dtype == np.uint64 else _in_cells(pa.chunked_array([pa.array(values)]))


def _in_cells(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The texts of a column as cells of a CSV; each word is looked at once."""
    if not pa.types.is_string(column.type):
        return column
    parts = column.dictionary_encode().chunks
    words = [pa.array([in_cell(word) for word in part.dictionary.to_pylist()], pa.string()) for part in parts]
    found = [each.take(part.indices) for each, part in zip(words, parts, strict=True)]
    return pa.chunked_array(found, pa.string())


def _hexadecimal(values: NDArray[np.uint64]) -> pa.StringArray:
    digits = values.astype(">u8").tobytes().hex().encode()
    ends = np.arange(0, len(digits) + 1, 16, dtype=np.int32)
    return pa.StringArray.from_buffers(len(values), pa.py_buffer(ends), pa.py_buffer(digits))

"""Parquet files and ``.npz`` arrays as Arrow tables, some rows at a time."""

import zipfile
import zlib
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.base.errors import SchemaError, SourceError, near_miss
from pipeline.datasets.base import Chunk
from pipeline.datasets.blocks import Block
from pipeline.datasets.header import Layout
from pipeline.datasets.labels import Label
from pipeline.datasets.rows import of_table
from pipeline.datasets.sources import Source

ROWS = 65_536  # read at a time


def record_batches(source: Source, rows: int, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of a Parquet file, ``rows`` at a time.

    Raises:
        SourceError: it cannot be read as Parquet.
    """
    try:
        with source.open() as stream:
            yield from pq.ParquetFile(stream).iter_batches(rows, columns=columns)
    except (OSError, pa.ArrowInvalid, zipfile.BadZipFile) as error:
        raise SourceError(f"{source.name}: cannot be read as Parquet ({error}); fetch the file again") from error


def batches(source: Source, layout: Layout) -> Iterator[pa.Table]:
    """The used columns of a Parquet file under their canonical names."""
    used = [text for text, name in zip(layout.header, layout.names, strict=True) if name]
    for batch in record_batches(source, ROWS, used):
        yield pa.table([batch.column(text) for text in used], layout.used)


def slices(source: Source, layout: Layout) -> Iterator[pa.Table]:
    """The used columns of an ``.npz`` under their canonical names."""
    x, y = arrays(source)
    for start in range(0, len(x), ROWS):
        part = slice(start, start + ROWS)
        columns = [*(np.ascontiguousarray(column) for column in x[part].T), y[part]]
        used = [pa.array(column) for column, name in zip(columns, layout.names, strict=True) if name]
        yield pa.table(used, layout.used)


def arrays(source: Source) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """X, (n, F), and y, (n,).

    Raises:
        SourceError: the file is no ``.npz``, or holds arrays that only pickle could read.
        SchemaError: an array is missing or has the wrong shape.
    """
    found = {key: _array(source, key) for key in ("X", "y")}
    x, y = found["X"], found["y"].ravel()
    if x.ndim != 2 or x.dtype.kind not in "biuf" or len(x) != len(y):
        given = f"X {x.dtype} {x.shape} and y {found['y'].dtype} {found['y'].shape}"
        raise SchemaError(f"{source.name}: X must be numbers (n, F) and y (n,), given {given}")
    return x, y


def _array(source: Source, key: str) -> NDArray[np.generic]:
    try:
        with source.open() as stream, np.load(stream, allow_pickle=False) as archive:
            if key not in archive:
                held = f"{near_miss(key, archive)}; it holds {', '.join(archive) or 'nothing'}"
                raise SchemaError(f"{source.name}: no array {key!r}{held}; save one with np.savez(path, X=X, y=y)")
            array: NDArray[np.generic] = archive[key]
            return array
    except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        remedy = "save numbers or text with np.savez(path, X=X, y=y); what only pickle can read is refused"
        raise SourceError(f"{source.name}: {key!r} cannot be read ({error}); {remedy}") from error


def chunk_of(block: Block, layout: Layout, table: pa.Table, label: Callable[[str], Label]) -> Chunk:
    """The records of ``table``, whose columns have the types that the file gives them.

    Args:
        block: says where the rows come from; it has no lines.
        layout: names the columns of ``table`` that are used.
        table: the rows.
        label: reads a label.

    Raises:
        DataError: ``label`` does not know a label.
    """
    words = {"label", *(column.name for column in layout.columns if column.categorical)}
    columns = {name: table.column(name) for name in table.column_names}
    typed = {name: _words(column) if name in words else _numbers(column) for name, column in columns.items()}
    return of_table(block, layout, pa.table(typed), label)


def _words(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Values of any type as words; NaN becomes null."""
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    return column.cast(pa.string()).dictionary_encode()


def _numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Numbers as float64; text stays text, because its cells are read one by one later."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return column.cast(pa.string())
    column = column.cast(pa.uint8()) if pa.types.is_boolean(kind) else column
    return column.cast(pa.float64(), safe=False)

"""Files whose columns have types (Parquet, Arrow, ``.npz``) as Arrow tables, some rows at a time."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.base import limits
from pipeline.base.errors import SchemaError, SourceError, near_miss
from pipeline.datasets import nulls, words
from pipeline.datasets.base import Chunk
from pipeline.datasets.blocks import Block
from pipeline.datasets.header import Layout
from pipeline.datasets.labels import Label
from pipeline.datasets.rows import TEXTS, of_table
from pipeline.datasets.sources import Source
from pipeline.datasets.suffixes import PARQUET, TYPED
from pipeline.datasets.unpacking import BROKEN

ROWS = 65_536  # read at a time


def is_typed(source: Source) -> bool:
    """Whether a source has columns of types, and no lines."""
    return source.name.lower().endswith(TYPED)


def record_batches(source: Source, rows: int, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of a Parquet or Arrow file, at most ``rows`` at a time.

    Raises:
        SourceError: it cannot be read.
    """
    is_parquet = source.name.lower().endswith(PARQUET)
    try:
        with source.open() as stream:
            if is_parquet:
                file = pq.ParquetFile(stream)
                require_size(file.metadata, source.name)
                yield from file.iter_batches(rows, columns=columns)
            else:
                yield from (part for batch in _ipc(stream) for part in _cut(batch, rows))
    except BROKEN as error:
        kind = "Parquet" if is_parquet else "Arrow"
        raise SourceError(f"{source.name}: cannot be read as {kind} ({error}); fetch the file again") from error


def require_size(about: pq.FileMetaData, where: str) -> None:
    """Refuse a Parquet file that says itself that it holds more than is allowed.

    Raises:
        SourceError: with the setting.
    """
    most = limits.held()
    most.require("columns", about.num_columns, where, "its columns are")
    most.require("rows", about.num_rows, where, "its rows are")
    unpacked = sum(about.row_group(place).total_byte_size for place in range(about.num_row_groups))
    most.require("bytes", unpacked, where, "the bytes that it unpacks to are")


def _ipc(stream: BinaryIO) -> Iterator[pa.RecordBatch]:
    """The batches of an Arrow file; of a stream, where it is one."""
    try:
        file = pa.ipc.open_file(stream)
    except pa.ArrowInvalid:
        stream.seek(0)
        yield from pa.ipc.open_stream(stream)
        return
    yield from (file.get_batch(place) for place in range(file.num_record_batches))


def _cut(batch: pa.RecordBatch, rows: int) -> Iterator[pa.RecordBatch]:
    return (batch.slice(start, rows) for start in range(0, batch.num_rows, rows))


def column_names(source: Source) -> list[str]:
    """The names of the columns of a typed file.

    Raises:
        SourceError: it cannot be read, or has no records.
        SchemaError: two of its columns have one name.
    """
    names = first_batch(source, 1).schema.names
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise SchemaError(f"{source.name}: two columns are called {twice[0]!r}; rename one")
    return list(names)


def first_batch(source: Source, rows: int) -> pa.RecordBatch:
    """The first rows of a typed file.

    Raises:
        SourceError: it cannot be read, or has no records.
    """
    first = next(record_batches(source, rows), None)
    if first is None:
        raise SourceError(f"{source.name}: has no records; remove the file or fetch it again")
    return first


def batches(source: Source, layout: Layout) -> Iterator[pa.Table]:
    """The used columns of a typed file under their canonical names."""
    own = column_names(source)
    used = [text for text, name in zip(own, layout.names, strict=True) if name]
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
    except (*BROKEN, ValueError, TypeError) as error:
        remedy = "save numbers or text with np.savez(path, X=X, y=y); what only pickle can read is refused"
        raise SourceError(f"{source.name}: {key!r} cannot be read ({error}); {remedy}") from error


def chunk_of(
    block: Block,
    layout: Layout,
    table: pa.Table,
    label: Callable[[str], Label],
    rows: NDArray[np.int64] | None = None,
) -> Chunk:
    """The records of ``table``, whose columns have the types that the file gives them.

    Args:
        block: says where the rows come from; it has no lines.
        layout: names the columns of ``table`` that are used.
        table: the rows.
        label: reads a label.
        rows: (n,) their numbers; without them, one after the other from the first of the block.

    Raises:
        SchemaError: a column holds neither numbers nor text.
        DataError: ``label`` does not know a label.
    """
    texts = TEXTS.union(column.name for column in layout.columns if column.categorical)
    columns = {name: table.column(name) for name in table.column_names}
    try:
        typed = {
            name: words.nulled(words.encoded(column), nulls.WORDS) if name in texts else _numbers(column)
            for name, column in columns.items()
        }
    except pa.ArrowException as error:
        raise SchemaError(f"{block.source}: a column holds neither numbers nor text ({error})") from error
    return of_table(block, layout, pa.table(typed), label, rows)


def _numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Numbers as float64; text stays text, because its cells are read one by one later."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if words.is_text(kind):
        return column.cast(pa.string())
    column = column.cast(kind)
    column = column.cast(pa.uint8()) if pa.types.is_boolean(kind) else column
    return column.cast(pa.float64(), safe=False)

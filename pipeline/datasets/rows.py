"""A block of CSV lines -> records with canonical columns, and the rows that cannot be read, each with its reason."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from hashlib import blake2b
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv

from pipeline.base.errors import DataError, SourceError
from pipeline.base.samples import row_hash
from pipeline.datasets.base import REJECTED_SCHEMA, Chunk, record_schema
from pipeline.datasets.header import Layout
from pipeline.datasets.labels import Label, canonical

UNLABELLED = Label("unlabelled", "unlabelled", False)  # what a record that is to be scored may be
BLANK = "blank row"  # published files hold hundred thousands of lines of nothing but commas
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_TEXT = pa.dictionary(pa.int32(), pa.string())
_WORDS = frozenset({"label", "flow_id", "timestamp"})
Labeller = Callable[[str], Label]  # raises ValueError where it does not know the text
ONE_PART = 1 << 30  # more than any block holds
CACHED_BYTES = 1 << 20  # parsed at a time: what fits the processor's cache is read twice as fast
MOST_LINES = 1 << 17  # in a block


class Block(NamedTuple):
    """Whole lines of one source; ``first_row`` is the number of the first, 1 for the line below the header."""

    source: str
    lines: bytes
    first_row: int


class _Reject(NamedTuple):
    row: int
    column: str
    reason: str
    text: str


def headed(source: str, stream: Iterator[bytes]) -> tuple[bytes, Iterator[Block]]:
    """The header line of a source, and the blocks below it.

    Raises:
        SourceError: there is no header line; or, behind the last block, there was none.
    """
    head, _, body = next(stream, b"").partition(b"\n")
    if not head.strip():
        raise SourceError(f"{source}: is empty; a header line and records are expected; remove the file or fetch it")
    return head, numbered(source, chain([body], stream), "a header and no records")


def numbered(source: str, stream: Iterator[bytes], found: str = "no records") -> Iterator[Block]:
    """The lines of a source in blocks that know their row numbers, from 1 on; ``found`` says what an empty one has.

    Raises:
        SourceError: behind the last block, if there was none.
    """
    row = 1
    for lines in (part for block in stream for part in _cut(block)):
        yield Block(source, lines, row)
        row += lines.count(b"\n")
    if row == 1:
        raise SourceError(f"{source}: has {found}; remove the file or fetch it again")


def _cut(lines: bytes) -> Iterator[bytes]:
    """The same lines, ``MOST_LINES`` at a time: millions of blank ones fit into one block."""
    if lines.count(b"\n") <= MOST_LINES:
        yield from [lines] if lines else []
        return
    ends = 1 + np.flatnonzero(np.frombuffer(lines, np.uint8) == ord("\n"))
    cuts = [0, *ends[MOST_LINES - 1 : -1 : MOST_LINES].tolist(), len(lines)]
    yield from (lines[start:end] for start, end in pairwise(cuts))


def parse(block: Block, layout: Layout, label: Labeller = canonical) -> Chunk:
    """Read ``block``: at full speed where every cell is well-formed, cell by cell where one is not.

    Raises:
        DataError: ``label`` does not know a label.
    """
    if not block.lines.strip(b"\r\n"):
        return _blank(block, layout)
    rejects: list[_Reject] = []
    table, rows = _numbers(block, layout, rejects)
    return _chunk(block, layout, table, rows, rejects, label)


def _blank(block: Block, layout: Layout) -> Chunk:
    """Of lines that are all empty: a small archive holds millions of them."""
    n = block.lines.count(b"\n")
    column = layout.title("label") if layout.labelled else ""
    texts = {"source_file": block.source, "column": column, "reason": BLANK, "text": ""}
    columns = {name: pa.array(np.full(n, text, dtype=object), pa.string()) for name, text in texts.items()}
    rows = np.arange(block.first_row, block.first_row + n)
    rejected = pa.Table.from_pydict({**columns, "row": rows}, REJECTED_SCHEMA)
    return Chunk(record_schema(layout.columns).empty_table(), rejected)


def of_table(block: Block, layout: Layout, table: pa.Table, label: Labeller) -> Chunk:
    """The records of columns that have their types already: float64, or text in which numbers are spelt.

    Args:
        block: says where the rows come from; it has no lines.
        layout: names the columns of ``table`` that are used.
        table: the rows, the words of categorical columns and labels as dictionaries.
        label: what a label says.

    Raises:
        DataError: ``label`` does not know a label.
    """
    rejects: list[_Reject] = []
    rows = np.arange(block.first_row, block.first_row + table.num_rows)
    table, rows = _to_numbers(block, layout, table, rows, rejects)
    return _chunk(block, layout, table, rows, rejects, label)


def _chunk(
    block: Block,
    layout: Layout,
    table: pa.Table,
    rows: NDArray[np.int64],
    rejects: list[_Reject],
    label: Labeller,
) -> Chunk:
    if "label" not in layout.names:
        table = table.append_column("label", pa.nulls(table.num_rows, _TEXT))
    table, rows = (_without_blank if layout.labelled else _without_nothing)(block, layout, table, rows, rejects)
    records = _records(block, layout, table, rows, label)
    rejected = [{"source_file": block.source, **reject._asdict()} for reject in sorted(rejects)]
    return Chunk(records, pa.Table.from_pylist(rejected, REJECTED_SCHEMA))


def _numbers(block: Block, layout: Layout, rejects: list[_Reject]) -> tuple[pa.Table, NDArray[np.int64]]:
    """The used columns as numbers."""
    try:
        return _read(block, layout, pa.float64(), rejects, CACHED_BYTES)
    except pa.ArrowInvalid:  # a cell that is no number: read the block again as text to find all of them
        rejects.clear()
    table, rows = _read(block, layout, pa.string(), rejects, ONE_PART)
    return _to_numbers(block, layout, table, rows, rejects)


def _read(
    block: Block,
    layout: Layout,
    number: pa.DataType,
    rejects: list[_Reject],
    at_once: int,
) -> tuple[pa.Table, NDArray[np.int64]]:
    """The used columns, and the row number of each row that has all its fields."""

    def refuse(row: csv.InvalidRow) -> str:
        fields = f"{row.actual_columns} fields where the header has {row.expected_columns}"
        reason = BLANK if _is_blank(row.text) else fields
        rejects.append(_Reject(block.first_row + row.number - 1, "", reason, row.text))
        return "skip"

    words = _WORDS.union(column.name for column in layout.columns if column.categorical)
    kinds = {name: _TEXT if name in words else number for name in layout.used}
    lines = _utf8(block.lines)
    table = (
        csv.read_csv(
            pa.BufferReader(lines),
            csv.ReadOptions(use_threads=False, column_names=layout.reading_names, block_size=at_once),
            csv.ParseOptions(
                quote_char='"' if layout.quotes else False, ignore_empty_lines=False, invalid_row_handler=refuse
            ),
            csv.ConvertOptions(
                column_types=kinds,
                include_columns=layout.used,
                null_values=list(layout.nulls),
                strings_can_be_null=True,
                check_utf8=False,
            ),
        )
        if block.lines
        else pa.schema(kinds).empty_table()
    )
    rows = np.arange(block.first_row, block.first_row + table.num_rows + len(rejects))
    refused = np.array([reject.row for reject in rejects], dtype=np.int64)
    return table, np.setdiff1d(rows, refused, assume_unique=True)


def _utf8(lines: bytes) -> bytes:
    """The same lines, bytes of another encoding replaced: labels come in UTF-8, cp1252, or beyond repair."""
    return lines if lines.isascii() else lines.decode("utf-8", "replace").encode()


def _to_numbers(
    block: Block, layout: Layout, table: pa.Table, rows: NDArray[np.int64], rejects: list[_Reject]
) -> tuple[pa.Table, NDArray[np.int64]]:
    """Columns of text -> columns of numbers; rows with a cell that is none are rejected."""
    good = np.ones(table.num_rows, dtype=bool)
    lines = _Lines(block)
    for name in layout.used:
        if not pa.types.is_string(table.schema.field(name).type):
            continue
        text = table.column(name).to_pandas()
        bare = text.str.strip(' "')
        numbers = pd.to_numeric(bare, errors="coerce")
        spelt_nan = bare.str.lower().isin(["nan", "-nan"])
        for position in np.flatnonzero(numbers.isna() & text.notna() & ~spelt_nan & good):
            row, reason = int(rows[position]), f"{text[position]!r} is not a number"
            rejects.append(_Reject(row, layout.title(name), reason, lines[row]))
            good[position] = False
        column = pa.array(numbers.to_numpy(dtype=np.float64, na_value=np.nan))
        table = table.set_column(table.schema.get_field_index(name), name, column)
    return table.filter(pa.array(good)), rows[good]


def _without_blank(
    block: Block, layout: Layout, table: pa.Table, rows: NDArray[np.int64], rejects: list[_Reject]
) -> tuple[pa.Table, NDArray[np.int64]]:
    unlabelled = pc.is_null(table.column("label"))
    if not pc.any(unlabelled).as_py():
        return table, rows
    missing = unlabelled.to_numpy()
    lines = _Lines(block)
    for row in rows[missing].tolist():
        reason = BLANK if block.lines and _is_blank(lines[row]) else "the label is empty"
        rejects.append(_Reject(row, layout.title("label"), reason, lines[row]))
    return table.filter(pc.invert(unlabelled)), rows[~missing]


def _without_nothing(
    block: Block, layout: Layout, table: pa.Table, rows: NDArray[np.int64], rejects: list[_Reject]
) -> tuple[pa.Table, NDArray[np.int64]]:
    """Without the rows in which no feature has a value; a missing label is the word ""."""
    empty = np.ones(table.num_rows, dtype=bool)
    for column in layout.columns:
        values = table.column(layout.copied.get(column.name, column.name))
        empty &= pc.is_null(values, nan_is_null=True).to_numpy()
    lines = _Lines(block)
    rejects.extend(_Reject(row, "", BLANK, lines[row]) for row in rows[empty].tolist())
    label = table.column("label").cast(pa.string()).fill_null("").dictionary_encode()
    table = table.set_column(table.schema.get_field_index("label"), "label", label)
    return table.filter(pa.array(~empty)), rows[~empty]


class _Lines:
    """The text of each row of a block, "" where it has none."""

    def __init__(self, block: Block) -> None:
        self.lines, self.first_row = block.lines.split(b"\n"), block.first_row

    def __getitem__(self, row: int) -> str:
        place = row - self.first_row
        return self.lines[place].decode("utf-8", "replace").rstrip() if place < len(self.lines) else ""


def _is_blank(line: str) -> bool:
    return not line.replace(",", "").strip()


def _records(block: Block, layout: Layout, table: pa.Table, rows: NDArray[np.int64], label: Labeller) -> pa.Table:
    columns = {column.name: table.column(layout.copied.get(column.name, column.name)) for column in layout.columns}
    features = {name: _filled(column) for name, column in columns.items()}
    codes, labels = _labels(block, layout, table.column("label"), rows, label)
    timestamp = _timestamps(table, layout)
    provenance = {
        "record_id": _record_ids(block.source, rows, pa.table(features), _hashes(labels)[codes]),
        "source_file": _constant(block.source, len(rows)),
        "row": rows,
        "y": pa.array(
            [None if label is UNLABELLED else int(label.attack != "benign") for label in labels], pa.int8()
        ).take(pa.array(codes)),
        "attack": _dictionary(codes, [label.attack for label in labels]),
        "family": _dictionary(codes, [label.family for label in labels]),
        "attempted": _attempted(table, layout, codes, labels),
        "day": _days(block.source, timestamp),
        "timestamp": timestamp,
        "protocol": _protocols(table, layout),
        "flow_id": table.column("flow_id").cast(pa.string())
        if "flow_id" in layout.names
        else pa.nulls(len(rows), pa.string()),
    }
    return pa.Table.from_pydict({**provenance, **features}, schema=record_schema(layout.columns))


def _filled(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same column with NaN, or "" among words, where the cell is empty."""
    if pa.types.is_dictionary(column.type):
        spaces = {text: (text or "").strip() for text in column.unique().to_pylist()}
        if all(text == bare for text, bare in spaces.items()):
            return column
        bare = [spaces[text] for text in column.to_pylist()]
        return pa.chunked_array([pa.array(bare, pa.string()).dictionary_encode()])
    return column.fill_null(np.nan) if column.null_count else column


def _record_ids(
    source: str, rows: NDArray[np.int64], features: pa.Table, labels: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """Content and position: the same file gives the same ids however it is packed and cut into blocks."""
    contents = [row_hash(map(_numeric, batch.columns)) for batch in features.to_batches()]
    content = np.concatenate([np.empty(0, dtype=np.uint64), *contents])
    return row_hash([np.repeat(_hash(source), len(rows)), rows, content, labels])


def _numeric(column: pa.Array) -> NDArray[np.generic]:
    """The values as they are hashed: numbers as such, words by their own hashes."""
    if not pa.types.is_dictionary(column.type):
        return column.to_numpy()  # type: ignore[no-any-return]
    hashes = np.array([_hash(word) for word in column.dictionary.to_pylist()], dtype=np.uint64)
    hashed: NDArray[np.generic] = hashes[column.indices.to_numpy()]
    return hashed


def _hashes(labels: list[Label]) -> NDArray[np.uint64]:
    return np.array([_hash(f"{label.attack} {label.attempted}") for label in labels], dtype=np.uint64)


def _hash(text: str) -> np.uint64:
    return np.uint64(int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big"))


def _labels(
    block: Block, layout: Layout, column: pa.ChunkedArray, rows: NDArray[np.int64], label: Labeller
) -> tuple[NDArray[np.int32], list[Label]]:
    """Per row the index of its label, and the labels."""
    encoded = column.unify_dictionaries().combine_chunks()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32)
    labels = []
    for code, text in enumerate(encoded.dictionary.to_pylist()):
        if code not in codes:
            labels.append(Label("benign", "benign", False))  # only rejected rows have it
            continue
        try:
            labels.append(label(text))
        except ValueError as error:
            if not layout.labelled:
                labels.append(UNLABELLED)
                continue
            where = f"{block.source}: row {rows[np.argmax(codes == code)]}, column {layout.title('label')!r}"
            raise DataError(f"{where}: {error}; correct it, or {layout.remedy}") from error
    return codes, labels


def _attempted(table: pa.Table, layout: Layout, codes: NDArray[np.int32], labels: list[Label]) -> pa.Array:
    if "attempted_category" not in layout.names:
        return pa.nulls(len(codes), pa.bool_())
    spelt = np.array([label.attempted for label in labels], dtype=bool)[codes]
    return pa.array(spelt | (table.column("attempted_category").to_numpy() >= 0))


def _protocols(table: pa.Table, layout: Layout) -> pa.Array:
    if "protocol" not in layout.names:
        return pa.nulls(table.num_rows, pa.int16())
    return pc.cast(table.column("protocol"), pa.int16(), safe=False).combine_chunks()


def _dictionary(codes: NDArray[np.int32], names: list[str]) -> pa.Array:
    unique, inverse = np.unique(np.array(names, dtype=object), return_inverse=True)
    indices = inverse.astype(np.int32)[codes] if len(codes) else np.array([], dtype=np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(indices), pa.array(unique.tolist(), pa.string()))


def _constant(text: str, n: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, dtype=np.int32)), pa.array([text]))


def _timestamps(table: pa.Table, layout: Layout) -> pa.Array:
    """(n,) timestamp[us]; null where the source has none or it cannot be read."""
    if "timestamp" not in layout.names:
        return pa.nulls(table.num_rows, pa.timestamp("us"))
    encoded = table.column("timestamp").unify_dictionaries().combine_chunks()
    times = [_timestamp(text) for text in encoded.dictionary.to_pylist()]
    return pa.array(times, pa.timestamp("us")).take(encoded.indices)


def _timestamp(text: str) -> datetime | None:
    """ISO, or the published day/month/year on a twelve-hour clock without am and pm."""
    text = text.strip(' "')
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    for shape in ("%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M"):
        try:
            time = datetime.strptime(text, shape)
        except ValueError:
            continue
        # The capture ran from 8 in the morning to 5 in the afternoon, so 1 to 7 are hours after noon.
        return time + timedelta(hours=12) if time.hour < 8 else time
    return None


def _days(source: str, timestamp: pa.Array) -> pa.Array:
    """The weekday of the timestamp; else the one that the file's name begins with; else null."""
    n = len(timestamp)
    if timestamp.null_count < n:
        weekdays = pc.day_of_week(timestamp)
        return pa.DictionaryArray.from_arrays(pc.cast(weekdays, pa.int32()), pa.array(DAYS))
    named = source.rsplit("/", 1)[-1].partition("-")[0].lower()
    if named not in DAYS:
        return pa.nulls(n, pa.dictionary(pa.int32(), pa.string()))
    return _constant(named, n)

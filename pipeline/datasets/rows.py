"""Turns a block of CSV lines into records, and lists the rows that cannot be read, each with its reason."""

from collections import Counter
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv

from pipeline.base.errors import SchemaError
from pipeline.datasets.base import REJECTED_SCHEMA, Chunk, record_schema
from pipeline.datasets.blocks import Block
from pipeline.datasets.header import Layout
from pipeline.datasets.labels import canonical
from pipeline.datasets.meaning import Notes
from pipeline.datasets.records import Labeller, records_of
from pipeline.datasets.schema import ENDPOINTS
from pipeline.datasets.times import blank, contradiction
from pipeline.datasets.units import CANONICAL, other

BLANK = "blank row"  # published files hold hundreds of thousands of lines with nothing but commas

_TEXT = pa.dictionary(pa.int32(), pa.string())
_WORDS = frozenset({"label", *ENDPOINTS} - {"protocol"})
ONE_PART = 1 << 30  # more than any block holds
CACHED_BYTES = 1 << 20  # parsed at a time: parts that fit the processor's cache are read twice as fast


class _Reject(NamedTuple):
    row: int
    column: str
    reason: str
    text: str


def parse(block: Block, layout: Layout, label: Labeller = canonical) -> Chunk:
    """Read ``block``: at full speed if every cell is well-formed, else cell by cell.

    Raises:
        DataError: ``label`` does not know a label.
    """
    if not block.lines.strip(b"\r\n"):
        return _blank(block, layout)
    rejects: list[_Reject] = []
    table, rows = _numbers(block, layout, rejects)
    return _chunk(block, layout, table, rows, rejects, label)


def _blank(block: Block, layout: Layout) -> Chunk:
    """The result for lines that are all empty: a small archive may hold millions of them."""
    n = block.lines.count(b"\n")
    column = layout.title("label") if layout.labelled else ""
    texts = {"source_file": block.source, "column": column, "reason": BLANK, "text": ""}
    columns = {name: pa.array(np.full(n, text, dtype=object), pa.string()) for name, text in texts.items()}
    rows = np.arange(block.first_row, block.first_row + n)
    rejected = pa.Table.from_pydict({**columns, "row": rows}, REJECTED_SCHEMA)
    return Chunk(record_schema(layout.columns).empty_table(), rejected)


def words(block: Block, layout: Layout, name: str) -> pa.ChunkedArray:
    """(n,) cells of one column as text, without those of rows that have too few or too many fields."""
    alone = replace(layout, names=tuple(each if each == name else "" for each in layout.names), columns=())
    return _read(block, alone, pa.string(), [], ONE_PART)[0].column(name).cast(pa.string())


def of_table(
    block: Block, layout: Layout, table: pa.Table, label: Labeller, numbers: NDArray[np.int64] | None = None
) -> Chunk:
    """The records of typed columns: float64, or text that spells numbers.

    Args:
        block: says where the rows come from; it has no lines.
        layout: names the columns of ``table`` that are used.
        table: the rows, the words of categorical columns and labels as dictionaries.
        label: reads a label.
        numbers: (n,) the number of each row in the source; None where they follow each other.

    Raises:
        DataError: ``label`` does not know a label.
    """
    rejects: list[_Reject] = []
    rows = np.arange(block.first_row, block.first_row + table.num_rows) if numbers is None else numbers
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
    table, rows = _without_blank(block, layout, table, rows, rejects)
    _require_one_unit(block, layout, table, rows)
    records = records_of(block, layout, table, rows, label)
    rejected = [{"source_file": block.source, **reject._asdict()} for reject in sorted(rejects)]
    return Chunk(records, pa.Table.from_pylist(rejected, REJECTED_SCHEMA), _notes(block, layout, table, records))


def _require_one_unit(block: Block, layout: Layout, table: pa.Table, rows: NDArray[np.int64]) -> None:
    """Refuse rows whose durations have another unit than those of the file.

    Raises:
        SchemaError: with the first of them.
    """
    units = layout.meaning.units
    if units is None or not units.agree:
        return
    usual = units.duration or CANONICAL
    unit, place, count = other(table, usual)
    if unit:
        where = f"{block.source}: row {rows[place]}, column {layout.title('flow_duration')!r}"
        raise SchemaError(
            f"{where}: the duration is in {unit}, as the rate of packets shows; so it is in {count:,} of {len(rows):,} "
            f"rows here, while the file began in {usual}; give the rows of each unit a file of their own"
        )


def _notes(block: Block, layout: Layout, table: pa.Table, records: pa.Table) -> Notes:
    """What the rows that became ``records`` show of their file."""
    labels = table.column("label").value_counts().to_pylist() if "label" in layout.names else []
    missed = _unread(table.column("timestamp"), records.column("timestamp")) if "timestamp" in layout.names else []
    found = Counter({(each["values"] or "").strip(): each["counts"] for each in labels})
    times = layout.meaning.times
    other = contradiction(times, missed) if times and missed else ""
    aside = tuple(text for text, name in zip(layout.header, layout.names, strict=True) if not name)
    return Notes(block.source, layout.meaning, aside, found, len(missed), tuple(dict.fromkeys(missed))[:3], other)


def _unread(texts: pa.ChunkedArray, times: pa.ChunkedArray) -> list[str]:
    """The cells that hold a time, none of which could be read."""
    if not times.null_count:
        return []
    missed = texts.cast(pa.string()).filter(pc.is_null(times)).combine_chunks()
    return missed.filter(pc.invert(blank(missed))).to_pylist()  # type: ignore[no-any-return]


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
    """The same lines with invalid bytes replaced: labels come in UTF-8, in cp1252, or damaged."""
    return lines if lines.isascii() else lines.decode("utf-8", "replace").encode()


def _to_numbers(
    block: Block, layout: Layout, table: pa.Table, rows: NDArray[np.int64], rejects: list[_Reject]
) -> tuple[pa.Table, NDArray[np.int64]]:
    """Columns of text as columns of numbers; rows with a cell that is no number are rejected."""
    good = np.ones(table.num_rows, dtype=bool)
    lines = _Lines(block)
    for name in layout.used:
        if not pa.types.is_string(table.schema.field(name).type):
            continue
        text = table.column(name).to_pandas()
        bare = text.str.strip(' "')
        numbers = pd.to_numeric(bare, errors="coerce")
        written_nan = bare.str.lower().isin(["nan", "-nan"])
        for position in np.flatnonzero(numbers.isna() & text.notna() & ~written_nan & good):
            row, reason = int(rows[position]), f"{text[position]!r} is not a number"
            rejects.append(_Reject(row, layout.title(name), reason, lines[row]))
            good[position] = False
        column = pa.array(numbers.to_numpy(dtype=np.float64, na_value=np.nan))
        table = table.set_column(table.schema.get_field_index(name), name, column)
    return table.filter(pa.array(good)), rows[good]


def _without_blank(
    block: Block, layout: Layout, table: pa.Table, rows: NDArray[np.int64], rejects: list[_Reject]
) -> tuple[pa.Table, NDArray[np.int64]]:
    """Without the rows that have neither a label nor a feature; a missing label becomes the word ""."""
    unlabelled = pc.is_null(table.column("label"))
    if not pc.any(unlabelled).as_py():
        return table, rows
    blank = unlabelled.to_numpy() & _without_features(layout, table)
    lines = _Lines(block)
    title = layout.title("label") if layout.labelled else ""
    rejects.extend(_Reject(row, title, BLANK, lines[row]) for row in rows[blank].tolist())
    label = table.column("label").cast(pa.string()).fill_null("").dictionary_encode()
    table = table.set_column(table.schema.get_field_index("label"), "label", label)
    return table.filter(pa.array(~blank)), rows[~blank]


def _without_features(layout: Layout, table: pa.Table) -> NDArray[np.bool_]:
    """(n,) mask of the rows in which every feature is missing."""
    empty = np.ones(table.num_rows, dtype=bool)
    for column in layout.columns:
        values = table.column(layout.copied.get(column.name, column.name))
        empty &= pc.is_null(values, nan_is_null=True).to_numpy()
    return empty


class _Lines:
    """The text of each row of a block; "" where the block has no lines."""

    def __init__(self, block: Block) -> None:
        self.lines, self.first_row = block.lines.split(b"\n"), block.first_row

    def __getitem__(self, row: int) -> str:
        place = row - self.first_row
        return self.lines[place].decode("utf-8", "replace").rstrip() if place < len(self.lines) else ""


def _is_blank(line: str) -> bool:
    return not line.replace(",", "").strip()

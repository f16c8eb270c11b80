"""Turns a block of CSV lines into records, and lists the rows that cannot be read, each with its reason."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv

from pipeline.datasets import cells, controls, encodings, noticed, nulls, words
from pipeline.datasets.base import PASSED_OVER, REJECTED_SCHEMA, Chunk, record_schema
from pipeline.datasets.blocks import Block
from pipeline.datasets.dialect import COMMENT
from pipeline.datasets.header import Layout
from pipeline.datasets.labels import canonical
from pipeline.datasets.records import Labeller, records_of
from pipeline.datasets.schema import ENDPOINTS

BLANK: Final = "blank row"  # published files hold hundreds of thousands of lines with nothing but commas
REPEATED: Final = "the header again"  # where files were joined
COMMENTED: Final = "a comment"
RETURNED: Final = "a carriage return within the row"
NO_RECORD: Final = (BLANK, REPEATED, COMMENTED)  # they hold no record: none is lost

TEXTS: Final = frozenset({"label", *ENDPOINTS} - {"protocol"})  # columns that are no numbers in any file
_TEXT = pa.dictionary(pa.int32(), pa.string())
ONE_PART = 1 << 30  # more than any block holds
CACHED_BYTES = 1 << 20  # parsed at a time: parts that fit the processor's cache are read twice as fast


def holds_no_record(rejected: pa.Table) -> pa.ChunkedArray:
    """(n,) mask of the rejected rows that hold no record: nothing is lost with them."""
    reason = rejected.column("reason")
    return pc.or_(pc.is_in(reason, pa.array(NO_RECORD)), pc.starts_with(reason, PASSED_OVER))


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


def of_table(
    block: Block, layout: Layout, table: pa.Table, label: Labeller, rows: NDArray[np.int64] | None = None
) -> Chunk:
    """The records of typed columns: float64, or text that spells numbers.

    Args:
        block: says where the rows come from; it has no lines.
        layout: names the columns of ``table`` that are used.
        table: the rows, the words of categorical columns and labels as dictionaries.
        label: reads a label.
        rows: (n,) their numbers; without them, one after the other from the first of the block.

    Raises:
        DataError: ``label`` does not know a label.
    """
    rejects: list[_Reject] = []
    rows = np.arange(block.first_row, block.first_row + table.num_rows) if rows is None else rows
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
    table, rows = _without_controls(block, layout, *_without_blank(block, layout, table, rows, rejects), rejects)
    noticed.require_one_unit(block, layout, table, rows)
    records = records_of(block, layout, table, rows, label)
    rejected = [{"source_file": block.source, **reject._asdict()} for reject in sorted(rejects)]
    return Chunk(records, pa.Table.from_pylist(rejected, REJECTED_SCHEMA), noticed.notes(block, layout, table, records))


def _numbers(block: Block, layout: Layout, rejects: list[_Reject]) -> tuple[pa.Table, NDArray[np.int64]]:
    """The used columns as numbers."""
    too_wide = (layout.dialect.separator * len(layout.names)).encode()
    clean = cells.with_wide_comments(encodings.clean(block.lines), too_wide)
    whole, returns = cells.without_returns(clean, too_wide)
    lines, headers = cells.without_headers(whole, layout.line, too_wide)
    block = block._replace(lines=lines)
    reader = _Reader(block, layout, headers, returns)
    table = reader.read()
    if surplus := reader.surplus():
        block = block._replace(lines=cells.trimmed(lines, surplus, layout.dialect.separator))
        reader = _Reader(block, layout, headers, returns)
        table = reader.read()
    rejects += reader.rejects
    rows = np.arange(block.first_row, block.first_row + table.num_rows + len(rejects))
    refused = np.array([reject.row for reject in rejects], dtype=np.int64)
    return _to_numbers(block, layout, table, np.setdiff1d(rows, refused, assume_unique=True), rejects)


class _Reader:
    """Reads the used columns of a block, and remembers the rows that have not all their fields."""

    def __init__(self, block: Block, layout: Layout, headers: frozenset[int], returns: Mapping[int, bytes]) -> None:
        self.block, self.layout, self.headers, self.returns = block, layout, headers, returns
        self.rejects: list[_Reject] = []
        self.wide: dict[int, int] = {}  # place of a line -> how many fields it has too many

    def read(self) -> pa.Table:
        """As numbers where each cell is one or is missing, else as text, to find the cells that are none."""
        try:
            return self._read(self.block.lines, pa.float64(), CACHED_BYTES, nulls.WORDS)
        except pa.ArrowInvalid:
            pass
        try:
            table = self._read(cells.respelt(self.block.lines), pa.float64(), CACHED_BYTES, nulls.NUMBERS, False)
        except pa.ArrowInvalid:
            return self._read(self.block.lines, pa.string(), ONE_PART, nulls.WORDS)
        for place, name in enumerate(table.column_names):
            if pa.types.is_dictionary(table.schema.field(place).type):
                table = table.set_column(place, name, words.nulled(table.column(place), nulls.WORDS))
        return table

    def surplus(self) -> dict[int, int]:
        """The lines whose surplus of fields is blank."""
        if not self.wide:
            return {}
        lines, dialect = self.block.lines.split(b"\n"), self.layout.dialect
        ends = {place: lines[place].rsplit(dialect.separator.encode(), n)[1:] for place, n in self.wide.items()}
        return {
            place: self.wide[place] for place, end in ends.items() if dialect.is_blank(encodings.text(b"".join(end)))
        }

    def _read(
        self, lines: bytes, number: pa.DataType, at_once: int, missing: Sequence[str], words_too: bool = True
    ) -> pa.Table:
        self.rejects, self.wide = [], {}
        layout = self.layout
        texts = TEXTS.union(column.name for column in layout.columns if column.categorical)
        kinds = {name: _TEXT if name in texts else number for name in layout.used}
        if not lines:
            return pa.schema(kinds).empty_table()
        return csv.read_csv(
            pa.BufferReader(lines),
            csv.ReadOptions(use_threads=False, column_names=layout.reading_names, block_size=at_once),
            csv.ParseOptions(
                delimiter=layout.dialect.separator,
                quote_char=layout.dialect.quote or False,
                ignore_empty_lines=False,
                invalid_row_handler=self._refuse,
            ),
            csv.ConvertOptions(
                column_types=kinds,
                include_columns=layout.used,
                null_values=list(missing),
                strings_can_be_null=words_too,
                decimal_point=layout.dialect.decimal,
                check_utf8=False,
            ),
        )

    def _refuse(self, row: csv.InvalidRow) -> str:
        place, text = row.number - 1, row.text
        reason = f"{row.actual_columns} fields where the header has {row.expected_columns}"
        if place in self.returns:
            reason, text = RETURNED, encodings.text(self.returns[place])
        elif place in self.headers:
            reason, text = REPEATED, encodings.text(self.layout.line).strip()
        elif self.layout.dialect.is_blank(text):
            reason = BLANK
        elif text.lstrip().startswith(COMMENT):
            reason, text = COMMENTED, text.rstrip(self.layout.dialect.separator)
        elif row.actual_columns > row.expected_columns:
            self.wide[place] = row.actual_columns - row.expected_columns
        self.rejects.append(_Reject(self.block.first_row + place, "", reason, text))
        return "skip"


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
        numbers, faulty = cells.numbers(text, layout.dialect.decimal, layout.dialect.thousands)
        for position in np.flatnonzero(faulty & good):
            row, reason = int(rows[position]), cells.fault(text[position], layout.dialect.decimal)
            rejects.append(_Reject(row, layout.title(name), reason, lines[row]))
            good[position] = False
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(numbers))
    return (table, rows) if good.all() else (table.filter(pa.array(good)), rows[good])


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


def _without_controls(
    block: Block, layout: Layout, table: pa.Table, rows: NDArray[np.int64], rejects: list[_Reject]
) -> tuple[pa.Table, NDArray[np.int64]]:
    """Without the rows that have a control character in a word."""
    found = {name: controls.in_words(table.column(name)) for name in table.column_names}
    good, lines = np.ones(len(rows), dtype=bool), _Lines(block)
    for name, faulty in found.items():
        if faulty is not None:
            told = rows[faulty & good].tolist()
            rejects.extend(_Reject(row, layout.title(name), controls.REASON, lines[row]) for row in told)
            good &= ~faulty
    return (table, rows) if good.all() else (table.filter(pa.array(good)), rows[good])


def _without_features(layout: Layout, table: pa.Table) -> NDArray[np.bool_]:
    """(n,) mask of the rows in which every feature is missing."""
    empty = np.full(table.num_rows, bool(layout.columns))
    for column in layout.columns:
        values = table.column(layout.copied.get(column.name, column.name))
        empty &= pc.is_null(values, nan_is_null=True).to_numpy()
    return empty


class _Lines:
    """The text of each row of a block; "" where the block has no lines."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.lines: list[bytes] | None = None

    def __getitem__(self, row: int) -> str:
        if self.lines is None:
            self.lines = self.block.lines.split(b"\n")
        place = row - self.block.first_row
        return encodings.text(self.lines[place]).rstrip() if place < len(self.lines) else ""

"""The lines of a Zeek log in its own format -> columns."""

from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from pipeline.datasets.blocks import Block
from pipeline.datasets.rows import BLANK, CACHED_BYTES, ONE_PART
from pipeline.datasets.sensors.assemble import Rows, reject
from pipeline.datasets.sensors.fields import Field
from pipeline.datasets.sensors.schema import Schema
from pipeline.datasets.sensors.zeek_header import TAIL, Header

WORDS = pa.dictionary(pa.int32(), pa.string())
REST = "last fields"  # the column of the fields that spaces part


def read(block: Block, header: Header, schema: Schema) -> Rows:
    """The rows of a block that lies below ``header``: at full speed where every number is one, else as text."""
    wanted = {field.source: field for field in schema.fields if field.source in header.names}
    try:
        table, rows = _columns(block, header, wanted, pa.float64(), CACHED_BYTES)
    except pa.ArrowInvalid:  # a cell that is no number: the rows that have one are found in the text
        table, rows = _columns(block, header, wanted, pa.string(), ONE_PART)
    return Rows(_named(table, header, wanted), *rows)


def _columns(
    block: Block, header: Header, wanted: dict[str, Field], number: pa.DataType, at_once: int
) -> tuple[pa.Table, Any]:
    """The wanted columns, and (n,) row numbers with the rows that have too few or too many fields."""
    rejects = []

    def refuse(row: csv.InvalidRow) -> str:
        fields = f"{row.actual_columns} fields where the header has {row.expected_columns}"
        reason = fields if row.text.strip() else BLANK
        rejects.append(reject(block.first_row + row.number - 1, reason, row.text))
        return "skip"

    names = list(header.fields) if len(header.tail) == 1 else [*header.fields[:-1], REST]
    kinds = {name: number if _is_number(wanted[name]) else WORDS for name in names if name in wanted}
    kinds |= {REST: WORDS} if REST in names else {}
    lines = block.lines if block.lines.isascii() else block.lines.decode("utf-8", "replace").encode()
    table = csv.read_csv(
        pa.BufferReader(lines),
        csv.ReadOptions(use_threads=False, column_names=names, block_size=at_once),
        csv.ParseOptions(
            delimiter=header.separator, quote_char=False, ignore_empty_lines=False, invalid_row_handler=refuse
        ),
        csv.ConvertOptions(
            column_types=kinds,
            include_columns=list(kinds),
            null_values=[header.unset, header.empty, ""],
            strings_can_be_null=True,
            check_utf8=False,
        ),
    )
    rows = np.arange(block.first_row, block.first_row + table.num_rows + len(rejects))
    refused = np.array([each["row"] for each in rejects], np.int64)
    return table, (np.setdiff1d(rows, refused, assume_unique=True), rejects)


def _is_number(field: Field) -> bool:
    return field.kind in ("number", "time", "port")


def _named(table: pa.Table, header: Header, wanted: dict[str, Field]) -> pa.Table:
    """The same columns under their canonical names, the last fields apart."""
    columns = {wanted[name].name: table.column(name) for name in table.column_names if name in wanted}
    if REST in table.column_names:
        rest = table.column(REST).unify_dictionaries().combine_chunks()
        cells = [TAIL.split(text) for text in rest.dictionary.to_pylist()]
        for place, name in enumerate(header.tail):
            if name in wanted:
                words = [_cell(texts, place, header) for texts in cells]
                column = pa.array(words, pa.string()).take(rest.indices).dictionary_encode()
                columns[wanted[name].name] = pa.chunked_array([column])
    return pa.table(columns)


def _cell(texts: list[str], place: int, header: Header) -> str | None:
    text = texts[place].strip() if place < len(texts) else header.unset
    return None if text in (header.unset, header.empty) else text

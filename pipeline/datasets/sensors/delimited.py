"""Reads lines of separated fields into columns. It is fastest where every cell of a number can be read as one."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from pipeline.datasets import cells, encodings
from pipeline.datasets.blocks import Block
from pipeline.datasets.rows import BLANK, CACHED_BYTES, ONE_PART, RETURNED
from pipeline.datasets.sensors.assemble import Rows, reject
from pipeline.datasets.sensors.fields import Field

WORDS = pa.dictionary(pa.int32(), pa.string())


@dataclass(frozen=True)
class Lines:
    """How lines are written.

    Attributes:
        names: of the fields, in their order.
        separator: between them.
        quotes: whether a field may be quoted, and hold a separator then.
        unset: texts of a field that is unset.
    """

    names: tuple[str, ...]
    separator: str
    quotes: bool
    unset: tuple[str, ...]


def read(block: Block, lines: Lines, wanted: dict[str, Field]) -> Rows:
    """The wanted fields, each under the name that it has in a record; see ``Rows``.

    Args:
        block: the lines.
        lines: how they are written.
        wanted: name in the log -> field.
    """
    try:
        return _read(block, lines, wanted, pa.float64(), CACHED_BYTES)
    except pa.ArrowInvalid:  # a cell that is no number: the rows that have one are found in the text
        return _read(block, lines, wanted, pa.string(), ONE_PART)


def _read(block: Block, lines: Lines, wanted: dict[str, Field], number: pa.DataType, at_once: int) -> Rows:
    rejects: list[dict[str, Any]] = []

    def refuse(row: csv.InvalidRow) -> str:
        fields = f"{row.actual_columns} fields where the header has {row.expected_columns}"
        place = row.number - 1
        reason, line = fields if row.text.strip() else BLANK, row.text
        if place in returns:
            reason, line = RETURNED, encodings.text(returns[place])
        rejects.append(reject(block.first_row + place, reason, line))
        return "skip"

    text = block.lines if block.lines.isascii() else block.lines.decode("utf-8", "replace").encode()
    text, returns = cells.without_returns(text, (lines.separator * len(lines.names)).encode())
    table = csv.read_csv(
        pa.BufferReader(text),
        csv.ReadOptions(use_threads=False, column_names=list(lines.names), block_size=at_once),
        csv.ParseOptions(
            delimiter=lines.separator,
            quote_char='"' if lines.quotes else False,
            ignore_empty_lines=False,
            invalid_row_handler=refuse,
        ),
        csv.ConvertOptions(
            column_types={name: WORDS if field.kind in ("word", "text") else number for name, field in wanted.items()},
            include_columns=list(wanted),
            null_values=list(lines.unset),
            strings_can_be_null=True,
            check_utf8=False,
        ),
    )
    rows = np.arange(block.first_row, block.first_row + table.num_rows + len(rejects))
    refused = np.array([each["row"] for each in rejects], np.int64)
    table = table.rename_columns([wanted[name].name for name in table.column_names])
    return Rows(table, np.setdiff1d(rows, refused, assume_unique=True), rejects)

"""Which columns a table file has, and which of them hold text where numbers are expected."""

from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

import pyarrow as pa

from pipeline.datasets import arrow, cells, encodings, json_lines, sources, words
from pipeline.datasets.blocks import below
from pipeline.datasets.dialect import PLAIN, Dialect, Head
from pipeline.datasets.parts import SNIFFED_BYTES, head_of
from pipeline.datasets.sources import Source
from pipeline.datasets.suffixes import ARRAYS

SNIFFED_ROWS = 1_000  # of a file: enough to see which columns hold text


class Field(NamedTuple):
    """A column of a file: its name there, why it cannot be read as numbers ("" where it can), and its first cells."""

    name: str
    fault: str = ""
    cells: tuple[str, ...] = ()


def fields_of(source: Source, label: str) -> tuple[list[Field], Head]:
    """The columns of a file, judged by its first rows; and its header.

    Raises:
        SourceError: the file is empty or cannot be read.
        SchemaError: it is an ``.npz`` without the arrays X and y, or two columns have one name.
    """
    if source.name.lower().endswith(ARRAYS):
        x, _ = arrow.arrays(source)
        names = (*(f"x{position}" for position in range(x.shape[1])), label)
        return [Field(name) for name in names], Head(names, b"", PLAIN, 0)
    head = head_of(source)
    if arrow.is_typed(source):
        first = arrow.first_batch(source, SNIFFED_ROWS)
        return [_typed(name, column) for name, column in zip(head.names, first.columns, strict=True)], head
    if json_lines.is_json(source):
        records = json_lines.first_rows(source)[:SNIFFED_ROWS]
        return [_field(name, [_cell(record.get(name)) for record in records]) for name in head.names], head
    rows = [row for row in _rows(source, head.dialect) if len(row) == len(head.names)]
    columns = zip(*rows, strict=True) if rows else [()] * len(head.names)
    return [_field(name, column, head.dialect) for name, column in zip(head.names, columns, strict=True)], head


def _rows(source: Source, dialect: Dialect) -> list[list[str]]:
    blocks = below(source.name, sources.blocks(source, SNIFFED_BYTES))
    lines = islice(next(blocks).lines.splitlines(), SNIFFED_ROWS)
    return [dialect.cells(encodings.text(line)) for line in lines]


def _field(name: str, values: Sequence[str | None], dialect: Dialect = PLAIN) -> Field:
    present = [cell.strip() for cell in values if cell is not None and not cells.is_odd(cell)]
    return Field(name.strip(), _fault(present, dialect), tuple(present))


def _fault(present: Sequence[str], dialect: Dialect) -> str:
    """Why cells cannot be read as numbers: most of those that are not missing hold text."""
    plain = cells.plain(present, dialect.decimal, dialect.thousands)
    text = [cell for cell, bare in zip(present, plain, strict=True) if not _is_number(bare)]
    return f"holds text, such as {text[0]!r}" if 2 * len(text) > len(present) else ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def _cell(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else str(float(value) if isinstance(value, bool) else value)


def _typed(name: str, column: pa.Array) -> Field:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if words.is_text(kind):
        return _field(name, column.cast(pa.string()).to_pylist())
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    known = is_number or pa.types.is_boolean(kind) or pa.types.is_null(kind)
    first = tuple(str(value) for value in column.drop_null().to_pylist()) if pa.types.is_integer(kind) else ()
    return Field(name, "" if known else f"holds {kind}, no numbers", first)

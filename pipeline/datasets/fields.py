"""Which columns a table file has, and which of them hold text where numbers are expected."""

import csv
from typing import NamedTuple

import pyarrow as pa

from pipeline.base.errors import SourceError
from pipeline.datasets import sources
from pipeline.datasets.arrow import arrays, record_batches
from pipeline.datasets.blocks import headed
from pipeline.datasets.sources import Source

NULLS = ("", "?", "NA", "NULL", "NaN", "nan", "null")  # cells that stand for a missing value
SNIFFED_ROWS, SNIFFED_BYTES = 1_000, 1 << 16  # of a file: enough to see which columns hold text


class Field(NamedTuple):
    """A column of a file: its name there, and why it cannot be read as numbers ("" where it can)."""

    name: str
    fault: str = ""


def fields_of(source: Source, label: str) -> list[Field]:
    """The columns of a file, judged by its first rows.

    Raises:
        SourceError: the file is empty or cannot be read.
        SchemaError: it is an ``.npz`` without the arrays X and y.
    """
    if source.name.lower().endswith(".parquet"):
        return _parquet_fields(source)
    if source.name.lower().endswith(".npz"):
        x, _ = arrays(source)
        return [*(Field(f"x{position}") for position in range(x.shape[1])), Field(label)]
    head, blocks = headed(source.name, sources.blocks(source, SNIFFED_BYTES))
    names = next(csv.reader([head.decode("utf-8-sig", "replace").strip()]))
    lines = next(blocks).lines.decode("utf-8", "replace").splitlines()[:SNIFFED_ROWS]
    rows = [row for row in csv.reader(lines) if len(row) == len(names)]
    cells = zip(*rows, strict=True) if rows else [()] * len(names)
    return [Field(name.strip(), _fault(column)) for name, column in zip(names, cells, strict=True)]


def _fault(cells: tuple[str | None, ...] | list[str | None]) -> str:
    """Why ``cells`` cannot be read as numbers: most of those that are not missing hold text."""
    present = [cell.strip() for cell in cells if cell is not None and cell.strip() not in NULLS]
    text = [cell for cell in present if not _is_number(cell)]
    return f"holds text, such as {text[0]!r}" if 2 * len(text) > len(present) else ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parquet_fields(source: Source) -> list[Field]:
    first = next(record_batches(source, SNIFFED_ROWS), None)
    if first is None:
        raise SourceError(f"{source.name}: has no records; remove the file or fetch it again")
    return [Field(name, _parquet_fault(column)) for name, column in zip(first.schema.names, first.columns, strict=True)]


def _parquet_fault(column: pa.Array) -> str:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _fault(column.to_pylist())
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return "" if is_number or pa.types.is_boolean(kind) or pa.types.is_null(kind) else f"holds {kind}, no numbers"

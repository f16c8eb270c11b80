"""Reads a block of JSON lines by Arrow, which is fast, where all its objects spell their fields in the same way."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json

from pipeline.datasets.arrow_json import can_take
from pipeline.datasets.blocks import Block
from pipeline.datasets.rows import CACHED_BYTES
from pipeline.datasets.sensors import json_lines
from pipeline.datasets.sensors.assemble import Rows
from pipeline.datasets.sensors.fields import Field
from pipeline.datasets.sensors.schema import Schema

FLOW = "flow"


@dataclass(frozen=True)
class Spelling:
    """How the objects of a log are expected to spell their fields.

    Attributes:
        types: name of a field in the log -> how it is read.
        kind: the field that says what an object is, ``FLOW`` for a connection; "" where all are connections.
    """

    types: Mapping[str, pa.DataType]
    kind: str

    @classmethod
    def of(cls, schema: Schema, events: Sequence[dict[str, Any]], kind: str) -> Self:
        """As some events spell the fields of a schema."""
        types = {field.source: _type(field, _first(events, field.source)) for field in schema.fields}
        return cls(types | ({kind: pa.string()} if kind else {}), kind)

    def schema(self) -> pa.Schema:
        """The schema of the objects: a field with a dot in its name may stand there so, or in an object of its own."""
        inner: dict[str, list[pa.Field]] = {}
        for source, kind in self.types.items():
            head, dot, tail = source.partition(".")
            if dot:
                inner.setdefault(head, []).append(pa.field(tail, kind))
        flat = [pa.field(source, kind) for source, kind in self.types.items()]
        return pa.schema([*flat, *(pa.field(head, pa.struct(fields)) for head, fields in inner.items())])

    def found(self, table: pa.Table, source: str) -> pa.ChunkedArray:
        """A field of the objects in a table of ``schema``."""
        flat = table.column(source)
        head, dot, tail = source.partition(".")
        if not dot or not flat.null_count:
            return flat
        nested = pc.struct_field(table.column(head), tail)
        return nested if flat.null_count == len(flat) else pc.coalesce(flat, nested)


def read(block: Block, schema: Schema, spelling: Spelling) -> tuple[Rows, Counter[str]] | None:
    """The connections in the lines of a block, and how many other events there are of each kind.

    Args:
        block: has one object in each line.
        schema: names the fields.
        spelling: of the objects.

    Returns:
        None where a line holds no object, or one that is spelt otherwise or deep.
    """
    if not can_take(block.lines):
        return None
    try:
        table = json.read_json(
            pa.BufferReader(block.lines),
            json.ReadOptions(use_threads=False, block_size=CACHED_BYTES),
            json.ParseOptions(explicit_schema=spelling.schema(), unexpected_field_behavior="ignore"),
        )
    except pa.ArrowInvalid:
        return None
    if any(_has_nan(column) for column in table.columns):  # Arrow reads a bare NaN, which JSON does not have
        return None
    if table.num_rows != block.lines.count(b"\n") or b"\n\n" in block.lines:
        return None
    rows = np.arange(block.first_row, block.first_row + table.num_rows)
    others: Counter[str] = Counter()
    if spelling.kind:
        kinds = table.column(spelling.kind).fill_null(FLOW)
        others.update({each["values"]: each["counts"] for each in pc.value_counts(kinds).to_pylist()})
        del others[FLOW]
        is_flow = pc.equal(kinds, FLOW)
        table, rows = table.filter(is_flow), rows[is_flow.to_numpy()]
    columns = {field.name: _column(field, spelling.found(table, field.source)) for field in schema.fields}
    return Rows(pa.table(columns), rows), others


def _has_nan(column: pa.ChunkedArray) -> bool:
    if pa.types.is_struct(column.type):
        return any(_has_nan(inner) for inner in column.flatten())
    return pa.types.is_floating(column.type) and bool(pc.any(pc.is_nan(column)).as_py())


def _first(events: Sequence[dict[str, Any]], source: str) -> Any:
    """The first value of a field that is set."""
    return next((value for value in json_lines.cells(events, source) if value is not None), None)


def _type(field: Field, value: Any) -> pa.DataType:
    """How a field is read that has such a value."""
    if field.kind not in ("word", "text"):
        return pa.string() if isinstance(value, str) else pa.float64()
    if isinstance(value, bool):
        return pa.bool_()
    return pa.int64() if isinstance(value, int) else pa.string()


def _column(field: Field, column: pa.ChunkedArray) -> pa.ChunkedArray:
    if field.kind not in ("word", "text"):
        return column
    text = pc.if_else(column, "T", "F") if pa.types.is_boolean(column.type) else column.cast(pa.string())
    return json_lines.encoded(text)

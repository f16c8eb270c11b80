"""Logs that hold an object of JSON in each line -> columns."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.datasets.blocks import Block
from pipeline.datasets.rows import BLANK
from pipeline.datasets.sensors.assemble import Rows, reject
from pipeline.datasets.sensors.fields import NONE, Field
from pipeline.datasets.sensors.schema import Schema

Objects = list[dict[str, Any]]
Rejects = list[dict[str, Any]]


def objects(block: Block) -> tuple[Objects, list[int], Rejects]:
    """The objects in the lines of a block, the row number of each, and the lines that hold none."""
    try:
        found = orjson.loads(b"[%b]" % block.lines.rstrip(b"\n").replace(b"\n", b","))
    except orjson.JSONDecodeError:  # a line that is no JSON: each one alone
        return _one_by_one(block)
    if len(found) != block.lines.count(b"\n") or not all(isinstance(each, dict) for each in found):
        return _one_by_one(block)
    return found, list(range(block.first_row, block.first_row + len(found))), []


def rows_of(found: Objects, numbers: Sequence[int], rejects: Rejects, schema: Schema) -> Rows:
    """The fields of a schema in objects; what an object lacks is unset.

    Args:
        found: n objects, each of them a connection.
        numbers: (n,) their row numbers.
        rejects: the lines that hold none.
        schema: names the fields.
    """
    columns = {field.name: _column(field, cells(found, field.source)) for field in schema.fields}
    return Rows(pa.table(columns), np.array(numbers, np.int64), rejects)


def cells(found: Objects, source: str) -> list[Any]:
    """(n,) values of a field, None where an object lacks it; a dot is part of the name, or leads into an object."""
    flat = [each.get(source) for each in found]
    head, dot, tail = source.partition(".")
    if not dot or any(value is not None for value in flat):
        return flat
    return [inner.get(tail) if isinstance(inner := each.get(head), dict) else None for each in found]


def _one_by_one(block: Block) -> tuple[Objects, list[int], Rejects]:
    found: Objects = []
    rows: list[int] = []
    rejects: Rejects = []
    for row, line in enumerate(block.lines.split(b"\n")[:-1], block.first_row):
        value = _value(line)
        if isinstance(value, dict):
            found.append(value)
            rows.append(row)
        else:
            reason = "is no object of JSON, or was cut off" if line.strip() else BLANK
            rejects.append(reject(row, reason, line.decode("utf-8", "replace")))
    return found, rows, rejects


def _value(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return None


def _column(field: Field, values: list[Any]) -> pa.Array:
    """The values as float64 or text for a number or time, else as a dictionary of words."""
    if field.kind in ("word", "text"):
        return _words(values)
    try:
        return pa.array(values, pa.float64())
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return _texts(values)


def _words(values: list[Any]) -> pa.Array:
    text = _texts(values)
    unset = pc.is_in(text, pa.array(["", NONE]))
    return pc.if_else(unset, pa.scalar(None, pa.string()), text).dictionary_encode()


def _texts(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values, pa.string())
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array(list(map(_text, values)), pa.string())


def _text(value: Any) -> str | None:
    """A value as Zeek's own format spells it: T and F for booleans, a comma between the members of a list."""
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, list):
        return ",".join(str(each) for each in value)
    return None if value is None else str(value)

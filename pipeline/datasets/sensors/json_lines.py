"""Reads logs with an object of JSON in each line into columns, object by object."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
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

Event = dict[str, Any]
Rejects = list[dict[str, Any]]
AT_ONCE = 1000  # lines: their objects fit the processor's cache


def read(block: Block, schema: Schema, kind: Callable[[Event], str]) -> tuple[Rows, Counter[str]]:
    """The connections in the lines of a block, and how many other events there are of each kind.

    Args:
        block: has one object in each line.
        schema: names the fields. What an object lacks is unset.
        kind: of an event, "" for a connection.
    """
    columns: dict[str, list[pa.Array]] = {field.name: [] for field in schema.fields}
    numbers: list[int] = []
    rejects: Rejects = []
    others: Counter[str] = Counter()
    lines = block.lines.split(b"\n")[:-1]
    for start in range(0, len(lines), AT_ONCE):
        found = _events(lines[start : start + AT_ONCE], block.first_row + start, rejects)
        kinds = [kind(event) for _, event in found]
        others.update(filter(None, kinds))
        wanted = [each for each, other in zip(found, kinds, strict=True) if not other]
        numbers += [row for row, _ in wanted]
        objects = [event for _, event in wanted]
        for field in schema.fields:
            columns[field.name].append(_column(field, cells(objects, field.source)))
    table = pa.table({field.name: _joined(field, columns[field.name]) for field in schema.fields})
    return Rows(table, np.array(numbers, np.int64), rejects), others


def events(block: Block) -> Iterator[list[Event]]:
    """The objects of a block, those of some lines at a time."""
    lines = block.lines.split(b"\n")[:-1]
    for start in range(0, len(lines), AT_ONCE):
        yield [event for _, event in _events(lines[start : start + AT_ONCE], 1, [])]


def cells(found: Sequence[Event], source: str) -> list[Any]:
    """(n,) values of a field, None where an object lacks it; a dot is part of the name, or leads into an object."""
    flat = [each.get(source) for each in found]
    head, dot, tail = source.partition(".")
    if not dot or None not in flat:
        return flat
    nested = [inner.get(tail) if isinstance(inner := each.get(head), dict) else None for each in found]
    return [inner if value is None else value for value, inner in zip(flat, nested, strict=True)]


def _events(lines: list[bytes], first_row: int, rejects: Rejects) -> list[tuple[int, Event]]:
    """The row and the object of each line; a line that holds none is added to ``rejects``."""
    try:
        values = orjson.loads(b"[%b]" % b",".join(lines))
    except orjson.JSONDecodeError:  # a line that is no JSON: each one alone
        values = []
    if len(values) != len(lines):  # a line may hold two objects, too
        values = list(map(_value, lines))
    found = []
    for row, value in enumerate(values, first_row):
        if isinstance(value, dict):
            found.append((row, value))
        else:
            line = lines[row - first_row].decode("utf-8", "replace")
            rejects.append(reject(row, "is no object of JSON, or was cut off" if line.strip() else BLANK, line))
    return found


def _value(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return None


def _column(field: Field, values: list[Any]) -> pa.Array:
    """The values as float64 or text for a number, port or time, else as text."""
    if field.kind in ("word", "text"):
        return _texts(values)
    try:
        return pa.array(values, pa.float64())
    except pa.ArrowException:
        return _texts(values)


def _joined(field: Field, parts: list[pa.Array]) -> pa.ChunkedArray:
    """A column of all parts: numbers, text if one part has some, or a dictionary of words."""
    texts = (
        [part.cast(pa.string()) for part in parts] if any(pa.types.is_string(part.type) for part in parts) else parts
    )
    column = pa.chunked_array(texts, texts[0].type if texts else pa.float64())
    if field.kind not in ("word", "text"):
        return column
    return encoded(column)


def encoded(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """(n,) texts as a dictionary of words; null where they say that they are unset."""
    unset = pc.is_in(text, pa.array(["", NONE]))
    return pc.if_else(unset, pa.scalar(None, pa.string()), text).dictionary_encode()


def _texts(values: list[Any]) -> pa.Array:
    try:
        found = pa.array(values)
    except (OverflowError, pa.ArrowException):
        return pa.array(list(map(_text, values)), pa.string())
    if pa.types.is_boolean(found.type):
        return pc.if_else(found, "T", "F")
    plain = pa.types.is_string(found.type) or pa.types.is_integer(found.type) or pa.types.is_null(found.type)
    return found.cast(pa.string()) if plain else pa.array(list(map(_text, values)), pa.string())


def _text(value: Any) -> str | None:
    """A value as Zeek's own format spells it: T and F for booleans, a comma between the members of a list."""
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, list):
        return ",".join(str(each) for each in value)
    return None if value is None else str(value)

"""Records in JSON, one a line."""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from pyarrow import json as arrow_json

from pipeline.base.errors import SchemaError, SourceError
from pipeline.datasets import sources
from pipeline.datasets.arrow import chunk_of
from pipeline.datasets.arrow_json import can_take
from pipeline.datasets.base import REJECTED_SCHEMA, Chunk
from pipeline.datasets.blocks import Block
from pipeline.datasets.header import Layout
from pipeline.datasets.labels import Label
from pipeline.datasets.rows import BLANK
from pipeline.datasets.sources import Source
from pipeline.datasets.suffixes import JSON_LINES

SNIFFED_BYTES = 1 << 18  # that are looked at to know the columns
_ONE_BLOCK = 1 << 30
TWICE = "two values for one name"
_PAIR = re.compile(rb'"[ \t\r]*:')  # behind each name; there may be more of it within texts


def is_json(source: Source) -> bool:
    """Whether a source holds records in JSON."""
    return source.name.lower().endswith(JSON_LINES)


def first_rows(source: Source) -> list[dict[str, Any]]:
    """The first records.

    Raises:
        SourceError: it cannot be read, is empty, or is another kind of JSON.
    """
    block = next(sources.blocks(source, SNIFFED_BYTES), b"")
    found = [record for record in map(_record, block.split(b"\n")) if record is not None]
    if not found:
        kind = "is one JSON array" if block.lstrip().startswith(b"[") else "has no record"
        raise SourceError(f'{source.name}: {kind}; expected is one JSON object a line, as in {{"a": 1}}')
    return found


def parse(block: Block, layout: Layout, label: Callable[[str], Label]) -> Chunk:
    """The records of lines of JSON; a line that holds none is rejected.

    Raises:
        SchemaError: a column holds neither numbers nor text.
        DataError: ``label`` does not know a label.
    """
    keys = {name: text for name, text in zip(layout.names, layout.header, strict=True) if name}
    table = _fast(block.lines)
    if table is not None:
        nothing = pa.nulls(table.num_rows, pa.string())
        has = {*table.column_names}
        used = {name: table.column(text) if text in has else nothing for name, text in keys.items()}
        return _noted(chunk_of(block, layout, pa.table(used), label), layout, table.column_names)
    lines = block.lines.removesuffix(b"\n").split(b"\n")
    records = [_record(line) for line in lines]
    good = [place for place, record in enumerate(records) if record is not None]
    texts = [{name: _text((records[place] or {}).get(text)) for name, text in keys.items()} for place in good]
    table = pa.Table.from_pylist(texts, pa.schema([(name, pa.string()) for name in keys]))
    chunk = chunk_of(block, layout, table, label, block.first_row + np.array(good, dtype=np.int64))
    broken = [_rejected(block, place, line) for place, line in enumerate(lines) if records[place] is None]
    rejected = pa.concat_tables([chunk.rejected, pa.Table.from_pylist(broken, REJECTED_SCHEMA)])
    found = dict.fromkeys(name for record in records if record is not None for name in record)
    return _noted(Chunk(chunk.records, rejected.sort_by("row"), chunk.notes), layout, found)


def _noted(chunk: Chunk, layout: Layout, found: Iterable[str]) -> Chunk:
    """The chunk, whose notes name the keys that the first lines of the file did not have: these are not read."""
    late = tuple(name for name in found if name not in layout.header)
    if not late or chunk.notes is None:
        return chunk
    return replace(chunk, notes=replace(chunk.notes, aside=(*chunk.notes.aside, *late)))


def _fast(lines: bytes) -> pa.Table | None:
    """All lines at once; None where one is blank, broken or deep, or where a column has values of several types."""
    if not can_take(lines):
        return None
    try:
        read = arrow_json.ReadOptions(use_threads=False, block_size=_ONE_BLOCK)
        table = arrow_json.read_json(pa.BufferReader(lines), read)
    except pa.ArrowInvalid:
        return None
    return table if table.num_rows == lines.count(b"\n") and _names_come_once(lines) else None


def _names_come_once(lines: bytes) -> bool:
    """Whether no line gives two values for one name; False also where that cannot be seen at once."""
    try:
        names = sum(len(orjson.loads(line)) for line in lines.splitlines())
    except (orjson.JSONDecodeError, TypeError):
        return False
    return names == len(_PAIR.findall(lines))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(TWICE)
    return found


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line, object_pairs_hook=_once)
    except (ValueError, RecursionError):  # the latter of thousands of brackets
        return None
    return found if isinstance(found, dict) else None


def _is_broken(line: bytes) -> bool:
    """Whether a line that holds no record holds none even if a name may have two values."""
    try:
        return not isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return True


def _text(value: Any) -> str | None:
    if isinstance(value, dict | list):
        raise SchemaError(f"a value is no number and no text, but {json.dumps(value)[:80]}; records must be flat")
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _rejected(block: Block, place: int, line: bytes) -> dict[str, Any]:
    text = line.decode("utf-8", "replace").strip()
    reason = ("is no JSON object" if _is_broken(line) else TWICE) if text else BLANK
    return {"source_file": block.source, "row": block.first_row + place, "column": "", "reason": reason, "text": text}

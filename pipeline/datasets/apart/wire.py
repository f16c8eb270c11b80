"""What goes through the pipe between a reader of files and the process that asked: messages in JSON, tables of Arrow.

A frame is the length of a message, the message, and the tables that it announces, each after its length. A table is
sent in parts of columns that are cut into chunks alike, so that it arrives as it was, chunk for chunk.
"""

import json
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, BinaryIO, Final
from zoneinfo import ZoneInfo

import pyarrow as pa

from pipeline.datasets.base import Chunk
from pipeline.datasets.extractors import Extractor
from pipeline.datasets.meaning import Meaning, Notes
from pipeline.datasets.times import TimeFormat
from pipeline.datasets.units import Units

_MESSAGE: Final = struct.Struct(">I")
_TABLE: Final = struct.Struct(">Q")
Message = dict[str, Any]


def send(stream: BinaryIO, message: Mapping[str, Any], *tables: pa.Table) -> None:
    """Write a frame."""
    groups = [_groups(table) for table in tables]
    text = json.dumps({**message, "tables": groups}).encode()
    stream.write(_MESSAGE.pack(len(text)) + text)
    for table, parts in zip(tables, groups, strict=True):
        for places in parts:
            part = table.select(places)
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, part.schema) as writer:
                writer.write_table(part)
            content = sink.getvalue()
            stream.write(_TABLE.pack(content.size))
            stream.write(content)
    stream.flush()


def _groups(table: pa.Table) -> list[list[int]]:
    """The places of the columns of a table, in groups that are cut into chunks alike."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for place, column in enumerate(table.columns):
        groups.setdefault(tuple(map(len, column.chunks)), []).append(place)
    return [*groups.values()]


def receive(stream: BinaryIO) -> tuple[Message, list[pa.Table]]:
    """Read a frame.

    Raises:
        EOFError: the other side has ended.
        ValueError: the frame is damaged.
    """
    (size,) = _MESSAGE.unpack(_exactly(stream, _MESSAGE.size))
    message: Message = json.loads(_exactly(stream, size))
    return message, [_table(stream, groups) for groups in message.pop("tables")]


def _table(stream: BinaryIO, groups: list[list[int]]) -> pa.Table:
    columns: dict[int, tuple[pa.Field, pa.ChunkedArray]] = {}
    for places in groups:
        (size,) = _TABLE.unpack(_exactly(stream, _TABLE.size))
        with pa.ipc.open_stream(pa.py_buffer(_exactly(stream, size))) as reader:
            part = reader.read_all()
        part.validate(full=True)
        columns |= dict(zip(places, zip(part.schema, part.columns, strict=True), strict=True))
    given = [columns[place] for place in range(len(columns))]
    return pa.table([column for _, column in given], pa.schema([field for field, _ in given]))


def _exactly(stream: BinaryIO, size: int) -> bytearray:
    content = bytearray(size)
    left = memoryview(content)
    while left:
        if not (read := stream.readinto(left)):  # type: ignore[attr-defined]
            raise EOFError("the other side has ended")
        left = left[read:]
    return content


def send_chunk(stream: BinaryIO, chunk: Chunk) -> None:
    """Write what was read of a file."""
    notes = None if chunk.notes is None else _of_notes(chunk.notes)
    send(stream, {"notes": notes, "passed_over": dict(chunk.passed_over)}, chunk.records, chunk.rejected)


def chunk_of(message: Message, tables: list[pa.Table]) -> Chunk:
    """What ``send_chunk`` wrote."""
    records, rejected = tables
    notes = None if message["notes"] is None else _notes(message["notes"])
    return Chunk(records, rejected, notes, Counter(message["passed_over"]) if message["passed_over"] else {})


def _of_notes(notes: Notes) -> Message:
    meaning = asdict(notes.meaning)
    if notes.meaning.times is not None:
        meaning["times"]["zone"] = notes.meaning.times.zone.key
    return {**vars(notes), "meaning": meaning}


def _notes(given: Message) -> Notes:
    times, units, extractor = (given["meaning"][name] for name in ("times", "units", "extractor"))
    meaning = Meaning(
        None if times is None else TimeFormat(**_tuples(times) | {"zone": ZoneInfo(times["zone"])}),
        None if units is None else Units(**units),
        None if extractor is None else Extractor(**extractor),
    )
    return Notes(**_tuples(given) | {"meaning": meaning, "labels": Counter(given["labels"])})


def _tuples(given: Message) -> Message:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}

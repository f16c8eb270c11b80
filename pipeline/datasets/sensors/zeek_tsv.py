"""Reads the lines of a Zeek log in its own format into columns."""

import pyarrow as pa

from pipeline.datasets.blocks import Block
from pipeline.datasets.sensors import delimited
from pipeline.datasets.sensors.assemble import Rows
from pipeline.datasets.sensors.fields import text
from pipeline.datasets.sensors.schema import Schema
from pipeline.datasets.sensors.zeek_header import TAIL, Header

REST = text("last fields", "last fields")  # the fields that spaces part, as one


def read(block: Block, header: Header, schema: Schema) -> tuple[Rows, int]:
    """The rows of a block that lies below ``header``, and how many lines are comments."""
    joined = len(header.tail) > 1
    names = (*header.fields[:-1], REST.source) if joined else header.fields
    wanted = {field.source: field for field in schema.fields if field.source in names}
    wanted |= {REST.source: REST} if joined else {}
    lines = delimited.Lines(names, header.separator, False, (header.unset, header.empty, ""))
    rows = delimited.read(block, lines, wanted)
    rejects = [each for each in rows.rejects if not each["text"].startswith("#")]
    table = _apart(rows.table, header, schema) if joined else rows.table
    return Rows(table, rows.numbers, rejects), len(rows.rejects) - len(rejects)


def _apart(table: pa.Table, header: Header, schema: Schema) -> pa.Table:
    """The same columns with those of the last fields apart."""
    rest = table.column(REST.name).unify_dictionaries().combine_chunks()
    cells = [TAIL.split(words) for words in rest.dictionary.to_pylist()]
    names = {field.source: field.name for field in schema.fields}
    for place, name in enumerate(header.tail):
        if name in names:
            words = pa.array([_cell(texts, place, header) for texts in cells], pa.string())
            table = table.append_column(names[name], words.take(rest.indices).dictionary_encode())
    return table.drop_columns([REST.name])


def _cell(texts: list[str], place: int, header: Header) -> str | None:
    word = texts[place].strip() if place < len(texts) else header.unset
    return None if word in (header.unset, header.empty) else word

"""Turns the fields of a sensor's log into records: units, unset fields, derived features, and what travels along."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.datasets.base import REJECTED_SCHEMA, Chunk, record_schema
from pipeline.datasets.blocks import Block
from pipeline.datasets.header import Layout
from pipeline.datasets.records import Labeller
from pipeline.datasets.rows import BLANK, of_table
from pipeline.datasets.sensors import values
from pipeline.datasets.sensors.fields import Field
from pipeline.datasets.sensors.schema import Schema

LONGEST_TEXT = 1000  # characters of a rejected line that are kept
PASSED_ALONG = ("flow_id", "src_ip", "src_port", "dst_ip", "dst_port", "label")


@dataclass(frozen=True)
class Rows:
    """Some rows of a log, as they were read.

    Attributes:
        table: n rows, a column for each field that the log has, by its canonical name: float64 or text for numbers and
            times, dictionaries of words for the others; null where it is unset.
        numbers: (n,) number of each row in the log.
        rejects: what could not be read: row, column, reason and text.
    """

    table: pa.Table
    numbers: NDArray[np.int64]
    rejects: list[dict[str, Any]] = field(default_factory=list)


class _Fault(NamedTuple):
    place: int  # of the row among those that were read
    column: str
    reason: str


def reject(row: int, reason: str, text: str = "", column: str = "") -> dict[str, Any]:
    """One row that cannot be read."""
    return {"row": row, "column": column, "reason": reason, "text": text[:LONGEST_TEXT]}


def nothing(block: Block, schema: Schema) -> Chunk:
    """A chunk without records, of lines that are all comments, which begin with ``#``, or blank."""
    lines = block.lines.split(b"\n")[:-1]
    rejects = [reject(row, BLANK) for row, line in enumerate(lines, block.first_row) if not line.startswith(b"#")]
    comments = {"comment": len(lines) - len(rejects)} if len(lines) > len(rejects) else {}
    return Chunk(record_schema(schema.columns).empty_table(), _rejected(block.source, rejects), passed_over=comments)


def chunk(block: Block, schema: Schema, rows: Rows, label: Labeller, zone: ZoneInfo) -> Chunk:
    """The records of some rows of a log, and the rows that cannot be read.

    Args:
        block: the lines that they come from.
        schema: of the sensor.
        rows: as they were read.
        label: reads a label.
        zone: that times are stored in.
    """
    table, good, faults = _columns(schema, rows)
    at = table.schema.get_field_index("timestamp")
    table = table.set_column(at, "timestamp", values.in_zone(table.column("timestamp"), zone))
    if not good.all():
        table = table.filter(pa.array(good))
    names = tuple(table.column_names)
    layout = Layout(names, names, {}, schema.columns, labelled=False, any_label=True)
    bare = Block(block.source, b"", block.first_row)
    read = of_table(bare, layout, table, label, rows.numbers[good])
    rejects = sorted(rows.rejects + _told(block, rows, faults), key=lambda each: each["row"])
    rejected = pa.concat_tables([_rejected(block.source, rejects), read.rejected])
    return Chunk(read.records, rejected, read.notes)


def _rejected(source: str, rejects: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([{"source_file": source, **each} for each in rejects], REJECTED_SCHEMA)


def _columns(schema: Schema, rows: Rows) -> tuple[pa.Table, values.Mask, list[_Fault]]:
    """The columns of the records, (n,) which rows are good, and what is wrong with the others."""
    n = rows.table.num_rows
    good, faults = np.ones(n, bool), list[_Fault]()
    found: dict[str, Any] = {}
    for each in schema.fields:
        column = rows.table.column(each.name) if each.name in rows.table.column_names else None
        found[each.name], odd = _read(each, column, n)
        if each.source in schema.always and column is not None and column.null_count:
            absent = column.is_null().to_numpy() & good
            faults += [_Fault(int(place), each.source, f"has no {each.source!r}") for place in np.flatnonzero(absent)]
            good &= ~absent
        if odd.any():
            for place in np.flatnonzero(odd & good):
                cell = rows.table.column(each.name)[place].as_py()
                faults.append(_Fault(int(place), each.source, _reason(each, cell)))
            good &= ~odd
    if "destination_port" in rows.table.column_names:
        found["dst_port"] = values.ports(rows.table.column("destination_port"))
    features = _features(schema, found)
    return pa.table(features | _along(found, features)), good, faults


def _reason(each: Field, cell: float | str) -> str:
    """Why a cell is no value of its field. A number is spelt in one way, whether it was read as a number or as text."""
    kind = "time" if each.kind == "time" else "number"
    try:
        number = float(cell)
    except ValueError:
        return f"{cell!r} is not a {kind}"
    is_low = kind == "number" and np.isfinite(number) and number < each.low
    return f"{number:.15g} is below {each.low:g}" if is_low else f"{number:.15g} is not a {kind}"


def _told(block: Block, rows: Rows, faults: list[_Fault]) -> list[dict[str, Any]]:
    """The rejected rows, each with its text; a line that holds nothing is blank."""
    lines = block.lines.split(b"\n") if faults else []
    told = []
    for fault in faults:
        row = int(rows.numbers[fault.place])
        place = row - block.first_row  # a stray carriage return makes more rows than lines
        line = lines[place].decode("utf-8", "replace").rstrip("\r") if place < len(lines) else ""
        told.append(reject(row, BLANK) if place < len(lines) and not line.strip() else _at(fault, row, line))
    return told


def _at(fault: _Fault, row: int, line: str) -> dict[str, Any]:
    return reject(row, fault.reason, line, fault.column)


def _read(each: Field, column: pa.ChunkedArray | None, n: int) -> tuple[Any, values.Mask]:
    """(n,) values of a field, and a mask of the cells that cannot be read."""
    if each.kind == "number":
        if column is None:
            return np.full(n, each.unset), np.zeros(n, bool)
        return values.numbers(column, each.scale, each.unset, each.low)
    unset = pa.chunked_array([pa.nulls(n, pa.float64())])
    if each.kind == "time":
        return values.times(unset if column is None else column, each.scale)
    if each.kind == "port":
        return values.ports(unset if column is None else column), np.zeros(n, bool)
    empty = pa.nulls(n, pa.string()).dictionary_encode()
    return (empty if column is None else values.words(column)), np.zeros(n, bool)


def _features(schema: Schema, found: dict[str, Any]) -> dict[str, Any]:
    """Every column of the schema: those of the log, those that are computed, those that a text stands for."""
    known = {each.name: _known(each, found[each.name]) for each in schema.fields}
    for derived in schema.derived:
        known[derived.column.name] = derived.formula(*(known[need] for need in derived.needs))
    for coded in schema.coded:
        numbers = values.coded(found[coded.field], len(coded.columns), coded.numbers)
        known |= {column.name: numbers[:, k] for k, column in enumerate(coded.columns)}
    return {column.name: known[column.name] for column in schema.columns}


def _known(each: Field, value: Any) -> Any:
    """A field as a feature is computed from it: words are set and spelt, times are seconds."""
    if each.kind == "word":
        return values.filled(_spelt(each, value))
    return values.seconds(value) if each.kind == "time" else value


def _spelt(each: Field, words: pa.Array) -> pa.Array:
    return values.renamed(words, each.spelling) if each.spelling else words


def _along(found: dict[str, Any], features: dict[str, Any]) -> dict[str, Any]:
    """What is no feature: the time, the protocol number, and the texts that the records carry."""
    along = {name: found[name] for name in PASSED_ALONG if name in found}
    along["timestamp"] = found["timestamp"]
    along["protocol"] = values.protocol_numbers(features["proto"])
    if "detail" in found and "label" in along:
        along["label"] = _detailed(along["label"], found["detail"])
    return along


def _detailed(label: pa.Array, detail: pa.Array) -> pa.Array:
    """The detailed label where there is one, else the label."""
    return pc.if_else(values.present(detail), detail.cast(pa.string()), label.cast(pa.string())).dictionary_encode()

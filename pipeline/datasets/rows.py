"""A block of CSV lines -> records with canonical columns, and the rows that cannot be read, each with its reason."""

from datetime import datetime, timedelta
from io import BytesIO
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv

from pipeline.datasets.base import REJECTED_SCHEMA, Chunk, record_schema
from pipeline.datasets.header import Layout
from pipeline.datasets.labels import Label, Unknown, canonical
from pipeline.datasets.schema import FEATURES
from pipeline.errors import DataError
from pipeline.samples import row_hash

BLANK = "blank row"  # published files hold hundred thousands of lines of nothing but commas
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_TEXT = pa.dictionary(pa.int32(), pa.binary())  # bytes: labels come in UTF-8, cp1252, or beyond repair
_SCHEMA = record_schema(FEATURES)


class Block(NamedTuple):
    """Whole lines of one source; ``first_row`` is the number of the first, 1 for the line below the header."""

    source: str
    lines: bytes
    first_row: int


class _Reject(NamedTuple):
    row: int
    column: str
    reason: str
    text: str


def parse(block: Block, layout: Layout, unknown_labels: Unknown = "refuse") -> Chunk:
    """Read ``block``: at full speed where every cell is well-formed, cell by cell where one is not.

    Raises:
        DataError: a label is unknown and ``unknown_labels`` is ``refuse``.
    """
    rejects: list[_Reject] = []
    try:
        table, rows = _read(block, layout, pa.float64(), rejects)
    except pa.ArrowInvalid:  # a cell that is no number: read the block again as text to find all of them
        rejects.clear()
        table, rows = _read(block, layout, pa.string(), rejects)
        table, rows = _to_numbers(block, layout, table, rows, rejects)
    table, rows = _without_blank(block, layout, table, rows, rejects)
    records = _records(block, layout, table, rows, unknown_labels)
    rejected = [{"source_file": block.source, **reject._asdict()} for reject in sorted(rejects)]
    return Chunk(records, pa.Table.from_pylist(rejected, REJECTED_SCHEMA))


def _read(
    block: Block, layout: Layout, number: pa.DataType, rejects: list[_Reject]
) -> tuple[pa.Table, NDArray[np.int64]]:
    """The used columns, and the row number of each row that has all its fields."""

    def refuse(row: csv.InvalidRow) -> str:
        reason = f"{row.actual_columns} fields where the header has {row.expected_columns}"
        rejects.append(_Reject(block.first_row + row.number - 1, "", reason, row.text))
        return "skip"

    text = {"label", "flow_id", "timestamp"}
    table = (
        csv.read_csv(
            BytesIO(block.lines),
            csv.ReadOptions(use_threads=False, column_names=layout.reading_names, block_size=len(block.lines) + 1),
            csv.ParseOptions(ignore_empty_lines=False, invalid_row_handler=refuse),
            csv.ConvertOptions(
                column_types={name: _TEXT if name in text else number for name in layout.used},
                include_columns=layout.used,
                null_values=[""],
                strings_can_be_null=True,
                check_utf8=False,
            ),
        )
        if block.lines
        else _nothing(layout, number)
    )
    rows = np.arange(block.first_row, block.first_row + table.num_rows + len(rejects))
    refused = np.array([reject.row for reject in rejects], dtype=np.int64)
    return table, np.setdiff1d(rows, refused, assume_unique=True)


def _nothing(layout: Layout, number: pa.DataType) -> pa.Table:
    text = {"label", "flow_id", "timestamp"}
    return pa.schema([(name, _TEXT if name in text else number) for name in layout.used]).empty_table()


def _to_numbers(
    block: Block, layout: Layout, table: pa.Table, rows: NDArray[np.int64], rejects: list[_Reject]
) -> tuple[pa.Table, NDArray[np.int64]]:
    """Columns of text -> columns of numbers; rows with a cell that is none are rejected."""
    good = np.ones(table.num_rows, dtype=bool)
    for name in layout.used:
        if not pa.types.is_string(table.schema.field(name).type):
            continue
        text = table.column(name).to_pandas()
        numbers = pd.to_numeric(text, errors="coerce")
        spelt_nan = text.str.strip().str.lower().isin(["nan", "-nan"])
        for position in np.flatnonzero(numbers.isna() & text.notna() & ~spelt_nan & good):
            reason = f"{text[position]!r} is not a number"
            rejects.append(_Reject(int(rows[position]), layout.title(name), reason, _line(block, rows[position])))
            good[position] = False
        column = pa.array(numbers.to_numpy(dtype=np.float64, na_value=np.nan))
        table = table.set_column(table.schema.get_field_index(name), name, column)
    return table.filter(pa.array(good)), rows[good]


def _without_blank(
    block: Block, layout: Layout, table: pa.Table, rows: NDArray[np.int64], rejects: list[_Reject]
) -> tuple[pa.Table, NDArray[np.int64]]:
    unlabelled = pc.is_null(table.column("label"))
    if not pc.any(unlabelled).as_py():
        return table, rows
    missing = unlabelled.to_numpy()
    for row in rows[missing]:
        line = _line(block, row)
        blank = not line.replace(",", "").strip()
        rejects.append(_Reject(int(row), layout.title("label"), BLANK if blank else "the label is empty", line))
    return table.filter(pc.invert(unlabelled)), rows[~missing]


def _line(block: Block, row: int) -> str:
    return (
        block.lines.split(b"\n", row - block.first_row + 1)[row - block.first_row].decode("utf-8", "replace").rstrip()
    )


def _records(block: Block, layout: Layout, table: pa.Table, rows: NDArray[np.int64], unknown: Unknown) -> pa.Table:
    features = {column.name: _floats(table.column(layout.copied.get(column.name, column.name))) for column in FEATURES}
    codes, labels = _labels(block, layout, table.column("label"), rows, unknown)
    timestamp = _timestamps(table, layout)
    provenance = {
        "record_id": _record_ids(block.source, rows, features, codes),
        "source_file": _constant(block.source, len(rows)),
        "row": rows,
        "y": np.array([label.attack != "benign" for label in labels], dtype=np.int8)[codes],
        "attack": _dictionary(codes, [label.attack for label in labels]),
        "family": _dictionary(codes, [label.family for label in labels]),
        "attempted": _attempted(table, layout, codes, labels),
        "day": _days(block.source, timestamp),
        "timestamp": timestamp,
        "protocol": _protocols(table, layout),
        "flow_id": _decoded(table.column("flow_id")) if "flow_id" in layout.names else pa.nulls(len(rows), pa.string()),
    }
    return pa.Table.from_pydict({**provenance, **features}, schema=_SCHEMA)


def _floats(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """(n,) with NaN where the cell is empty."""
    values: NDArray[np.float64] = column.to_numpy(zero_copy_only=False).astype(np.float64, copy=False)
    return values


def _record_ids(
    source: str, rows: NDArray[np.int64], features: dict[str, NDArray[np.float64]], codes: NDArray[np.int32]
) -> NDArray[np.uint64]:
    """Content and position: the same file gives the same ids however it is packed."""
    name = np.frombuffer(source.encode().ljust(8, b"\0"), dtype=np.uint8).astype(np.uint64)
    seed = row_hash([name[i : i + 1] for i in range(len(name))])
    return row_hash([np.repeat(seed, len(rows)), rows, *features.values(), codes])


def _labels(
    block: Block, layout: Layout, column: pa.ChunkedArray, rows: NDArray[np.int64], unknown: Unknown
) -> tuple[NDArray[np.int32], list[Label]]:
    """Per row the index of its label, and the labels."""
    encoded = column.combine_chunks()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32)
    labels = []
    for code, text in enumerate(encoded.dictionary.to_pylist()):
        if code not in codes:
            labels.append(Label("benign", "benign", False))  # only rejected rows have it
            continue
        try:
            labels.append(canonical(text.decode("utf-8", "replace"), unknown))
        except ValueError as error:
            where = f"{block.source}: row {rows[np.argmax(codes == code)]}, column {layout.title('label')!r}"
            remedy = "correct it, or set ingest.cicids2017.unknown_labels to keep"
            raise DataError(f"{where}: {error}; {remedy}") from error
    return codes, labels


def _attempted(table: pa.Table, layout: Layout, codes: NDArray[np.int32], labels: list[Label]) -> pa.Array:
    if "attempted_category" not in layout.names:
        return pa.nulls(len(codes), pa.bool_())
    spelt = np.array([label.attempted for label in labels], dtype=bool)[codes]
    return pa.array(spelt | (_floats(table.column("attempted_category")) >= 0))


def _protocols(table: pa.Table, layout: Layout) -> pa.Array:
    if "protocol" not in layout.names:
        return pa.nulls(table.num_rows, pa.int16())
    return pc.cast(table.column("protocol"), pa.int16(), safe=False).combine_chunks()


def _dictionary(codes: NDArray[np.int32], names: list[str]) -> pa.Array:
    unique, inverse = np.unique(np.array(names, dtype=object), return_inverse=True)
    indices = inverse.astype(np.int32)[codes] if len(codes) else np.array([], dtype=np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(indices), pa.array(unique.tolist(), pa.string()))


def _constant(text: str, n: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, dtype=np.int32)), pa.array([text]))


def _decoded(column: pa.ChunkedArray) -> list[str | None]:
    return [None if text is None else text.decode("utf-8", "replace") for text in column.to_pylist()]


def _timestamps(table: pa.Table, layout: Layout) -> pa.Array:
    """(n,) timestamp[us]; null where the source has none or it cannot be read."""
    if "timestamp" not in layout.names:
        return pa.nulls(table.num_rows, pa.timestamp("us"))
    encoded = table.column("timestamp").combine_chunks()
    times = [
        None if text is None else _timestamp(text.decode("utf-8", "replace")) for text in encoded.dictionary.to_pylist()
    ]
    return pa.array(times, pa.timestamp("us")).take(encoded.indices)


def _timestamp(text: str) -> datetime | None:
    """ISO, or the published day/month/year on a twelve-hour clock without am and pm."""
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        pass
    for shape in ("%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M"):
        try:
            time = datetime.strptime(text.strip(), shape)
        except ValueError:
            continue
        # The capture ran from 8 in the morning to 5 in the afternoon, so 1 to 7 are hours after noon.
        return time + timedelta(hours=12) if time.hour < 8 else time
    return None


def _days(source: str, timestamp: pa.Array) -> pa.Array:
    """The weekday of the timestamp; else the one that the file's name begins with; else null."""
    n = len(timestamp)
    if timestamp.null_count < n:
        weekdays = pc.day_of_week(timestamp)
        return pa.DictionaryArray.from_arrays(pc.cast(weekdays, pa.int32()), pa.array(DAYS))
    named = source.rsplit("/", 1)[-1].split("-")[0].lower()
    if named not in DAYS:
        return pa.nulls(n, pa.dictionary(pa.int32(), pa.string()))
    return _constant(named, n)

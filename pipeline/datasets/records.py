"""Turns rows of numbers into records: features, label, record id, and where each record comes from."""

from collections.abc import Callable
from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.base.errors import DataError
from pipeline.base.samples import row_hash
from pipeline.datasets import times, words
from pipeline.datasets.base import WORDS, record_schema
from pipeline.datasets.blocks import Block
from pipeline.datasets.header import Layout
from pipeline.datasets.labels import UNLABELLED, Label
from pipeline.datasets.units import in_microseconds

HIGHEST_PORT = 65_535
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

Labeller = Callable[[str], Label]  # raises ValueError for a text that it does not know


def records_of(block: Block, layout: Layout, table: pa.Table, rows: NDArray[np.int64], label: Labeller) -> pa.Table:
    """The records of ``table``, in the schema of ``record_schema``.

    Args:
        block: says where the rows come from.
        layout: names the columns of ``table``.
        table: n rows; features as float64 or dictionaries of words, the label as a dictionary.
        rows: (n,) row numbers in the source.
        label: reads a label.

    Raises:
        DataError: ``label`` does not know a label.
    """
    columns = {column.name: table.column(layout.copied.get(column.name, column.name)) for column in layout.columns}
    units = layout.meaning.units
    features = {
        column.name: _filled(in_microseconds(column.name, columns[column.name], units, column.integer))
        for column in layout.columns
    }
    codes, labels = _labels(block, layout, table.column("label"), rows, label)
    timestamp = _timestamps(table, layout)
    provenance = {
        "record_id": record_ids(block.source, rows, pa.table(features), label_hashes(labels)[codes]),
        "source_file": _constant(block.source, len(rows)),
        "row": rows,
        "y": pa.array(
            [None if label == UNLABELLED else int(label.attack != "benign") for label in labels], pa.int8()
        ).take(pa.array(codes)),
        "attack": _dictionary(codes, [label.attack for label in labels]),
        "family": _dictionary(codes, [label.family for label in labels]),
        "attempted": _attempted(table, layout, codes, labels),
        "day": _days(block.source, timestamp),
        "timestamp": timestamp,
        "protocol": _protocols(table, layout),
        "flow_id": _text(table, layout, "flow_id").cast(pa.string()),
        "src_ip": _text(table, layout, "src_ip"),
        "src_port": _ports(table, layout, "src_port"),
        "dst_ip": _text(table, layout, "dst_ip"),
        "dst_port": _ports(table, layout, "dst_port"),
    }
    return pa.Table.from_pydict({**provenance, **features}, schema=record_schema(layout.columns))


def _filled(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same column with empty cells filled: by NaN, or by "" in a column of words."""
    if pa.types.is_dictionary(column.type):
        return words.respelt(column)
    return column.fill_null(np.nan) if column.null_count else column


def record_ids(
    source: str, rows: NDArray[np.int64], features: pa.Table, labels: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """(n,) hashes of content and position: they do not depend on how the file is packed or cut into blocks."""
    contents = [row_hash(map(_numeric, batch.columns)) for batch in features.to_batches()]
    content = np.concatenate([np.empty(0, dtype=np.uint64), *contents])
    return row_hash([np.repeat(_hash(source), len(rows)), rows, content, labels])


def _numeric(column: pa.Array) -> NDArray[np.generic]:
    """The values to hash: numbers as they are, words by the hash of each word."""
    if not pa.types.is_dictionary(column.type):
        return column.to_numpy()  # type: ignore[no-any-return]
    hashes = np.array([_hash(word) for word in column.dictionary.to_pylist()], dtype=np.uint64)
    hashed: NDArray[np.generic] = hashes[column.indices.to_numpy()]
    return hashed


def label_hashes(labels: list[Label]) -> NDArray[np.uint64]:
    """A hash of each label."""
    return np.array([_hash(f"{label.attack} {label.attempted}") for label in labels], dtype=np.uint64)


def _hash(text: str) -> np.uint64:
    return np.uint64(int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big"))


def _labels(
    block: Block, layout: Layout, column: pa.ChunkedArray, rows: NDArray[np.int64], label: Labeller
) -> tuple[NDArray[np.int32], list[Label]]:
    """(n,) index of each row's label, and the labels."""
    encoded = column.unify_dictionaries().combine_chunks()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32)
    labels = []
    for code, text in enumerate(encoded.dictionary.to_pylist()):
        if code not in codes:
            labels.append(Label("benign", "benign", False))  # only rejected rows have it
            continue
        try:
            labels.append(label(text))
        except ValueError as error:
            if layout.any_label or not (text or layout.labelled):
                labels.append(UNLABELLED)
                continue
            where = f"{block.source}: row {rows[np.argmax(codes == code)]}, column {layout.title('label')!r}"
            raise DataError(f"{where}: {error}; correct it, or {layout.remedy}") from error
    return codes, labels


def _attempted(table: pa.Table, layout: Layout, codes: NDArray[np.int32], labels: list[Label]) -> pa.Array:
    if "attempted_category" not in layout.names:
        return pa.nulls(len(codes), pa.bool_())
    in_label = np.array([label.attempted for label in labels], dtype=bool)[codes]
    return pa.array(in_label | (table.column("attempted_category").to_numpy() >= 0))


def _protocols(table: pa.Table, layout: Layout) -> pa.Array:
    if "protocol" not in layout.names:
        return pa.nulls(table.num_rows, pa.int16())
    return pc.cast(table.column("protocol"), pa.int16(), safe=False).combine_chunks()


def _text(table: pa.Table, layout: Layout, name: str) -> pa.Array:
    """(n,) dictionary of words; null where the source has none."""
    if name not in layout.names:
        return pa.nulls(table.num_rows, WORDS)
    column = table.column(name).cast(WORDS).unify_dictionaries().combine_chunks()
    bare = [text.strip() for text in column.dictionary.to_pylist()]
    return pa.DictionaryArray.from_arrays(column.indices, pa.array(bare, pa.string()))


def _ports(table: pa.Table, layout: Layout, name: str) -> pa.Array:
    """(n,) int32; null where the source has none, or one that is no port. An odd port is no reason to lose a record."""
    if name not in layout.names and name == "dst_port" and "destination_port" in layout.names:
        ports = table.column("destination_port").to_numpy()
        return pa.array(ports, pa.int32(), mask=~((ports >= 0) & (ports <= HIGHEST_PORT)), safe=False)
    if name in layout.names and pa.types.is_integer(table.schema.field(name).type):
        return table.column(name).cast(pa.int32()).combine_chunks()
    words = _text(table, layout, name)
    ports = [_port(word) for word in words.dictionary.to_pylist()] if len(words.dictionary) else [None]
    return pa.array(ports, pa.int32()).take(words.indices)


def _port(word: str) -> int | None:
    head = word.strip(' "').removesuffix(".0")
    return int(head) if head.isdecimal() and len(head) <= 5 and int(head) <= HIGHEST_PORT else None


def _dictionary(codes: NDArray[np.int32], names: list[str]) -> pa.Array:
    unique, inverse = np.unique(np.array(names, dtype=object), return_inverse=True)
    indices = inverse.astype(np.int32)[codes] if len(codes) else np.array([], dtype=np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(indices), pa.array(unique.tolist(), pa.string()))


def _constant(text: str, n: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, dtype=np.int32)), pa.array([text]))


def _timestamps(table: pa.Table, layout: Layout) -> pa.Array:
    """(n,) timestamp[us]; null where the source has none, or one that cannot be read."""
    if "timestamp" in layout.names and pa.types.is_timestamp(table.schema.field("timestamp").type):
        return table.column("timestamp").combine_chunks()
    found = layout.meaning.times
    if found is None or "timestamp" not in layout.names:
        return pa.nulls(table.num_rows, pa.timestamp("us"))
    encoded = table.column("timestamp").cast(WORDS).unify_dictionaries().combine_chunks()
    return times.read(encoded.dictionary, found).take(encoded.indices)


def _days(source: str, timestamp: pa.Array) -> pa.Array:
    """The weekday of the timestamp; without timestamps, the weekday at the start of the file name; else null."""
    n = len(timestamp)
    if timestamp.null_count < n:
        weekdays = pc.day_of_week(timestamp)
        return pa.DictionaryArray.from_arrays(pc.cast(weekdays, pa.int32()), pa.array(DAYS))
    named = source.rsplit("/", 1)[-1].partition("-")[0].lower()
    if named not in DAYS:
        return pa.nulls(n, pa.dictionary(pa.int32(), pa.string()))
    return _constant(named, n)

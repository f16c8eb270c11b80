"""A source in parts that can be read at the same time, whatever its type."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa

from pipeline.base.errors import SchemaError, SourceError
from pipeline.datasets import arrow, dialect, json_lines, sources, words
from pipeline.datasets.base import Chunk
from pipeline.datasets.blocks import Block, below, headed, numbered
from pipeline.datasets.dialect import PLAIN, Head
from pipeline.datasets.header import Layout
from pipeline.datasets.labels import UNLABELLED, Label
from pipeline.datasets.rows import column_texts, parse
from pipeline.datasets.sources import SeenContents, Source

SUFFIXES = (*sources.SUFFIXES, *sources.packed(*json_lines.SUFFIXES), *arrow.TYPED)
NAMED = sources.packed(".txt", ".tab", ".dat", ".data")  # that a text may be called too, if it is named itself
SNIFFED_BYTES = 1 << 18  # of a text: enough to see its header, its dialect and the unit of its durations
SAMPLE_ROWS = 2_000  # of a typed file

Part: TypeAlias = Callable[[], Chunk]


def found(path: Path, suffixes: tuple[str, ...] = SUFFIXES) -> list[Source]:
    """The sources under ``path``, in the order of their names.

    Raises:
        SourceError: there is none, or two files of one name have different types: they would hold the same records.
    """
    seen: dict[str, str] = {}
    alone = path.is_file() and not path.name.lower().endswith(sources.ARCHIVE)
    listed = sources.sources(path, (*suffixes, *NAMED) if alone else suffixes)
    for source in listed:
        stem, _, kind = source.place.removesuffix(sources.packing(source.place)).rpartition(".")
        other = seen.setdefault(stem, source.place)
        if other != source.place and (f".{kind}".lower() in arrow.TYPED or other.lower().endswith(arrow.TYPED)):
            raise SourceError(f"{source.place} has the name of {other} in another type; remove one of the two")
    return listed


def head_of(source: Source) -> Head:
    """The names of the columns of a source, and of a CSV its header line and dialect.

    Raises:
        SourceError: it cannot be read, or is empty.
        SchemaError: two columns of a typed file have one name, or a text has no header.
    """
    if arrow.is_typed(source):
        return Head(tuple(arrow.column_names(source)), b"", PLAIN, 0)
    if json_lines.is_json(source):
        names = dict.fromkeys(name for row in json_lines.first_rows(source) for name in row)
        return Head(tuple(names), b"", PLAIN, 0)
    head, _ = headed(source.name, sources.blocks(source, SNIFFED_BYTES))
    if dialect.are_values(head.names):
        some = ", ".join(head.names[:3])
        raise SchemaError(f"{source.name}: has no header, its first line holds values ({some}); put the names above")
    return head._replace(dialect=replace(head.dialect, encoding=sources.encoding(source)))


def parts_of(source: Source, layout: Layout, label: Callable[[str], Label], contents: SeenContents) -> Iterator[Part]:
    """What reads each part of a source.

    Raises:
        SourceError: it cannot be read, is empty, or is a text with the content of another one.
    """
    if arrow.is_typed(source):
        yield from typed_parts(source, layout, arrow.batches(source, layout), label)
        return
    stream = contents.watch(source, sources.blocks(source))
    if json_lines.is_json(source):
        yield from (partial(json_lines.parse, block, layout, label) for block in numbered(source.name, stream))
    else:
        yield from (partial(parse, block, layout, label) for block in below(source.name, stream))


def sample(source: Source, layout: Layout) -> pa.Table:
    """The first records of a source, whatever their labels say."""
    if arrow.is_typed(source):
        first = next(arrow.batches(source, layout)).slice(0, SAMPLE_ROWS)
        return arrow.chunk_of(Block(source.name, b"", 1), layout, first, _unread).records
    return _first(source, layout, sources.blocks(source, SNIFFED_BYTES)).records


def _first(source: Source, layout: Layout, stream: Iterator[bytes]) -> Chunk:
    if json_lines.is_json(source):
        return json_lines.parse(next(numbered(source.name, stream)), layout, _unread)
    return parse(next(below(source.name, stream)), layout, _unread)


def _unread(_: str) -> Label:
    return UNLABELLED


def texts(source: Source, layout: Layout, name: str) -> Iterator[pa.Array]:
    """The cells of one column as text, some at a time, each once."""
    if arrow.is_typed(source):
        for table in arrow.batches(source, layout):
            yield words.of_values(table.column(name)).unique()
    elif json_lines.is_json(source):
        for block in numbered(source.name, sources.blocks(source)):
            yield json_lines.texts(block, layout.title(name)).unique()
    else:
        blocks = below(source.name, sources.blocks(source))
        yield from (column_texts(block, layout, name).unique() for block in blocks)


def typed_parts(
    source: Source, layout: Layout, tables: Iterator[pa.Table], label: Callable[[str], Label]
) -> Iterator[Part]:
    """What reads each of the tables of a source.

    Raises:
        SourceError: there is none.
    """
    row = 1
    for table in tables:
        yield partial(arrow.chunk_of, Block(source.name, b"", row), layout, table, label)
        row += table.num_rows
    if row == 1:
        raise SourceError(f"{source.name}: has no records; remove the file or fetch it again")

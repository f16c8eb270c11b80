"""A source in parts that can be read at the same time, whatever its type."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain, islice

import pyarrow as pa

from pipeline.base.errors import SchemaError, SourceError
from pipeline.datasets import arrow, controls, dialect, json_lines, sources
from pipeline.datasets.base import Part
from pipeline.datasets.blocks import Block, below, headed, numbered
from pipeline.datasets.dialect import PLAIN, Head
from pipeline.datasets.header import Layout
from pipeline.datasets.labels import UNLABELLED, Label
from pipeline.datasets.marks import Evidence, Marks, cells_with_signs
from pipeline.datasets.places import Where, is_one_file, sources_under
from pipeline.datasets.reading import Reading
from pipeline.datasets.rows import parse
from pipeline.datasets.sources import SeenContents, Source
from pipeline.datasets.suffixes import FLOWS, NAMED, TYPED, packing
from pipeline.datasets.understand import meaning
from pipeline.datasets.units import NEEDED, units_of

SNIFFED_BYTES = 1 << 18  # of a text: enough to see its header, its dialect and the unit of its durations
SAMPLE_ROWS = 2_000  # of a typed file

MOST_LOOKED_AT = 64  # parts of a file, for the unit of its durations


def found(where: Where, suffixes: tuple[str, ...] = FLOWS) -> list[Source]:
    """The sources under each path, in the order of their names.

    Raises:
        SourceError: there is none, or two files of one name have different types: they would hold the same records.
    """
    seen: dict[str, str] = {}
    listed = sources_under(
        where, lambda path: sources.sources(path, (*suffixes, *NAMED) if is_one_file(path) else suffixes)
    )
    for source in listed:
        stem, _, kind = source.place.removesuffix(packing(source.place)).rpartition(".")
        other = seen.setdefault(stem, source.place)
        if other != source.place and (f".{kind}".lower() in TYPED or other.lower().endswith(TYPED)):
            raise SourceError(f"{source.place} has the name of {other} in another type; remove one of the two")
    return listed


def head_of(source: Source) -> Head:
    """The names of the columns of a source, and of a CSV its header line and dialect.

    Raises:
        SourceError: it cannot be read, or is empty.
        SchemaError: two columns of a typed file have one name, or a text has no header.
    """
    head = _head_of(source)
    controls.require_names(source.name, head.names)
    return head


def _head_of(source: Source) -> Head:
    if arrow.is_typed(source):
        return Head(tuple(arrow.column_names(source)), b"", PLAIN, 0)
    if json_lines.is_json(source):
        names = dict.fromkeys(name for row in json_lines.first_rows(source) for name in row)
        return Head(tuple(names), b"", PLAIN, 0)
    head, _ = headed(source.name, sources.blocks(source, SNIFFED_BYTES))
    if dialect.are_values(head.names):
        some = ", ".join(head.names[:3])
        raise SchemaError(f"{source.name}: has no header, its first line holds values ({some}); put the names above")
    known = replace(head.dialect, encoding=sources.encoding(source))
    return head._replace(dialect=known if known.is_shown else known.with_marks(_marks(source, known.separator)))


def _marks(source: Source, separator: str) -> Marks:
    """The signs within numbers, by as much of a text as it takes to see them."""
    evidence = Evidence(separator)
    for block in sources.blocks(source):
        evidence.add(cells_with_signs(block, separator))
        if evidence.marks().is_shown:
            break
    return evidence.marks()


def parts_of(
    source: Source,
    layout: Layout,
    label: Callable[[str], Label],
    contents: SeenContents,
    size: int | None = None,
) -> Iterator[Part]:
    """What reads each part of a source; a text is read some bytes at a time: ``size``, or as usual.

    Raises:
        SourceError: it cannot be read, is empty, or is a text with the content of another one.
    """
    if arrow.is_typed(source):
        yield from typed_parts(source, layout, arrow.batches(source, layout), label)
        return
    stream = contents.watch(source, sources.blocks(source, *([size] if size else [])))
    if json_lines.is_json(source):
        yield from (partial(json_lines.parse, block, layout, label) for block in numbered(source.name, stream))
    else:
        yield from (partial(parse, block, layout, label) for block in below(source.name, stream))


def understood(source: Source, layout: Layout, reading: Reading, strict: bool = True, flows: bool = True) -> Layout:
    """The same layout with the meaning of its cells.

    Args:
        source: the file.
        layout: its columns.
        reading: what the user says.
        strict: whether times that contradict each other are an error; otherwise none of them is read.
        flows: whether the features may be those of a tool that writes flows: its units and its name are looked for.

    Raises:
        SourceError: it cannot be read, or is empty.
        DataError: times contradict each other.
    """
    sample = _telling(source, layout) if flows else None
    return replace(
        layout, meaning=meaning(source.name, layout, sample, lambda: _times(source, layout), reading, strict)
    )


def _telling(source: Source, layout: Layout) -> pa.Table:
    """The first records; where they cannot show the unit of durations, the first ones that can."""
    looked = (part().records for part in islice(_parts(source, layout, SNIFFED_BYTES), MOST_LOOKED_AT))
    first = next(looked)
    if not {*NEEDED} <= {*first.column_names}:
        return first
    return next((records for records in chain([first], looked) if units_of(records).duration), first)


def _times(source: Source, layout: Layout) -> Iterator[pa.Array]:
    """The different texts of the column of timestamps, part by part."""
    one = layout.columns[:1]  # a row without any feature is blank
    kept = {"timestamp": "flow_id", **{column.name: column.name for column in one}}
    alone = replace(layout, names=tuple(kept.get(name, "") for name in layout.names), columns=one)
    for part in _parts(source, alone):
        yield part().records.column("flow_id").unique()


def _parts(source: Source, layout: Layout, size: int | None = None) -> Iterator[Part]:
    return parts_of(source, layout, lambda _: UNLABELLED, SeenContents(), size)


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

"""What the columns of a table are: features in snake case, endpoints, a label, or row numbers that are set aside."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from pipeline.base.errors import SchemaError, near_miss
from pipeline.datasets.dialect import Head
from pipeline.datasets.families import known
from pipeline.datasets.fields import Field
from pipeline.datasets.header import Layout
from pipeline.datasets.labels import snake
from pipeline.datasets.schema import ENDPOINTS, PROVENANCE, Column
from pipeline.datasets.sources import Source

RESERVED = frozenset({*PROVENANCE, "label", "confidence", "balanced"})  # columns that every record has of its own
# The endpoints that a column may name; protocols are features, and words in many tables.
WHO = frozenset({*ENDPOINTS} - {"protocol"})


def layout_of(
    names: tuple[str, ...], fields: list[Field], head: Head, features: tuple[Column, ...], **about: Any
) -> Layout:
    """A layout in which cells may be quoted: words may hold a separator."""
    dialect = replace(head.dialect, quote=head.dialect.quote or '"')
    header = tuple(field.name for field in fields)
    return Layout(names, header, {}, features, dialect=dialect, line=head.line, **about)


def to_score(source: Source, fields: list[Field], head: Head, needed: tuple[Column, ...], label: str) -> Layout:
    """The layout of records to be scored: the needed columns, and a label and endpoints where there are."""
    keys = [feature(snake(field.name)) for field in fields]
    wanted = {column.name: column for column in needed}
    missing = [name for name in wanted if name not in keys]
    if missing:
        named = "; ".join(f"column {name!r} is missing{near_miss(name, {*keys} - {*wanted})}" for name in missing[:5])
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise SchemaError(f"{source.name}: {named}{more}; rename the columns of the file")
    names = single(
        [
            name if name in wanted else "label" if snake(field.name) == label else endpoint(field.name)
            for field, name in zip(fields, keys, strict=True)
        ]
    )
    for name in filter(None, names):
        if names.count(name) > 1:
            raise SchemaError(f"{source.name}: two columns mean {name!r}; rename one of them in the header")
    faulty = [
        f"column {field.name!r} {field.fault}"
        for name, field in zip(names, fields, strict=True)
        if field.fault and name in wanted and not wanted[name].categorical
    ]
    if faulty:
        raise SchemaError(f"{source.name}: {'; '.join(faulty)}; the model expects numbers")
    return layout_of(names, fields, head, needed, labelled=False, any_label=True)


def endpoint(name: str) -> str:
    """The endpoint that a column is named like, as ``Source IP`` is ``src_ip``; "" for none."""
    meaning = known.meanings().get(known.key(name), "")
    meaning = "dst_port" if meaning == "destination_port" else meaning
    return meaning if meaning in WHO else ""


def single(names: Sequence[str]) -> tuple[str, ...]:
    """The same names; of two columns that name one endpoint, the first has it."""
    return tuple("" if name in WHO and name in names[:place] else name for place, name in enumerate(names))


def is_row_number(field: Field) -> bool:
    """Whether a column numbers the rows: by its name, or as an id that goes up by one."""
    if known.is_index(field.name):
        return True
    if known.key(field.name) not in {"id", "rowid", "rownumber"} or len(field.cells) < 2:
        return False
    if not all(cell.isdecimal() for cell in field.cells):
        return False
    return all(after == before + 1 for before, after in pairwise(map(int, field.cells)))


def feature(key: str) -> str:
    """The name of a feature; every record has some columns of its own, whose names are taken."""
    return f"{key}_column" if key in RESERVED else key


def column_of(name: str, categorical: bool) -> Column:
    """A feature of which no more is known than whether its values are words."""
    return Column(name, low=None, integer=False, may_be_undefined=True, categorical=categorical)

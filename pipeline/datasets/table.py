"""Any table with a label column: CSV, Parquet, Arrow, lines of JSON, or the arrays ``X`` and ``y`` of an ``.npz``.

The last is the form of ADBench: Han, Hu, Huang, Jiang, Zhao, "ADBench: Anomaly Detection Benchmark" (NeurIPS 2022).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.base.errors import DataError, SchemaError, near_miss
from pipeline.datasets import parts, sources
from pipeline.datasets.arrow import slices
from pipeline.datasets.base import Chunk, Dataset, Part, count_reasons, read_parts
from pipeline.datasets.fields import Field, fields_of
from pipeline.datasets.header import Layout
from pipeline.datasets.labels import UNLABELLED, Label, family, says_nothing, snake
from pipeline.datasets.parts import found, understood
from pipeline.datasets.places import Where, shown, title, where_of
from pipeline.datasets.reading import Reading
from pipeline.datasets.schema import NO_ATTACK, Column
from pipeline.datasets.sources import Source
from pipeline.datasets.suffixes import ARRAYS, READ_BY
from pipeline.datasets.table_columns import (
    WHO,
    column_of,
    endpoint,
    feature,
    is_row_number,
    layout_of,
    single,
    to_score,
)


class Table(Dataset):
    """Reads the tables under ``path``, which have the same columns: a file, a folder or a zip.

    Each column becomes a feature, named by its header in snake case. If every record has a column of that name anyway,
    ``_column`` is appended. Addresses, ports, flow ids and times say who a record is of: they travel with it, and are
    features only where ``categorical`` names them. Row numbers are set aside. Files are read some rows at a time, an
    ``.npz`` as a whole; its features are ``x0``, ``x1`` and so on. In a CSV, an empty cell, ``NA``, ``NaN``, ``null``
    or ``?`` is a missing value.

    Args:
        path: of the tables.
        label: the column that separates benign records from attacks; in an ``.npz`` it is ``y``.
        benign: its values that mean benign, in any case. Any other value names an attack; 1 stands for ``attack``.
        categorical: columns whose values are words, even if they look like numbers.
        ignore_columns: columns that are left out.
        reading: what the files leave open.
        needed: for records to be scored, the columns to read; all other columns, the label too, may be missing.
    """

    def __init__(
        self,
        path: Where,
        label: str = "label",
        benign: tuple[str | int, ...] = ("0", "false", "benign", "normal"),
        categorical: tuple[str, ...] = (),
        ignore_columns: tuple[str, ...] = (),
        reading: Reading | None = None,
        needed: tuple[Column, ...] | None = None,
    ) -> None:
        self.path = where_of(path)
        self.label = label
        self.benign = frozenset(_plain(str(value)) for value in benign)
        words = categorical if needed is None else [column.name for column in needed if column.categorical]
        self.categorical = frozenset(map(snake, words))
        self.reading = reading or Reading()
        self.needed = needed
        self.ignore_columns = frozenset(map(snake, ignore_columns))
        self.title = title(self.path)
        self._layouts: dict[str, Layout] = {}

    @property
    def columns(self) -> tuple[Column, ...]:
        """Every column of the first file except the label and those that are ignored.

        Raises:
            SourceError: the file is absent, empty or cannot be read.
            SchemaError: it has no label, or a column of text that is not listed as categorical.
        """
        return self._columns

    @property
    def families(self) -> None:
        """None: any label is allowed."""

    @property
    def label_settings(self) -> Mapping[str, Any]:
        """The column of the label, and its values that mean benign."""
        return {"label": self.label, "benign": sorted(self.benign)}

    def read(self) -> Iterator[Chunk]:
        """All records, the files in the order of their names.

        Raises:
            SourceError: a file cannot be read or is empty, or a CSV repeats another one.
            SchemaError: a file has no label, has a column of text that is not listed as categorical, or has other
                columns than the first file; or a column has no value in any record.
            DataError: a label names nothing, or all records are of one class.
        """
        seen = _Completeness(self.columns)
        for chunk in read_parts(self.partitions()):
            seen.add(chunk)
            yield chunk
        if self.needed is None:
            seen.check(self)

    @cached_property
    def _sources(self) -> list[Source]:
        return found(self.path, READ_BY["table"])

    @cached_property
    def _columns(self) -> tuple[Column, ...]:
        return self._layout_of(self._sources[0]).columns

    def archives(self) -> dict[Path, set[str]]:
        """Archive -> its members that are read."""
        return sources.by_archive(self._sources)

    def partitions(self) -> Iterator[Part]:
        """What reads each block of each file."""
        contents = sources.SeenContents()
        for source in self._sources:
            layout = self._agreed(source, self._layout_of(source))
            if source.name.lower().endswith(ARRAYS):
                yield from parts.typed_parts(source, layout, slices(source, layout), self._label)
            else:
                layout = understood(source, layout, self.reading, strict=self.needed is None, flows=False)
                yield from parts.parts_of(source, layout, self._label, contents)

    def _label(self, text: str) -> Label:
        value = _plain(text)
        if value in self.benign:
            return Label("benign", "benign", False)
        if says_nothing(text, self.reading.nothing):
            return UNLABELLED
        name = "attack" if value in {"1", "true"} else snake(value)
        name = f"attack_{name}" if name[:1].isdigit() else name
        if name in {"", "benign"}:
            raise ValueError(f"{text!r} names no attack{near_miss(value, self.benign)}")
        return Label(name, family(name), False)

    def _layout_of(self, source: Source) -> Layout:
        """The layout of ``source``; its first rows are read only once."""
        if source.place not in self._layouts:
            self._layouts[source.place] = self._layout(source)
        return self._layouts[source.place]

    def _layout(self, source: Source) -> Layout:
        """What each column of ``source`` means."""
        fields, head = fields_of(source, self.label)
        if self.needed is not None:
            return to_score(source, fields, head, self.needed, snake(self.label))
        keys = [snake(field.name) or f"column_{place}" for place, field in enumerate(fields, start=1)]
        self._require(source, keys, [field.name for field in fields])
        names = single([self._name(name, field) for name, field in zip(keys, fields, strict=True)])
        self._require_numbers(source, names, keys, fields)
        columns = [column_of(name, key in self.categorical) for name, key in zip(names, keys, strict=True)]
        features = tuple(column for column in columns if column.name not in {"", "label", *WHO})
        if not features:
            raise SchemaError(f"{source.name}: has no column beside the label {self.label!r}; features are needed")
        remedy = "name it in ingest.table.benign if it means that"
        return layout_of(names, fields, head, features, remedy=remedy, labelled=self.labelled)

    def _name(self, name: str, field: Field) -> str:
        """What a column is called: ``label``, an endpoint, a feature, or "" for one that is left out."""
        if name == snake(self.label):
            return "label"
        if name in self.ignore_columns or is_row_number(field):
            return ""
        return feature(name) if name in self.categorical else endpoint(field.name) or feature(name)

    def _require_numbers(self, source: Source, names: Sequence[str], keys: Sequence[str], fields: list[Field]) -> None:
        """Refuse columns of text that nobody has said to be words, all at once."""
        faulty = [
            field
            for name, key, field in zip(names, keys, fields, strict=True)
            if name not in {"", "label", *WHO} and field.fault and key not in self.categorical
        ]
        if faulty:
            told = "; ".join(f"column {field.name!r} {field.fault}" for field in faulty)
            these = f"these {len(faulty)} columns" if len(faulty) > 1 else "it"
            remedy = f"name {these} in ingest.table.categorical, or leave them out by ingest.table.ignore_columns"
            raise SchemaError(f"{source.name}: {told}; {remedy if len(faulty) > 1 else remedy.replace('them', 'it')}")

    def _require(self, source: Source, keys: list[str], header: list[str]) -> None:
        """Refuse a file that lacks a column of the settings, or has two columns of one name."""
        label = {snake(self.label)} if self.labelled else set()
        wanted = {"label": label, "categorical": self.categorical, "ignore_columns": self.ignore_columns}
        for setting, names in wanted.items():
            for name in sorted(names - set(keys)):
                has = f"it has {len(header)} columns: {', '.join(header[:8])}{' ...' if len(header) > 8 else ''}"
                remedy = f"set ingest.table.{setting} to the names in the header"
                raise SchemaError(f"{source.name}: no column {name!r}{near_miss(name, keys)}; {has}; {remedy}")
        features = [feature(key) for key in keys if key not in self.ignore_columns]
        twice = [name for name, count in Counter(features).items() if count > 1]
        if twice:
            raise SchemaError(f"{source.name}: two columns mean {twice[0]!r}; rename one of them in the header")

    def _agreed(self, source: Source, layout: Layout) -> Layout:
        """The same layout with its features in the order of the first file."""
        ours, theirs = ({column.name for column in columns} for columns in (self.columns, layout.columns))
        for names, fault in ((ours - theirs, "lacks"), (theirs - ours, "has beside those of")):
            if names:
                first, name = self._sources[0].name, sorted(names)[0]
                remedy = "give all files of ingest.path the same columns"
                raise SchemaError(f"{source.name}: {fault} {first}: column {name!r}; {remedy}")
        return replace(layout, columns=self.columns)


class _Completeness:
    """Checks what no single record can show: that each column has a value somewhere, and that both classes occur."""

    def __init__(self, columns: tuple[Column, ...]) -> None:
        self.missing = {column.name: column for column in columns}
        self.attacks: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()

    def add(self, chunk: Chunk) -> None:
        records = chunk.records
        count_reasons(self.reasons, chunk.rejected.column("reason").to_pylist())
        for name, column in list(self.missing.items()):
            values = records.column(name)
            known = pc.not_equal(values.cast(pa.string()), "") if column.categorical else pc.invert(pc.is_nan(values))
            if pc.any(known).as_py():
                del self.missing[name]
        for row in records.group_by("attack").aggregate([([], "count_all")]).to_pylist():
            self.attacks[row["attack"]] += row["count_all"]

    def check(self, dataset: Table) -> None:
        rows = self.attacks.total()
        if rows and self.missing:
            names = ", ".join(map(repr, self.missing))
            remedy = f"leave them out by ingest.table.ignore_columns{self._rejected}"
            raise SchemaError(f"{shown(dataset.path)}: none of {rows:,} records has a value in {names}; {remedy}")
        if rows and not any(self.attacks[name] for name in NO_ATTACK):
            names = ", ".join(name for name, _ in self.attacks.most_common(5))
            remedy = f"set ingest.table.benign, now {sorted(dataset.benign)}, to the values that mean benign"
            raise DataError(
                f"{shown(dataset.path)}: every one of {rows:,} records is an attack by its column {dataset.label!r} "
                f"({names}); {remedy}, or add benign records{self._rejected}"
            )

    @property
    def _rejected(self) -> str:
        """How many rows could not be read, and why: the missing values may be in those."""
        if not self.reasons:
            return ""
        reason, _ = self.reasons.most_common(1)[0]
        return f"; {self.reasons.total():,} rows were rejected, most often because {reason}"


def _plain(value: str) -> str:
    """A label in the form in which it is compared: lower case, and 1.0 as 1."""
    text = value.strip().casefold()
    head, _, tail = text.partition(".")
    return head if head.lstrip("-").isdigit() and not tail.strip("0") else text

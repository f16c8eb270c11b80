"""Any table with a label column: CSV, Parquet, or the arrays ``X`` and ``y`` of an ``.npz``.

The last is the form of ADBench: Han, Hu, Huang, Jiang, Zhao, "ADBench: Anomaly Detection Benchmark" (NeurIPS 2022).
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.base.errors import DataError, SchemaError, SourceError, near_miss
from pipeline.base.parallel import in_order
from pipeline.datasets import sources
from pipeline.datasets.arrow import batches, chunk_of, slices
from pipeline.datasets.base import Chunk, Dataset
from pipeline.datasets.blocks import Block, headed
from pipeline.datasets.fields import NULLS, Field, fields_of
from pipeline.datasets.header import Layout
from pipeline.datasets.labels import UNLABELLED, Label, family, says_nothing, snake
from pipeline.datasets.reading import Reading
from pipeline.datasets.rows import parse
from pipeline.datasets.schema import NO_ATTACK, PROVENANCE, Column
from pipeline.datasets.sources import Source

SUFFIXES = (*sources.SUFFIXES, ".parquet", ".npz")
RESERVED = frozenset({*PROVENANCE, "label", "confidence", "balanced"})  # columns that every record has of its own
PANDAS_INDEX = "__index_level_"

_Part = Callable[[], Chunk]


class Table(Dataset):
    """Reads the tables under ``path``, which have the same columns: a file, a folder or a zip.

    Each column becomes a feature, named by its header in snake case. If every record has a column of that name anyway,
    ``_column`` is appended. CSV and Parquet are read some rows at a time, an ``.npz`` as a whole; its features are
    ``x0``, ``x1`` and so on. In a CSV, an empty cell, ``NA``, ``NaN``, ``null`` or ``?`` is a missing value.

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
        path: Path,
        label: str = "label",
        benign: tuple[str | int, ...] = ("0", "false", "benign", "normal"),
        categorical: tuple[str, ...] = (),
        ignore_columns: tuple[str, ...] = (),
        reading: Reading | None = None,
        needed: tuple[Column, ...] | None = None,
    ) -> None:
        self.path = Path(path)
        self.label = label
        self.benign = frozenset(_plain(str(value)) for value in benign)
        words = categorical if needed is None else [column.name for column in needed if column.categorical]
        self.categorical = frozenset(map(snake, words))
        self.reading = reading or Reading()
        self.needed = needed
        self.ignore_columns = frozenset(map(snake, ignore_columns))
        self.title = self.path.name.partition(".")[0]
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

    def read(self) -> Iterator[Chunk]:
        """All records, the files in the order of their names.

        Raises:
            SourceError: a file cannot be read or is empty, or a CSV repeats another one.
            SchemaError: a file has no label, has a column of text that is not listed as categorical, or has other
                columns than the first file; or a column has no value in any record.
            DataError: a label names nothing, or all records are of one class.
        """
        seen = _Completeness(self.columns)
        for chunk in in_order(lambda part: part(), self._parts()):
            seen.add(chunk)
            yield chunk
        if self.needed is None:
            seen.check(self)

    @cached_property
    def _sources(self) -> list[Source]:
        return sources.sources(self.path, SUFFIXES)

    @cached_property
    def _columns(self) -> tuple[Column, ...]:
        return self._layout_of(self._sources[0]).columns

    def _parts(self) -> Iterator[_Part]:
        contents = sources.SeenContents()
        for source in self._sources:
            layout = self._agreed(source, self._layout_of(source))
            if source.name.lower().endswith(".parquet"):
                yield from self._of_tables(source, layout, batches(source, layout))
            elif source.name.lower().endswith(".npz"):
                yield from self._of_tables(source, layout, slices(source, layout))
            else:
                _, blocks = headed(source.name, contents.watch(source, sources.blocks(source)))
                yield from (partial(parse, block, layout, self._label) for block in blocks)

    def _of_tables(self, source: Source, layout: Layout, tables: Iterator[pa.Table]) -> Iterator[_Part]:
        row = 1
        for table in tables:
            yield partial(chunk_of, Block(source.name, b"", row), layout, table, self._label)
            row += table.num_rows
        if row == 1:
            raise SourceError(f"{source.name}: has no records; remove the file or fetch it again")

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
        if self.needed is not None:
            return _to_score(source, fields_of(source, self.label), self.needed, snake(self.label))
        fields = fields_of(source, self.label)
        keys = [snake(field.name) or f"column_{place}" for place, field in enumerate(fields, start=1)]
        self._require(source, keys, [field.name for field in fields])
        names = []
        for key, field in zip(keys, fields, strict=True):
            unused = key in self.ignore_columns or field.name.startswith(PANDAS_INDEX)
            names.append("label" if key == snake(self.label) else "" if unused else _feature(key))
            if names[-1] not in {"", "label"} and field.fault and key not in self.categorical:
                remedy = "name it in ingest.table.categorical, or leave it out by ingest.table.ignore_columns"
                raise SchemaError(f"{source.name}: column {field.name!r} {field.fault}; {remedy}")
        columns = [_column(name, key in self.categorical) for name, key in zip(names, keys, strict=True)]
        features = tuple(column for column in columns if column.name not in {"", "label"})
        if not features:
            raise SchemaError(f"{source.name}: has no column beside the label {self.label!r}; features are needed")
        header = tuple(field.name for field in fields)
        remedy = "name it in ingest.table.benign if it means that"
        return Layout(tuple(names), header, {}, features, NULLS, quotes=True, remedy=remedy, labelled=self.labelled)

    def _require(self, source: Source, keys: list[str], header: list[str]) -> None:
        """Refuse a file that lacks a column of the settings, or has two columns of one name."""
        label = {snake(self.label)} if self.labelled else set()
        wanted = {"label": label, "categorical": self.categorical, "ignore_columns": self.ignore_columns}
        for setting, names in wanted.items():
            for name in sorted(names - set(keys)):
                has = f"it has {len(header)} columns: {', '.join(header[:8])}{' ...' if len(header) > 8 else ''}"
                remedy = f"set ingest.table.{setting} to the names in the header, whose cells are parted by commas"
                raise SchemaError(f"{source.name}: no column {name!r}{near_miss(name, keys)}; {has}; {remedy}")
        features = [_feature(key) for key in keys if key not in self.ignore_columns]
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


def _to_score(source: Source, fields: list[Field], needed: tuple[Column, ...], label: str) -> Layout:
    """The layout of records to be scored: the needed columns, and a label if there is one."""
    keys = [_feature(snake(field.name)) for field in fields]
    wanted = {column.name: column for column in needed}
    missing = [name for name in wanted if name not in keys]
    if missing:
        named = "; ".join(f"column {name!r} is missing{near_miss(name, {*keys} - {*wanted})}" for name in missing[:5])
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise SchemaError(f"{source.name}: {named}{more}; rename the columns of the file")
    names = tuple(
        "label" if snake(f.name) == label else k if k in wanted else "" for f, k in zip(fields, keys, strict=True)
    )
    for name, field in zip(names, fields, strict=True):
        if names.count(name) > 1 and name:
            raise SchemaError(f"{source.name}: two columns mean {name!r}; rename one of them in the header")
        if field.fault and name in wanted and not wanted[name].categorical:
            raise SchemaError(f"{source.name}: column {field.name!r} {field.fault}; the model expects numbers")
    return Layout(
        names, tuple(field.name for field in fields), {}, needed, NULLS, quotes=True, labelled=False, any_label=True
    )


class _Completeness:
    """Checks what no single record can show: that each column has a value somewhere, and that both classes occur."""

    def __init__(self, columns: tuple[Column, ...]) -> None:
        self.missing = {column.name: column for column in columns}
        self.attacks: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()

    def add(self, chunk: Chunk) -> None:
        records = chunk.records
        self.reasons.update(chunk.rejected.column("reason").to_pylist())
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
            raise SchemaError(f"{dataset.path}: none of {rows:,} records has a value in {names}; {remedy}")
        if rows and not any(self.attacks[name] for name in NO_ATTACK):
            names = ", ".join(name for name, _ in self.attacks.most_common(5))
            remedy = f"set ingest.table.benign, now {sorted(dataset.benign)}, to the values that mean benign"
            raise DataError(
                f"{dataset.path}: every one of {rows:,} records is an attack by its column {dataset.label!r} "
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


def _feature(key: str) -> str:
    return f"{key}_column" if key in RESERVED else key


def _column(name: str, categorical: bool) -> Column:
    return Column(name, low=None, integer=False, may_be_undefined=True, categorical=categorical)

"""Any table with a label column: CSV, Parquet, or the arrays ``X`` and ``y`` of an ``.npz``.

The last is the form of ADBench: Han, Hu, Huang, Jiang, Zhao, "ADBench: Anomaly Detection Benchmark" (NeurIPS 2022).
"""

import csv
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.base.errors import DataError, SchemaError, SourceError, near_miss
from pipeline.base.parallel import in_order
from pipeline.datasets import sources
from pipeline.datasets.base import Chunk, Dataset
from pipeline.datasets.header import Layout
from pipeline.datasets.labels import Label, family, snake
from pipeline.datasets.rows import Block, headed, of_table, parse
from pipeline.datasets.schema import PROVENANCE, Column
from pipeline.datasets.sources import Source

SUFFIXES = (*sources.SUFFIXES, ".parquet", ".npz")
NULLS = ("", "?", "NA", "NULL", "NaN", "nan", "null")
RESERVED = frozenset({*PROVENANCE, "label", "confidence", "balanced"})  # columns that every record has of its own
PANDAS_INDEX = "__index_level_"
ROWS = 65_536  # of Parquet and arrays at a time
SNIFFED_ROWS, SNIFFED_BYTES = 1_000, 1 << 16  # of a file, to tell columns of text from columns of numbers

_Part = Callable[[], Chunk]


class _Field(NamedTuple):
    """A column of a file: its name there, and what keeps it from being a number."""

    name: str
    fault: str = ""


class Table(Dataset):
    """Reads the tables under ``path``, which have the same columns: a file, a folder or a zip.

    A column becomes a feature under its name in snake case, with ``_column`` behind it where every record has a column
    of that name of its own. CSV and Parquet are read some rows at a time, an ``.npz`` as a whole; its features are
    ``x0``, ``x1`` and so on. In a CSV, an empty cell, ``NA``, ``NaN``, ``null`` or ``?`` is a missing one.

    Args:
        path: where they are.
        label: the column that tells benign records from attacks; an ``.npz`` has it as ``y``.
        benign: values of it that mean benign, whatever their case; every other value is the name of an attack, and 1
            the name of ``attack``.
        categorical: columns whose values are words, whatever they look like.
        ignore_columns: columns that are left out.
        needed: for records to be scored: the columns that are read, while a label and others may be absent.
    """

    def __init__(
        self,
        path: Path,
        label: str = "label",
        benign: tuple[str | int, ...] = ("0", "false", "benign", "normal"),
        categorical: tuple[str, ...] = (),
        ignore_columns: tuple[str, ...] = (),
        needed: tuple[Column, ...] | None = None,
    ) -> None:
        self.path = Path(path)
        self.label = label
        self.benign = frozenset(_plain(str(value)) for value in benign)
        words = categorical if needed is None else [column.name for column in needed if column.categorical]
        self.categorical = frozenset(map(snake, words))
        self.needed = needed
        self.ignore_columns = frozenset(map(snake, ignore_columns))
        self.title = self.path.name.partition(".")[0]
        self._layouts: dict[str, Layout] = {}

    @property
    def columns(self) -> tuple[Column, ...]:
        """Every column of the first file but the label and those that are ignored.

        Raises:
            SourceError: the file is absent, empty or cannot be read.
            SchemaError: it has no label, or a column of text that is not named categorical.
        """
        return self._columns

    @property
    def families(self) -> None:
        """The vocabulary is whatever the labels say."""

    def read(self) -> Iterator[Chunk]:
        """All records, the files in the order of their names.

        Raises:
            SourceError: a file cannot be read or is empty, or a CSV repeats another one.
            SchemaError: a file has no label, a column of text that is not named categorical, or other columns than the
                first; or a column is missing in every record.
            DataError: a label says nothing, or all records are of one class.
        """
        seen = _Seen(self.columns)
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
                yield from self._of_tables(source, layout, _batches(source, layout))
            elif source.name.lower().endswith(".npz"):
                yield from self._of_tables(source, layout, _slices(source, layout))
            else:
                _, blocks = headed(source.name, contents.watch(source, sources.blocks(source)))
                yield from (partial(parse, block, layout, self._label) for block in blocks)

    def _of_tables(self, source: Source, layout: Layout, tables: Iterator[pa.Table]) -> Iterator[_Part]:
        row = 1
        for table in tables:
            yield partial(_chunk, Block(source.name, b"", row), layout, table, self._label)
            row += table.num_rows
        if row == 1:
            raise SourceError(f"{source.name}: has no records; remove the file or fetch it again")

    def _label(self, text: str) -> Label:
        value = _plain(text)
        if value in self.benign:
            return Label("benign", "benign", False)
        name = "attack" if value in {"1", "true"} else snake(value)
        name = f"attack_{name}" if name[:1].isdigit() else name
        if name in {"", "benign"}:
            raise ValueError(f"{text!r} names no attack{near_miss(value, self.benign)}")
        return Label(name, family(name), False)

    def _layout_of(self, source: Source) -> Layout:
        """The layout of ``source``, whose beginning is read once."""
        if source.place not in self._layouts:
            self._layouts[source.place] = self._layout(source)
        return self._layouts[source.place]

    def _layout(self, source: Source) -> Layout:
        """Which column of ``source`` is what."""
        if self.needed is not None:
            return _to_score(source, _fields(source, self.label), self.needed, snake(self.label))
        fields = _fields(source, self.label)
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
        return Layout(tuple(names), header, {}, features, NULLS, quotes=True, remedy=remedy)

    def _require(self, source: Source, keys: list[str], header: list[str]) -> None:
        """Each column that the settings name is there, and no two columns have one name."""
        wanted = {"label": {snake(self.label)}, "categorical": self.categorical, "ignore_columns": self.ignore_columns}
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
        """The same layout, its features in the order of the first file."""
        ours, theirs = ({column.name for column in columns} for columns in (self.columns, layout.columns))
        for names, fault in ((ours - theirs, "lacks"), (theirs - ours, "has beside those of")):
            if names:
                first, name = self._sources[0].name, sorted(names)[0]
                remedy = "give all files of ingest.path the same columns"
                raise SchemaError(f"{source.name}: {fault} {first}: column {name!r}; {remedy}")
        return replace(layout, columns=self.columns)


def _to_score(source: Source, fields: list[_Field], needed: tuple[Column, ...], label: str) -> Layout:
    """The layout of records to be scored: the needed columns, a label if there is one, and nothing else."""
    keys = [_feature(snake(field.name)) for field in fields]
    wanted = {column.name: column for column in needed}
    missing = [name for name in wanted if name not in keys]
    if missing:
        spelt = "; ".join(f"column {name!r} is missing{near_miss(name, {*keys} - {*wanted})}" for name in missing[:5])
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise SchemaError(f"{source.name}: {spelt}{more}; rename the columns of the file")
    names = tuple(
        "label" if snake(f.name) == label else k if k in wanted else "" for f, k in zip(fields, keys, strict=True)
    )
    for name, field in zip(names, fields, strict=True):
        if names.count(name) > 1 and name:
            raise SchemaError(f"{source.name}: two columns mean {name!r}; rename one of them in the header")
        if field.fault and name in wanted and not wanted[name].categorical:
            raise SchemaError(f"{source.name}: column {field.name!r} {field.fault}; the model expects numbers")
    return Layout(names, tuple(field.name for field in fields), {}, needed, NULLS, quotes=True, labelled=False)


class _Seen:
    """What all records together must have: a value in each column, and both classes."""

    def __init__(self, columns: tuple[Column, ...]) -> None:
        self.missing = {column.name: column for column in columns}
        self.attacks: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()

    def add(self, chunk: Chunk) -> None:
        records = chunk.records
        self.reasons.update(chunk.rejected.column("reason").to_pylist())
        for name, column in list(self.missing.items()):
            values = records.column(name)
            told = pc.not_equal(values.cast(pa.string()), "") if column.categorical else pc.invert(pc.is_nan(values))
            if pc.any(told).as_py():
                del self.missing[name]
        for row in records.group_by("attack").aggregate([([], "count_all")]).to_pylist():
            self.attacks[row["attack"]] += row["count_all"]

    def check(self, dataset: Table) -> None:
        rows = self.attacks.total()
        if rows and self.missing:
            names = ", ".join(map(repr, self.missing))
            remedy = f"leave them out by ingest.table.ignore_columns{self._rejected}"
            raise SchemaError(f"{dataset.path}: nothing is told in any of {rows:,} records by {names}; {remedy}")
        if rows and (len(self.attacks) == 1 or not self.attacks["benign"]):
            kind = "is benign" if self.attacks["benign"] else "is an attack"
            names = ", ".join(name for name, _ in self.attacks.most_common(5))
            remedy = f"set ingest.table.benign, now {sorted(dataset.benign)}, to the values that mean benign"
            raise DataError(
                f"{dataset.path}: every one of {rows:,} records {kind} by its column {dataset.label!r} ({names}); "
                f"{remedy}, or add records of the other class{self._rejected}"
            )

    @property
    def _rejected(self) -> str:
        """How many rows could not be read, and why: they may be those that are missed."""
        if not self.reasons:
            return ""
        reason, _ = self.reasons.most_common(1)[0]
        return f"; {self.reasons.total():,} rows were rejected, most often because {reason}"


def _plain(value: str) -> str:
    """A label as it is compared: in lower case, a whole number without its fraction."""
    text = value.strip().casefold()
    head, _, tail = text.partition(".")
    return head if head.lstrip("-").isdigit() and not tail.strip("0") else text


def _feature(key: str) -> str:
    return f"{key}_column" if key in RESERVED else key


def _column(name: str, categorical: bool) -> Column:
    return Column(name, low=None, integer=False, may_be_undefined=True, categorical=categorical)


def _fields(source: Source, label: str) -> list[_Field]:
    """The columns of a file; of those of text, what its first rows show."""
    if source.name.lower().endswith(".parquet"):
        return _parquet_fields(source)
    if source.name.lower().endswith(".npz"):
        x, _ = _arrays(source)
        return [*(_Field(f"x{position}") for position in range(x.shape[1])), _Field(label)]
    head, blocks = headed(source.name, sources.blocks(source, SNIFFED_BYTES))
    names = next(csv.reader([head.decode("utf-8-sig", "replace").strip()]))
    lines = next(blocks).lines.decode("utf-8", "replace").splitlines()[:SNIFFED_ROWS]
    rows = [row for row in csv.reader(lines) if len(row) == len(names)]
    cells = zip(*rows, strict=True) if rows else [()] * len(names)
    return [_Field(name.strip(), _fault(column)) for name, column in zip(names, cells, strict=True)]


def _fault(cells: tuple[str | None, ...] | list[str | None]) -> str:
    """What keeps ``cells`` from being numbers: most of them are none."""
    told = [cell.strip() for cell in cells if cell is not None and cell.strip() not in NULLS]
    text = [cell for cell in told if not _is_number(cell)]
    return f"holds text, such as {text[0]!r}" if 2 * len(text) > len(told) else ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parquet_fields(source: Source) -> list[_Field]:
    first = next(_record_batches(source, SNIFFED_ROWS), None)
    if first is None:
        raise SourceError(f"{source.name}: has no records; remove the file or fetch it again")
    return [
        _Field(name, _parquet_fault(column)) for name, column in zip(first.schema.names, first.columns, strict=True)
    ]


def _parquet_fault(column: pa.Array) -> str:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _fault(column.to_pylist())
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return "" if is_number or pa.types.is_boolean(kind) or pa.types.is_null(kind) else f"holds {kind}, no numbers"


def _record_batches(source: Source, rows: int, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    try:
        with source.open() as stream:
            yield from pq.ParquetFile(stream).iter_batches(rows, columns=columns)
    except (OSError, pa.ArrowInvalid, zipfile.BadZipFile) as error:
        raise SourceError(f"{source.name}: cannot be read as Parquet ({error}); fetch the file again") from error


def _batches(source: Source, layout: Layout) -> Iterator[pa.Table]:
    """The used columns of a Parquet file under their canonical names."""
    used = [text for text, name in zip(layout.header, layout.names, strict=True) if name]
    for batch in _record_batches(source, ROWS, used):
        yield pa.table([batch.column(text) for text in used], layout.used)


def _slices(source: Source, layout: Layout) -> Iterator[pa.Table]:
    """The used columns of an ``.npz`` under their canonical names."""
    x, y = _arrays(source)
    for start in range(0, len(x), ROWS):
        part = slice(start, start + ROWS)
        columns = [*(np.ascontiguousarray(column) for column in x[part].T), y[part]]
        used = [pa.array(column) for column, name in zip(columns, layout.names, strict=True) if name]
        yield pa.table(used, layout.used)


def _arrays(source: Source) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """X, (n, F), and y, (n,).

    Raises:
        SourceError: the file is none, or holds arrays that only pickle could read.
        SchemaError: an array is absent or has another shape.
    """
    found = {key: _array(source, key) for key in ("X", "y")}
    x, y = found["X"], found["y"].ravel()
    if x.ndim != 2 or x.dtype.kind not in "biuf" or len(x) != len(y):
        given = f"X {x.dtype} {x.shape} and y {found['y'].dtype} {found['y'].shape}"
        raise SchemaError(f"{source.name}: X must be numbers (n, F) and y (n,), given {given}")
    return x, y


def _array(source: Source, key: str) -> NDArray[np.generic]:
    try:
        with source.open() as stream, np.load(stream, allow_pickle=False) as archive:
            if key not in archive:
                held = f"{near_miss(key, archive)}; it holds {', '.join(archive) or 'nothing'}"
                raise SchemaError(f"{source.name}: no array {key!r}{held}; save one with np.savez(path, X=X, y=y)")
            array: NDArray[np.generic] = archive[key]
            return array
    except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        remedy = "save numbers or text with np.savez(path, X=X, y=y); what only pickle can read is refused"
        raise SourceError(f"{source.name}: {key!r} cannot be read ({error}); {remedy}") from error


def _chunk(block: Block, layout: Layout, table: pa.Table, label: Callable[[str], Label]) -> Chunk:
    words = {"label", *(column.name for column in layout.columns if column.categorical)}
    columns = {name: table.column(name) for name in table.column_names}
    typed = {name: _words(column) if name in words else _numbers(column) for name, column in columns.items()}
    return of_table(block, layout, pa.table(typed), label)


def _words(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whatever values as words; NaN is none."""
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    return column.cast(pa.string()).dictionary_encode()


def _numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Numbers as float64; text stays text, for its cells to be read one by one."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return column.cast(pa.string())
    column = column.cast(pa.uint8()) if pa.types.is_boolean(kind) else column
    return column.cast(pa.float64(), safe=False)

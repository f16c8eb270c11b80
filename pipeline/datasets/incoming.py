"""New records to be scored: in any form that a data set knows, or canonical Parquet; labels are optional."""

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.base.errors import SchemaError, SourceError, near_miss
from pipeline.base.registry import find
from pipeline.datasets.arrow import require_size
from pipeline.datasets.base import PROVENANCE_FIELDS, REJECTED_SCHEMA, Chunk, Dataset
from pipeline.datasets.cicids2017 import CICIDS2017
from pipeline.datasets.reading import Reading
from pipeline.datasets.recognise import require_kind
from pipeline.datasets.registry import READERS
from pipeline.datasets.schema import ENDPOINTS, FEATURE_NAMES, GROUPABLE, Column
from pipeline.datasets.suffixes import PARQUET, TYPED
from pipeline.datasets.table import Table
from pipeline.datasets.unpacking import BROKEN

IDENTITY = ("record_id", "source_file", "row")
LABEL_SETTINGS_OF_TABLES = ("label", "benign")  # which the logs of sensors have as well
ROWS = 65_536
KINDS = {each.name: each.type for each in PROVENANCE_FIELDS}


def incoming(
    path: Path,
    dataset: str,
    needed: tuple[Column, ...],
    extraction: Mapping[str, float] | None = None,
    reading: Reading | None = None,
    labels: Mapping[str, Any] | None = None,
    also: Collection[str] = (),
) -> Dataset:
    """A reader of one file; its ``columns`` refuse a file that lacks one that is needed, before a record is read.

    Args:
        path: of the file.
        dataset: name of the data set whose format it has, if it is no Parquet.
        needed: the columns that a model reads.
        extraction: settings of the data set that the features of the model depend on.
        reading: what the files leave open, such as the format of their times, as the model's own files were read.
        labels: settings of the data set that say what labels mean; a file need not have any.
        also: columns of canonical Parquet that are read, too, where it has them; other forms are read whole.

    Raises:
        SourceError: the file is absent or cannot be read.
        SchemaError: another tool wrote it.
        UnknownPluginError: the data set is not known.
    """
    require_kind(path, dataset)
    reader: Callable[..., Dataset] = find(READERS, dataset)
    if not path.name.lower().endswith(TYPED):
        return reader(path=path, needed=needed, reading=reading, **(extraction or {}), **(labels or {}))
    if path.name.lower().endswith(PARQUET):
        names = _names(path)
        if {*IDENTITY} <= {*names}:
            return Recorded(path, needed, names, also)
    is_flow = reader is CICIDS2017 and {column.name for column in needed} <= {*FEATURE_NAMES}
    if is_flow:
        return CICIDS2017(path, needed=needed, reading=reading, **(labels or {}))
    known = {name: value for name, value in (labels or {}).items() if name in LABEL_SETTINGS_OF_TABLES}
    return Table(path, needed=needed, reading=reading, **known)


def _names(path: Path) -> list[str]:
    try:
        return list(pq.read_schema(path).names)
    except BROKEN as error:
        raise SourceError(f"{path}: cannot be read as Parquet ({error}); fetch the file again") from error


class Recorded(Dataset):
    """Records as ingest stores them; they keep their ids.

    Args:
        path: a Parquet file.
        needed: the columns that are read.
        names: of the columns that it has.
        also: further columns that are read, where it has them.
    """

    def __init__(self, path: Path, needed: tuple[Column, ...], names: list[str], also: Collection[str] = ()) -> None:
        self.path, self.needed, self.names, self.also = path, needed, names, also

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that are needed.

        Raises:
            SchemaError: one of them is missing.
        """
        missing = [column.name for column in self.needed if column.name not in self.names]
        if missing:
            named = "; ".join(f"column {name!r} is missing{near_miss(name, self.names)}" for name in missing[:5])
            raise SchemaError(f"{self.path.name}: {named}; {len(missing)} of {len(self.needed)} columns in all")
        return self.needed

    def read(self) -> Iterator[Chunk]:
        """All records, some at a time.

        Raises:
            SourceError: the file cannot be read to its end.
            SchemaError: a column that is needed is missing, or one says no time, address or port.
        """
        known = (name for name in (*GROUPABLE, *ENDPOINTS, "attack", *self.also) if name in self.names)
        wanted = dict.fromkeys([*IDENTITY, *known, *(column.name for column in self.columns)])
        try:
            with pq.ParquetFile(self.path) as file:
                require_size(file.metadata, self.path.name)
                for batch in file.iter_batches(ROWS, columns=list(wanted)):
                    yield Chunk(self._typed(pa.Table.from_batches([batch])), REJECTED_SCHEMA.empty_table())
        except BROKEN as error:
            raise SourceError(f"{self.path}: cannot be read as Parquet ({error}); fetch the file again") from error

    def _typed(self, records: pa.Table) -> pa.Table:
        """The records with times in microseconds, and with addresses and ports as ingest stores them."""
        for name in (name for name in ENDPOINTS if name in records.column_names):
            column, kind = records.column(name), KINDS[name]
            try:
                typed = column if column.type == kind else _cast(column, kind)
            except pa.ArrowException as error:
                allowed = f"allowed is {kind}, or what can be read as that"
                raise SchemaError(f"{self.path}: column {name!r} holds {column.type}, {allowed}: {error}") from error
            records = records.set_column(records.column_names.index(name), name, typed)
        return records


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """The values as another type; of times the parts of a microsecond are cut off."""
    plain = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
    if pa.types.is_dictionary(kind):
        return plain.cast(kind.value_type).dictionary_encode().cast(kind)
    return plain.cast(kind, safe=not pa.types.is_timestamp(plain.type))

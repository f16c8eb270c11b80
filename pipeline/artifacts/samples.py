"""The samples of one split as a Parquet file, whole, a row group at a time, or some rows of it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.artifacts.tables import ROW_GROUP, RowGroup, TableWriter, column_names, opened, row_group_parts, strings
from pipeline.base.errors import ArtifactError
from pipeline.base.samples import Samples

Mask = NDArray[np.bool_]

_RIDE_ALONG: Final = (
    pa.field("record_id", pa.uint64(), nullable=False),
    pa.field("y", pa.int8(), nullable=False),
    pa.field("attack", pa.dictionary(pa.int32(), pa.string()), nullable=False),
    pa.field("confidence", pa.float32(), nullable=False),
    pa.field("balanced", pa.bool_(), nullable=False),
)
WHO: Final = tuple(field.name for field in _RIDE_ALONG)  # the columns that say who a row is


class Write(Protocol):
    """Appends samples to a file."""

    def __call__(self, samples: Samples) -> None:
        """Append these."""


def samples_schema(columns: Sequence[str], about: Mapping[str, str] | None = None) -> pa.Schema:
    """The Arrow schema of stored samples: who a row is, then each column of x as float32; ``about`` is metadata."""
    return pa.schema([*_RIDE_ALONG, *(pa.field(name, pa.float32(), nullable=False) for name in columns)], about)


def write_samples(room: Path, split: str, samples: Samples) -> None:
    """Store the samples of one split."""
    with samples_writer(room, split, samples.columns) as write:
        write(samples)


@contextmanager
def samples_writer(
    room: Path, split: str, columns: Sequence[str], about: Mapping[str, str] | None = None
) -> Iterator[Write]:
    """What stores the samples of one split part by part; the file is there after the block has ended well.

    Args:
        room: its folder.
        split: its name.
        columns: of x.
        about: what the file says of itself.
    """
    schema = samples_schema(columns, about)
    with TableWriter(room / f"{split}.parquet", schema) as writer:

        def write(samples: Samples) -> None:
            for start in range(0, len(samples), ROW_GROUP):
                writer.write(_table(samples.select(slice(start, start + ROW_GROUP)), schema))

        yield write


def _table(samples: Samples, schema: pa.Schema) -> pa.Table:
    who = {name: getattr(samples, name) for name in WHO}
    who["attack"] = pa.array(samples.attack, pa.string()).dictionary_encode()
    x = {name: np.ascontiguousarray(samples.x[:, i]) for i, name in enumerate(samples.columns)}
    return pa.Table.from_pydict({**who, **x}, schema=schema)


def read_samples(room: Path, split: str, rows: Mask | None = None, columns: Sequence[str] | None = None) -> Samples:
    """Load the samples of one split.

    Args:
        room: its folder.
        split: its name.
        rows: (n,) mask of the rows that are wanted; all if None.
        columns: of x that are wanted, in this order; all if None.

    Raises:
        ArtifactError: the file is absent or no Parquet, or has more or fewer rows than the mask.
    """
    path = room / f"{split}.parquet"
    names = columns_of_x(path) if columns is None else tuple(columns)
    with opened(path) as file:
        if rows is not None and len(rows) != file.metadata.num_rows:
            remedy = f"it has {file.metadata.num_rows:,} rows, where {len(rows):,} are expected; run `dvc repro`"
            raise ArtifactError(f"{path}: is of other records than the other files; {remedy}")
        x = np.empty((file.metadata.num_rows if rows is None else int(rows.sum()), len(names)), dtype=np.float32)
        who, start, first = [], 0, 0
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=[*WHO, *names])
            wanted = None if rows is None else rows[first : first + table.num_rows]
            first += table.num_rows
            part = table.select([*WHO]) if wanted is None else table.select([*WHO]).filter(pa.array(wanted))
            for position, name in enumerate(names):
                values = table.column(name).to_numpy()
                x[start : start + part.num_rows, position] = values if wanted is None else values[wanted]
            who.append(part)
            start += part.num_rows
    return _samples(pa.concat_tables(who) if who else samples_schema(()).empty_table(), x, names)


def sample_groups(room: Path, split: str, columns: Sequence[str] | None = None) -> Iterator[Samples]:
    """The samples of one split, ``ROW_GROUP`` rows at a time.

    Args:
        room: its folder.
        split: its name.
        columns: of x that are wanted, in this order; all if None.

    Raises:
        ArtifactError: the file is absent or no Parquet.
    """
    return map(samples_of, sample_parts(room, split, columns))


def sample_parts(room: Path, split: str, columns: Sequence[str] | None = None) -> Iterator[RowGroup]:
    """The same, unread; ``samples_of`` reads each.

    Raises:
        ArtifactError: the file is absent or no Parquet.
    """
    path = room / f"{split}.parquet"
    names = columns_of_x(path) if columns is None else tuple(columns)
    return row_group_parts(path, [*WHO, *names])


def samples_of(group: RowGroup) -> Samples:
    """The samples of a row group.

    Raises:
        ArtifactError: the file is absent or damaged.
    """
    table = group.read()
    names = tuple(name for name in group.columns or table.column_names if name not in WHO)
    x = np.empty((table.num_rows, len(names)), dtype=np.float32)
    for position, name in enumerate(names):
        x[:, position] = table.column(name).to_numpy()
    return _samples(table.select([*WHO]), x, names)


def columns_of_x(path: Path) -> tuple[str, ...]:
    """The names of the columns of x.

    Raises:
        ArtifactError: the file is absent or no Parquet.
    """
    return tuple(name for name in column_names(path) if name not in WHO)


def _samples(who: pa.Table, x: NDArray[np.float32], columns: tuple[str, ...]) -> Samples:
    arrays = {name: who.column(name).to_numpy(zero_copy_only=False) for name in WHO if name != "attack"}
    return Samples(**arrays, attack=strings(who.column("attack")), x=x, columns=columns)

"""The samples of one split as a Parquet file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.artifacts.tables import ROW_GROUP, TableWriter, opened, strings
from pipeline.base.samples import Samples

_RIDE_ALONG = (
    pa.field("record_id", pa.uint64(), nullable=False),
    pa.field("y", pa.int8(), nullable=False),
    pa.field("attack", pa.dictionary(pa.int32(), pa.string()), nullable=False),
    pa.field("confidence", pa.float32(), nullable=False),
    pa.field("balanced", pa.bool_(), nullable=False),
)


def samples_schema(columns: Sequence[str]) -> pa.Schema:
    """The Arrow schema of stored samples: who a row is, then each column of x as float32."""
    return pa.schema([*_RIDE_ALONG, *(pa.field(name, pa.float32(), nullable=False) for name in columns)])


def write_samples(room: Path, split: str, samples: Samples) -> None:
    """Store the samples of one split."""
    schema = samples_schema(samples.columns)
    with TableWriter(room / f"{split}.parquet", schema) as writer:
        for start in range(0, len(samples), ROW_GROUP):
            part = samples.select(slice(start, start + ROW_GROUP))
            who = {field.name: getattr(part, field.name) for field in _RIDE_ALONG}
            who["attack"] = pa.array(part.attack, pa.string()).dictionary_encode()
            x = {name: np.ascontiguousarray(part.x[:, i]) for i, name in enumerate(part.columns)}
            writer.write(pa.Table.from_pydict({**who, **x}, schema=schema))


def read_samples(room: Path, split: str) -> Samples:
    """Load the samples of one split.

    Raises:
        ArtifactError: the file is absent or no Parquet.
    """
    path = room / f"{split}.parquet"
    with opened(path) as file:
        names = tuple(name for name in file.schema_arrow.names if name not in {field.name for field in _RIDE_ALONG})
        x = np.empty((file.metadata.num_rows, len(names)), dtype=np.float32)
        who, start = [], 0
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            for position, name in enumerate(names):
                x[start : start + table.num_rows, position] = table.column(name).to_numpy()
            who.append(table.select([field.name for field in _RIDE_ALONG]))
            start += table.num_rows
    rows = pa.concat_tables(who) if who else samples_schema(names).empty_table().select([f.name for f in _RIDE_ALONG])
    arrays = {name: rows.column(name).to_numpy(zero_copy_only=False) for name in rows.column_names if name != "attack"}
    return Samples(**arrays, attack=strings(rows.column("attack")), x=x, columns=names)

"""Where alerts lie, and how they are read.

::

    data/scored/alerts/KEY.parquet     the alerts of a file that was scored, in the order of its records
    data/scored/alerts/KEY.NUMBER.parquet   those of a micro-batch, until its stretch of a log is whole
    data/scored/records/KEY.parquet    raw columns of the strongest of its records that exceed any threshold

A record may come in two files, as when a file is scored half and then whole. It is one alert all the same: readers
keep the first row of each key, in the order of the names of the files.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.artifacts.tables import read_table, table_metadata
from pipeline.serving import own_model
from pipeline.serving.alerts.schema import SCHEMA, VERSION, VERSION_KEY, Alert, alerts_of

ROOM: Final = "alerts"
RECORDS: Final = "records"
_KEY: Final = re.compile(r"-(?P<sha256>[0-9a-f]{64})-v(?P<version>\d+)$")  # see ``arrivals.key_of``
_PART: Final = re.compile(r"\.\d{6}$")  # of the alerts of a micro-batch


def candidates() -> list[Path]:
    """What lies where tables of alerts do, in the order of the names."""
    return sorted((own_model.scored() / ROOM).glob("*.parquet"))


def current(paths: Iterable[Path]) -> Iterator[Path]:
    """Those that hold alerts of this version of the schema; older ones had raw columns."""
    return (path for path in paths if table_metadata(path).get(VERSION_KEY.decode()) == VERSION)


def tables() -> Iterator[Path]:
    """The tables of alerts, in the order of their names; those of an older version, which had raw columns, are not."""
    return current(candidates())


def read(version: int | None = None) -> pa.Table:
    """All alerts, each key once; those of one model version, or of all.

    Raises:
        ArtifactError: a table cannot be read.
    """
    found = [read_table(path) for path in tables()]
    whole = pa.concat_tables([SCHEMA.empty_table(), *(each.select(SCHEMA.names).cast(SCHEMA) for each in found)])
    if version is not None:
        whole = whole.filter(pc.equal(whole.column("model_version"), version))
    return once(whole)


def find(key: str) -> tuple[Path, Alert] | None:
    """The alert with this key, and the table that it stands in; None where there is none.

    Raises:
        ArtifactError: a table cannot be read.
    """
    for path in tables():
        row = pc.index(read_table(path, ["alert"]).column("alert"), key).as_py()
        if row >= 0:
            return path, alerts_of(read_table(path).slice(row, 1).select(SCHEMA.names).cast(SCHEMA))[0]
    return None


def superseded(alerts: pa.Table) -> NDArray[np.bool_]:
    """(n,) whether a newer version of the model has judged the file of each alert again, whatever it found there."""
    newest: dict[str, int] = {}
    for path in candidates():
        if told := _KEY.search(path.stem):
            newest[told["sha256"]] = max(int(told["version"]), newest.get(told["sha256"], 0))
    files = alerts.column("source_sha256").combine_chunks().dictionary_encode()
    last = np.array([newest.get(each, 0) for each in files.dictionary.to_pylist()], np.int64)
    versions = alerts.column("model_version").to_numpy()
    return last[files.indices.to_numpy()] > versions if len(last) else np.zeros(alerts.num_rows, bool)


def early() -> frozenset[int]:
    """Ids of the records whose alerts are there before the table of their stretch is; see ``watching.stretch``.

    Raises:
        ArtifactError: a table cannot be read.
    """
    parts = [path for path in tables() if _PART.search(path.stem) and not (own_model.scored() / path.name).exists()]
    return frozenset(each for path in parts for each in read_table(path, ["record_id"]).column(0).to_pylist())


def once(alerts: pa.Table) -> pa.Table:
    """The first row of each key, in their order."""
    _, first = np.unique(alerts.column("alert").to_numpy(zero_copy_only=False).astype(str), return_index=True)
    return alerts.take(pa.array(np.sort(first)))

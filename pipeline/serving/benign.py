"""A few of the benign records that a model was fitted on, raw: what an alert is compared with.

::

    benign.json           the words of the columns that hold words
    benign.safetensors    record_id (m,); each column (m,): float32, or the places of its words

They are those with the smallest ids. Ids are hashes, so that this is a random sample, and always the same one.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.artifacts.models import decode_model, encode_model
from pipeline.artifacts.tables import column_names, read_table, row_groups
from pipeline.base.errors import ArtifactError
from pipeline.datasets.schema import Column
from pipeline.serving import record_columns

NAME: Final = "benign"
FILES: Final = (f"{NAME}.json", f"{NAME}.safetensors")
MOST: Final = 2_000
ATTACKS: Final = 50  # records of each known attack, which lie beside these; see ``attacks``
ID: Final = "record_id"
NOTICE: Final = (
    f"A version holds up to {MOST:,} raw benign records and up to {ATTACKS} of each known attack, with which alerts "
    "are compared. Whoever can read the version can read them."
)


def chosen(train: Path) -> NDArray[np.uint64]:
    """(m,) ids of benign train records that are not doubted, ascending; ``train`` is their Parquet file.

    Raises:
        ArtifactError: the file is absent or no Parquet.
    """
    table = read_table(train, [ID, "y", "confidence"])
    trusted = (table.column("y").to_numpy() == 0) & (table.column("confidence").to_numpy() >= 0)
    ids: NDArray[np.uint64] = table.column(ID).to_numpy()[trusted]
    return np.sort(ids)[:MOST]


def rows_of(records: Path, ids: NDArray[np.uint64], columns: Sequence[str]) -> pa.Table:
    """The records with these ids, in the order of their ids: ``record_id`` and the columns.

    Raises:
        ArtifactError: the file is absent, no Parquet, or lacks a column or a record.
    """
    names = [ID, *columns]
    if absent := {*names} - {*column_names(records)}:
        raise ArtifactError(f"{records}: lacks {sorted(absent)}, which the features read; run `dvc repro`")
    groups = row_groups(records, names)
    parts = [group.filter(pa.array(np.isin(group.column(ID).to_numpy(), ids))) for group in groups]
    found = pa.concat_tables(parts).sort_by(ID) if parts else None
    if found is None or found.num_rows < ids.size:
        raise ArtifactError(f"{records}: lacks records of the splits; run `dvc repro` to make both again")
    return found


def encoded(records: Path, ids: NDArray[np.uint64], columns: Sequence[Column]) -> dict[str, bytes]:
    """The two files, from the Parquet file of all records, one row group in memory at a time.

    Raises:
        ArtifactError: the file is absent, no Parquet, or lacks a column or a record.
    """
    words, arrays = parts_of(records, ids, columns)
    return dict(zip(FILES, encode_model({"words": words}, arrays), strict=True))


def parts_of(
    records: Path, ids: NDArray[np.uint64], columns: Sequence[Column]
) -> tuple[dict[str, list[str]], dict[str, NDArray[Any]]]:
    """The words of the columns that hold words, and the arrays: ``record_id`` and each column.

    Raises:
        ArtifactError: the file is absent, no Parquet, or lacks a column or a record.
    """
    return parts_of_table(rows_of(records, ids, [column.name for column in columns]), columns)


def parts_of_table(found: pa.Table, columns: Sequence[Column]) -> tuple[dict[str, list[str]], dict[str, NDArray[Any]]]:
    """The same, of a table that holds ``record_id`` and the columns."""
    words: dict[str, list[str]] = {}
    arrays: dict[str, NDArray[Any]] = {ID: found.column(ID).to_numpy()}
    for column, (name, values) in zip(columns, record_columns.arrays(columns, found), strict=True):
        if column.categorical:
            known, places = np.unique(values.astype(str), return_inverse=True)
            words[name], arrays[name] = known.tolist(), places.astype(np.int32)
        else:
            arrays[name] = values.astype(np.float32)
    return words, arrays


def decoded(folder: Path, files: Mapping[str, bytes], columns: Sequence[Column]) -> pa.Table | None:
    """The records, their ids first; None where the model was made before any were kept.

    Raises:
        ArtifactError: the two files do not fit each other, or the columns.
    """
    if not {*FILES} <= {*files}:
        return None
    return table_of(folder / NAME, *decode_model(folder / NAME, *(files[name] for name in FILES)), columns)


def table_of(
    path: Path, about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], columns: Sequence[Column]
) -> pa.Table:
    """The records of ``parts_of``, their ids first.

    Raises:
        ArtifactError: the parts do not fit each other, or the columns; it names ``path``.
    """
    try:
        read = {column.name: _values(column, about["words"], arrays) for column in columns}
        return pa.table({ID: arrays[ID], **read})
    except (KeyError, IndexError, TypeError, pa.ArrowException) as error:
        raise ArtifactError(f"{path}: does not hold the columns that the model reads ({error!r})") from error


def _values(column: Column, words: Mapping[str, Sequence[str]], arrays: Mapping[str, NDArray[Any]]) -> pa.Array:
    if not column.categorical:
        return pa.array(arrays[column.name].astype(np.float64))
    return pa.array(np.array(words[column.name], dtype=object)[arrays[column.name]], pa.string())

"""A few of the known attacks that a model was fitted on, raw: what an alert may be like.

::

    attacks.json           the names of the attacks, and the words of the columns that hold words
    attacks.safetensors    record_id (m,); attack (m,): the places of the names; each column as in ``benign``

They are those with the smallest ids, up to 50 of each attack. Ids are hashes, so that this is a random sample, and
always the same one.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.artifacts.models import decode_model, encode_model
from pipeline.artifacts.tables import read_table
from pipeline.base.errors import ArtifactError
from pipeline.datasets.schema import Column
from pipeline.serving import benign
from pipeline.serving.benign import ATTACKS as MOST
from pipeline.serving.benign import ID

NAME: Final = "attacks"
FILES: Final = (f"{NAME}.json", f"{NAME}.safetensors")
ATTACK: Final = ":attack"  # no column has such a name


def chosen(train: Path) -> tuple[NDArray[np.uint64], NDArray[np.str_]]:
    """(m,) ids of attacks of train, ascending, and their names; ``train`` is its Parquet file.

    Raises:
        ArtifactError: the file is absent or no Parquet.
    """
    table = read_table(train, [ID, "y", "attack"])
    seen = table.column("y").to_numpy() == 1
    ids: NDArray[np.uint64] = table.column(ID).to_numpy()[seen]
    names = np.asarray(table.column("attack").cast(pa.string()).to_numpy(zero_copy_only=False)[seen]).astype(str)
    order = np.argsort(ids)
    kept = [order[names[order] == name][:MOST] for name in np.unique(names)]
    rows = np.sort(np.concatenate([np.zeros(0, np.intp), *kept]))
    rows = rows[np.argsort(ids[rows])]
    return ids[rows], names[rows]


def encoded(
    records: Path, ids: NDArray[np.uint64], names: NDArray[np.str_], columns: Sequence[Column]
) -> dict[str, bytes]:
    """The two files, from the Parquet file of all records; none where there are no attacks.

    Raises:
        ArtifactError: the file is absent, no Parquet, or lacks a column or a record.
    """
    if not ids.size:
        return {}
    words, arrays = benign.parts_of(records, ids, columns)
    known, places = np.unique(names, return_inverse=True)
    about = {"attacks": known.tolist(), "words": words}
    return dict(zip(FILES, encode_model(about, {**arrays, ATTACK: places.astype(np.int32)}), strict=True))


def decoded(folder: Path, files: Mapping[str, bytes], columns: Sequence[Column]) -> pa.Table | None:
    """The records, their ids and ``ATTACK`` first; None where the model keeps none.

    Raises:
        ArtifactError: the two files do not fit each other, or the columns.
    """
    if not {*FILES} <= {*files}:
        return None
    about, arrays = decode_model(folder / NAME, *(files[name] for name in FILES))
    read = benign.table_of(folder / NAME, about, arrays, columns)
    try:
        names = np.array(about["attacks"], dtype=object)[arrays[ATTACK]]
    except (KeyError, IndexError, TypeError) as error:
        raise ArtifactError(f"{folder / NAME}: does not say which attacks it holds ({error!r})") from error
    return read.add_column(1, ATTACK, pa.array(names, pa.string()))

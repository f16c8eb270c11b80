"""Attacks of a labelled file that the user names: drills from elsewhere, which nothing is fitted on or chosen by."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.base.errors import ConfigError
from pipeline.base.registry import build
from pipeline.datasets.registry import READERS
from pipeline.datasets.schema import Column
from pipeline.serving import record_columns
from pipeline.serving.bundle import Bundle

SETTING = "evaluate.drills.file"


def attacks_of(path: Path, bundle: Bundle, settings: dict[str, Any]) -> tuple[pa.Table, NDArray[np.str_]]:
    """The attack records of a file, raw, and the attack of each.

    Args:
        path: a file, folder or zip, as the data set of the model has them, with labels.
        bundle: the model; records that it was fitted on are left out.
        settings: of the reader, as those of the project's own records.

    Raises:
        ConfigError: there is no such file, or it holds no attack that the model was not fitted on.
        SchemaError: it lacks a column that the model reads.
    """
    if not path.exists():
        raise ConfigError(f"{SETTING}: {path}: no such file or folder; name a labelled one, or set it to ''")
    name, columns = bundle.dataset.partition(" ")[0], bundle.columns
    given = {key: value for key, value in settings.items() if key not in {"columns", "records", "seed"}}
    reader = build(READERS, name, SETTING, path=path, needed=columns, reading=bundle.reading, **given)
    found, n = [], 0
    for chunk in reader.read():
        n += chunk.records.num_rows
        found.append(_unused_attacks(chunk.records, columns, bundle.used))
    attacks = pa.concat_tables(found) if found else None
    if attacks is None or not attacks.num_rows:
        raise ConfigError(f"{SETTING}: {path}: none of its {n:,} records is labelled as an attack; drills are attacks")
    return attacks, np.array(attacks.column("attack").to_pylist(), dtype=str)


def _unused_attacks(records: pa.Table, columns: tuple[Column, ...], used: NDArray[np.uint64]) -> pa.Table:
    fresh = ~np.isin(records.column("record_id").to_numpy(), used)
    chosen = records.filter(pc.and_(pc.equal(records.column("y"), 1).fill_null(False), pa.array(fresh)))
    raw = record_columns.table(columns, chosen)
    return raw.append_column("attack", chosen.column("attack").cast(pa.string()))

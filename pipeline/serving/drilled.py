"""How many drills of each sort a model finds: altered benign records, simulated attacks, attacks of a named file."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json
from pipeline.datasets.extractors import TWICE
from pipeline.datasets.synthetic.drills import simulated
from pipeline.evaluation import drills
from pipeline.serving import record_columns
from pipeline.serving.bundle import Bundle
from pipeline.serving.named_attacks import attacks_of
from pipeline.serving.planted import planted
from pipeline.settings.evaluate import Drills


def made(bundle: Bundle, ids: NDArray[np.uint64], settings: Drills) -> dict[str, Any]:
    """Altered records of these ids, and simulated attacks where there can be any."""
    sorts = {"altered": planted(bundle.columns, ids, settings) if len(ids) > 1 else None}
    sorts["simulated"] = _simulated(bundle, settings)
    return {sort: _found(bundle, *each) for sort, each in sorts.items() if each is not None}


def _simulated(bundle: Bundle, settings: Drills) -> tuple[pa.Table, NDArray[np.str_]] | None:
    """Simulated attacks, raw, and the kind of each."""
    twice = any(each.get("first_packet") == TWICE for each in read_json(paths.SOURCE).get("extractors", []))
    name = bundle.dataset.partition(" ")[0]
    made = simulated(name, bundle.columns, twice, bundle.extraction, settings.records, settings.seed)
    if not made:
        return None
    tables = [record_columns.table(bundle.columns, table) for table in made.values()]
    return pa.concat_tables(tables, promote_options="permissive"), np.repeat([*made], [len(table) for table in tables])


def named(bundle: Bundle, file: str) -> dict[str, Any]:
    """Attacks of a named file."""
    made = attacks_of(Path(file), bundle, read_json(paths.SOURCE).get("settings", {}))
    return {"named": {"file": file, **_found(bundle, *made)}}


def _found(bundle: Bundle, records: pa.Table, kind: NDArray[np.str_]) -> dict[str, Any]:
    return drills.found(bundle.predict(records).flagged, kind)

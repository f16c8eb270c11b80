"""How far each record can be trusted as it was read, and the ranges that the records cover."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.datasets.schema import Column

TRUST_SCHEMA = pa.schema(
    [
        pa.field("record_id", pa.uint64()),
        pa.field("confidence", pa.float32()),
        pa.field("why", pa.dictionary(pa.int32(), pa.string())),
    ]
)
LABELLED, ATTEMPTED, UNLABELLED = "", "the attack was only attempted", "no label"


def trust(table: pa.Table, columns: Sequence[Column]) -> NDArray[np.float32]:
    """(n,) trust in [0, 1] of n records.

    It is the share of the features that have a value: a number that is infinite or NaN and a word that is missing have
    none. It is 0 without a label, or if the label says that the attack reached nothing.
    """
    return _trust(undefined(table, columns), _label_doubt(table), len(columns))


def trusted(table: pa.Table, columns: Sequence[Column]) -> pa.Table:
    """The trust in n records, and why it is below 1: a table of ``TRUST_SCHEMA``."""
    missing, doubt = undefined(table, columns), _label_doubt(table)
    names = [LABELLED, *(f"{n} undefined value{'s' * (n > 1)}" for n in range(1, len(columns) + 1))]
    codes = np.where(doubt > 0, len(columns) + doubt, missing).astype(np.int32)
    why = pa.DictionaryArray.from_arrays(pa.array(codes), pa.array([*names, ATTEMPTED, UNLABELLED], pa.string()))
    confidence = _trust(missing, doubt, len(columns))
    parts = {"record_id": table.column("record_id"), "confidence": confidence, "why": why}
    return pa.Table.from_pydict(parts, schema=TRUST_SCHEMA)


def undefined(table: pa.Table, columns: Sequence[Column]) -> NDArray[np.int32]:
    """(n,) number of the features that have no value."""
    missing = np.zeros(table.num_rows, dtype=np.int32)
    for column in columns:
        values = table.column(column.name)
        if column.categorical:
            missing += pc.equal(values, "").fill_null(True).to_numpy()
        elif not (finite := np.isfinite(values.to_numpy())).all():
            missing += ~finite
    return missing


def _trust(missing: NDArray[np.int32], doubt: NDArray[np.int32], features: int) -> NDArray[np.float32]:
    return np.where(doubt > 0, 0, 1 - missing / max(features, 1)).astype(np.float32)


def _label_doubt(table: pa.Table) -> NDArray[np.int32]:
    """(n,) 0 where the label can be trusted, 1 where the attack was only attempted, 2 where there is no label."""
    attempted = table.column("attempted").fill_null(False).to_numpy()
    return np.where(pc.is_null(table.column("y")).to_numpy(), 2, attempted.astype(np.int32)).astype(np.int32)


class Extent:
    """The range of the records of each file and of the values of each column, gathered table by table."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._files: dict[str, dict[str, Any]] = {}
        self._numbers: dict[str, list[Any]] = {
            column.name: [np.inf, -np.inf, 0, 0] for column in columns if not column.categorical
        }
        self._words: dict[str, set[str]] = {column.name: set() for column in columns if column.categorical}

    def add(self, table: pa.Table) -> None:
        """Include the records of ``table``."""
        wanted = [("timestamp", "min"), ("timestamp", "max"), ("row", "min"), ("row", "max"), ([], "count_all")]
        for file in table.group_by("source_file").aggregate(wanted).to_pylist():
            self._reach(file)
        for name, reached in self._numbers.items():
            _widen(reached, table.column(name).to_numpy())
        for name, words in self._words.items():
            words.update(word for word in table.column(name).unique().to_pylist() if word)

    def result(self) -> dict[str, Any]:
        """Ready for JSON: by file its records, rows and time, by column its range; None where nothing is known."""
        return {
            "files": {name: _file(self._files[name]) for name in sorted(self._files)},
            "columns": {name: _range(*reached) for name, reached in self._numbers.items()}
            | {name: {"words": len(words)} for name, words in self._words.items()},
        }

    def _reach(self, new: dict[str, Any]) -> None:
        old = self._files.setdefault(str(new["source_file"]), {"count_all": 0})
        old["count_all"] += new["count_all"]
        for name, pick in (("timestamp_min", min), ("timestamp_max", max), ("row_min", min), ("row_max", max)):
            known = [value for value in (old.get(name), new[name]) if value is not None]
            old[name] = pick(known) if known else None


def _widen(reached: list[Any], values: NDArray[np.float64]) -> None:
    """Widen ``[low, high, undefined, infinite]`` by (n,) values."""
    finite = np.isfinite(values)
    if not finite.all():
        undefined = int(np.isnan(values).sum())
        reached[2] += undefined
        reached[3] += len(values) - int(finite.sum()) - undefined
        values = values[finite]
    reached[0] = min(reached[0], values.min(initial=np.inf))
    reached[1] = max(reached[1], values.max(initial=-np.inf))


def _range(low: float, high: float, undefined: int, infinite: int) -> dict[str, Any]:
    known = low <= high
    ends = {"low": float(low) if known else None, "high": float(high) if known else None}
    return ends | {"undefined": undefined, "infinite": infinite}


def _file(reached: dict[str, Any]) -> dict[str, Any]:
    times = {end: reached[f"timestamp_{name}"] for end, name in (("from", "min"), ("to", "max"))}
    texts = {end: time.isoformat(sep=" ") if time else None for end, time in times.items()}
    return {"records": reached["count_all"], "rows": [reached["row_min"], reached["row_max"]]} | texts

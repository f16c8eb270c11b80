"""From a record id to the record: where it stands, and its raw columns, which are kept beside its label.

Looked through are the ingested records, then the alerts and the samples of all files that were scored.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.tables import row_group, row_groups
from pipeline.base.errors import DataError
from pipeline.datasets.schema import PROVENANCE
from pipeline.serving import own_model
from pipeline.serving.alerts import stored

ROOMS = ("records", "alerts", "samples")  # of data/scored, with raw columns; older versions kept them in alerts
_DIGITS = 16


@dataclass(frozen=True)
class Found:
    """A record that can be labelled.

    Attributes:
        source_file: that it came in, as far as it is known.
        row: of that file.
        columns: its raw values by the name of the column.
    """

    source_file: str
    row: int | None
    columns: dict[str, float | str]


def find(wanted: Sequence[str]) -> dict[int, Found]:
    """Record id -> the record, for ids of sixteen hexadecimal digits.

    Raises:
        DataError: an id is none, no record has it (with the near miss), or the raw columns of the record are gone.
    """
    missing = {number_of(text) for text in wanted}
    found = search(missing)
    for number in missing - found.keys():
        raise DataError(_absent(number))
    return found


def search(wanted: Collection[int]) -> dict[int, Found]:
    """Record id -> the record, for those of the wanted ones whose raw columns are kept."""
    found: dict[int, Found] = {}
    for path in _tables():
        for row in _rows(path, {*wanted} - found.keys()):
            found[row["record_id"]] = _found(row)
    return found


def _tables() -> Iterator[Path]:
    if paths.RECORDS.exists():
        yield paths.RECORDS
    alerts = {*stored.tables()}
    for room in ROOMS:
        found = sorted((own_model.scored() / room).glob("*.parquet"))
        yield from (path for path in found if path not in alerts)


def _rows(path: Path, wanted: Collection[int]) -> Iterator[dict[str, Any]]:
    """The rows of a table that have one of these ids."""
    ids = np.array(sorted(wanted), dtype=np.uint64)
    for position, group in enumerate(row_groups(path, ["record_id"]) if wanted else ()):
        at = np.isin(group.column("record_id").to_numpy(), ids)
        if at.any():
            yield from row_group(path, position).filter(pa.array(at)).to_pylist()


def _found(row: dict[str, Any]) -> Found:
    raw = {name: value for name, value in row.items() if name not in (*PROVENANCE, "score")}
    columns = {name: value if isinstance(value, str) else _float(value) for name, value in raw.items()}
    place = row.get("row")
    return Found(str(row.get("source_file") or ""), place if isinstance(place, int) else None, columns)


def _float(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def number_of(text: str) -> int:
    """The id that sixteen hexadecimal digits spell.

    Raises:
        DataError: they spell none.
    """
    if re.fullmatch(rf"[0-9a-fA-F]{{{_DIGITS}}}", text):
        return int(text, 16)
    raise DataError(f"{text!r} is no record id; one has {_DIGITS} hexadecimal digits{_begins(text)}")


def _begins(text: str) -> str:
    """The near miss of an id that was cut off."""
    if len(text) < 4 or len(text) > _DIGITS or not {*text.lower()} <= {*"0123456789abcdef"}:
        return ""
    low, high = int(text.ljust(_DIGITS, "0"), 16), int(text.ljust(_DIGITS, "f"), 16)
    ids = _known()
    return _meant(ids[(ids >= low) & (ids <= high)])


def _absent(number: int) -> str:
    """Why a record cannot be labelled."""
    ids = _known()
    if (ids == number).any():
        return (
            f"{number:016x}: was scored, but its raw columns were not kept: of each file the strongest alerts and a "
            "sample are; files that were scored before alerts were kept need to be scored again"
        )
    half = np.uint64(32)
    near = (ids >> half == number >> 32) | (ids & np.uint64(2**32 - 1) == number & (2**32 - 1))
    return f"{number:016x}: no scored file and no training record has this id{_meant(ids[near])}"


def _meant(near: NDArray[np.uint64]) -> str:
    return f" (did you mean {near[0]:016x}?)" if len(near) else ""


def _known() -> NDArray[np.uint64]:
    """All ids."""
    tables = [*_tables(), *sorted(own_model.scored().glob("*.parquet"))]
    parts = [group.column("record_id").to_numpy() for path in tables for group in row_groups(path, ["record_id"])]
    return np.unique(np.concatenate([np.zeros(0, np.uint64), *parts]))

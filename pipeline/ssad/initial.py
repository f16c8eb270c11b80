"""The initial confidence of a training: 1 for every row, an array, or a table from an earlier training."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from pipeline.artifacts.confidence import refuse_sample
from pipeline.base.errors import ArtifactError, DataError

Initial = Callable[[NDArray[np.int64]], NDArray[np.float32]]
"""(n,) positions of rows to their (n,) confidence."""


def initial(given: ArrayLike | Path | str | None, name: Callable[[int], Any]) -> Initial:
    """What gives the confidence at the start.

    Args:
        given: None for 1; (N,) values in [-1, 1], one for each row of the data set; a CSV, or a Parquet
            file, with the columns ``record_id`` and ``confidence``.
        name: position of a row -> its record id.
    """
    if given is None:
        return lambda rows: np.ones(len(rows), dtype=np.float32)
    if isinstance(given, str | Path):
        return lambda rows: _checked(_read(Path(given), [str(name(row)) for row in rows.tolist()]), str(given))
    values = np.asarray(given, dtype=np.float64)
    return lambda rows: _checked(_taken(values, rows), "initial")


def _taken(values: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    if values.ndim != 1 or len(values) <= rows.max():
        raise DataError(
            f"initial: needs one confidence for each row of the data set, at least {rows.max() + 1}, given the shape "
            f"{values.shape}"
        )
    taken: NDArray[np.float64] = values[rows]
    return taken


def _read(path: Path, ids: list[str]) -> NDArray[np.float64]:
    refuse_sample(path)
    try:
        known = _of_parquet(path) if path.suffix == ".parquet" else _of_csv(path)
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise ArtifactError(
            f"{path}: cannot be read ({error!r}); a CSV or Parquet file with the columns record_id and confidence is "
            "expected"
        ) from error
    absent = [record_id for record_id in ids if record_id not in known]
    if absent:
        first = ", ".join(absent[:3])
        raise DataError(f"{path}: {len(absent)} of {len(ids)} rows have no confidence in it, such as {first}")
    return np.array([known[record_id] for record_id in ids])


def _of_csv(path: Path) -> dict[str, float]:
    with path.open(newline="", encoding="utf-8") as file:
        return {row["record_id"]: float(row["confidence"]) for row in csv.DictReader(file)}


def _of_parquet(path: Path) -> dict[str, float]:
    table = pq.read_table(path, columns=["record_id", "confidence"], partitioning=None)
    ids, values = (table.column(name).to_pylist() for name in ("record_id", "confidence"))
    return {str(row): float(value) for row, value in zip(ids, values, strict=True)}


def _checked(values: NDArray[np.float64], who: str) -> NDArray[np.float32]:
    bad = np.flatnonzero(~(np.abs(values) <= 1))
    if len(bad):
        raise DataError(
            f"{who}: a confidence lies in [-1, 1], but {len(bad)} of {len(values)} do not, such as {values[bad[0]]:g}"
        )
    return values.astype(np.float32)

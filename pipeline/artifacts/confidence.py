"""Tables of confidence, as CSV or Parquet; a CSV may be a sample of the whole table."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow.csv import ConvertOptions
from pyarrow.csv import read_csv as read_arrow_csv

from pipeline.artifacts.files import read_json
from pipeline.base.errors import ArtifactError

LOGGED = ".sample.json"  # behind the name of a table, beside a sample of it that was logged to MLflow


def read_confidence(path: Path) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
    """(n,) record ids and (n,) confidence of a table with these two columns, such as a stage reports.

    Args:
        path: of a CSV, or of a Parquet file where its name ends so.

    Raises:
        ArtifactError: the file is absent, lacks a column, holds an id or a confidence that is none, or is a sample.
    """
    refuse_sample(path)
    try:
        table = _read_two_columns(path)
        ids, values = table.column("record_id"), table.column("confidence").cast(pa.float64()).to_numpy()
    except (OSError, pa.ArrowException, KeyError) as error:
        remedy = "a CSV or Parquet file with the columns record_id and confidence is expected"
        raise ArtifactError(f"{path}: cannot be read ({error}); {remedy}") from error
    if ids.type == pa.uint64():
        return ids.to_numpy(), values
    return _numbers(path, ids.to_pylist()), values


def sample_note(path: Path) -> Path:
    """The JSON beside a table of confidence that says whether its CSV is a sample."""
    return path.with_name(f"{path.stem}_sample.json")


def refuse_sample(path: Path) -> None:
    """Refuse a CSV that holds a sample of a table of confidence.

    Raises:
        ArtifactError: it does; the message names the file that holds the whole table.
    """
    beside, logged = sample_note(path), path.with_name(f"{path.name}{LOGGED}")
    for note in (each for each in (beside, logged) if each.is_file() and (each == logged or path.suffix == ".csv")):
        about = read_json(note)
        whole = path.with_name(about["whole"]) if note == beside else about["whole"]
        kept = f"{about['sampled']:,} of {about['rows']:,} records"
        raise ArtifactError(f"{path}: is a sample of {kept}; give {whole}, which has them all")


def _read_two_columns(path: Path) -> pa.Table:
    if path.suffix == ".parquet":
        return pq.read_table(path, columns=["record_id", "confidence"], partitioning=None)
    columns = ConvertOptions(column_types={"record_id": pa.string(), "confidence": pa.float64()})
    return read_arrow_csv(path, convert_options=columns)


def _numbers(path: Path, ids: Sequence[str | None]) -> NDArray[np.uint64]:
    """(n,) ids that are written as sixteen hexadecimal digits."""
    wrong = [(row, text) for row, text in enumerate(ids, 1) if not re.fullmatch("[0-9a-fA-F]{16}", str(text or ""))]
    if wrong:
        row, text = wrong[0]
        allowed = "a record_id is 16 hexadecimal digits"
        raise ArtifactError(f"{path}: {len(wrong)} of {len(ids)} rows, the first row {row}, hold {text!r}; {allowed}")
    return np.array([int(str(text), 16) for text in ids], dtype=np.uint64)

"""Where every file lies, how it is read and written. No other file has a path.

Every write is atomic: into a temporary file beside the target, then one rename. Whatever goes wrong before leaves the
old artefact as it was. Tables are Parquet, models safetensors and JSON, reports JSON, CSV and SVG; nothing is pickled.
"""

import csv
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow.csv import write_csv as write_arrow_csv
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from pipeline.errors import ArtifactError
from pipeline.samples import Samples

DATA = Path("data")
RECORDS = DATA / "interim" / "records.parquet"
REJECTED = DATA / "interim" / "rejected.parquet"
SOURCE = DATA / "interim" / "source.json"
FEATURES = DATA / "models" / "features"
ENCODER = DATA / "models" / "encoder"
DETECTOR = DATA / "models" / "detector"
THRESHOLDS = DATA / "models" / "thresholds"
PROCESSED = DATA / "processed"
LATENT = DATA / "latent"
SCORES = DATA / "scores"
REPORTS = DATA / "reports"
METRICS = REPORTS / "metrics.json"
CHECKPOINTS = DATA / "checkpoints"


def _model(stem: Path) -> tuple[Path, Path]:
    """A model is two files: what it is, and its weights."""
    return stem.with_suffix(".json"), stem.with_suffix(".safetensors")


# What each stage writes, in the order of the stages; dvc.yaml declares the same (a test compares them).
OUTPUTS: dict[str, tuple[Path, ...]] = {
    "ingest": (RECORDS, REJECTED, SOURCE, REPORTS / "ingest"),
    "validate": (REPORTS / "validate",),
    "preprocess": (PROCESSED, *_model(FEATURES), REPORTS / "preprocess"),
    "stage1": (LATENT, *_model(ENCODER), REPORTS / "stage1"),
    "stage2": (SCORES, *_model(DETECTOR), REPORTS / "stage2"),
    "calibrate": (*_model(THRESHOLDS), REPORTS / "calibrate"),
    "evaluate": (METRICS, REPORTS / "evaluate"),
}

ROW_GROUP = 65_536


def upstream(stage: str) -> tuple[str, ...]:
    """The stages before ``stage``."""
    names = list(OUTPUTS)
    return tuple(names[: names.index(stage)])


def content_hash(stage: str) -> str:
    """A digest of everything that ``stage`` wrote, as it lies on disk now; "" where something is absent."""
    files = [file for output in OUTPUTS[stage] for file in (sorted(output.rglob("*")) if output.is_dir() else [output])]
    if not all(output.exists() for output in OUTPUTS[stage]):
        return ""
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        if file.is_file():
            with file.open("rb") as stream:
                digest.update(file.as_posix().encode() + hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Gives a temporary path; what was written there becomes ``path`` when the block ends without an error.

    Raises:
        ArtifactError: the file cannot be written, for instance because the disk is full; the old one is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        kept = "the old file is untouched" if path.exists() else "nothing was written"
        raise ArtifactError(f"{path}: cannot be written ({error.strerror or error}); {kept}") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a small file."""
    with atomic(path) as temporary, temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def write_json(path: Path, value: Any) -> None:
    """Write JSON that people read too; NaN and Infinity are refused."""
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        ArtifactError: the file is absent or no JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows that have the same keys."""
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)


def write_columns(path: Path, columns: Mapping[str, NDArray[Any]]) -> None:
    """Write a CSV of columns that have the same length."""
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    with atomic(path) as temporary:
        write_arrow_csv(table, temporary)


class TableWriter:
    """Writes one Parquet file, some rows at a time; the file is there only after the block ended without an error."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._target = atomic(path)
        self._schema = schema
        self.rows = 0

    def __enter__(self) -> Self:
        # Numbers of network traffic hardly repeat: a dictionary costs time there and saves nothing.
        words = [field.name for field in self._schema if not pa.types.is_floating(field.type)]
        self._writer = pq.ParquetWriter(
            self._target.__enter__(), self._schema, compression="lz4", use_dictionary=words, write_statistics=False
        )
        return self

    def write(self, table: pa.Table) -> None:
        """Append the rows of ``table``."""
        self.rows += table.num_rows
        self._writer.write_table(table, ROW_GROUP)

    def __exit__(self, *error: Any) -> None:
        try:
            self._writer.close()
        except OSError as failure:
            error = (type(failure), failure, failure.__traceback__)
        self._target.__exit__(*error)


def row_groups(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The rows of a Parquet file, a row group at a time.

    Raises:
        ArtifactError: the file is absent or no Parquet.
    """
    with _opened(path) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=None if columns is None else list(columns))


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A whole Parquet file.

    Raises:
        ArtifactError: the file is absent or no Parquet.
    """
    with _opened(path) as file:
        return file.read(columns=None if columns is None else list(columns))


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise _unreadable(path, error) from error
    with file:
        yield file


_RIDE_ALONG = (
    pa.field("record_id", pa.uint64()),
    pa.field("y", pa.int8()),
    pa.field("attack", pa.dictionary(pa.int32(), pa.string())),
    pa.field("confidence", pa.float32()),
    pa.field("balanced", pa.bool_()),
)


def samples_schema(columns: Sequence[str]) -> pa.Schema:
    """The Arrow schema of stored samples: who a row is, then each column of x as float32."""
    return pa.schema([*_RIDE_ALONG, *(pa.field(name, pa.float32()) for name in columns)])


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
    with _opened(path) as file:
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
    attack = rows.column("attack").cast(pa.string()).to_numpy(zero_copy_only=False).astype(object)
    return Samples(**arrays, attack=attack, x=x, columns=names)


def write_model(stem: Path, description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Store a model as ``stem.safetensors`` and ``stem.json``, which names the weights that it belongs to."""
    about, weights = _model(stem)
    content = save_tensors({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    write_bytes(weights, content)
    write_json(about, {**description, "weights_sha256": hashlib.sha256(content).hexdigest()})


def read_model(stem: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What ``write_model`` stored.

    Raises:
        ArtifactError: a part is absent, damaged, or belongs to another model.
    """
    about, weights = _model(stem)
    description = read_json(about)
    try:
        content = weights.read_bytes()
        arrays = load_tensors(content)
    except (OSError, SafetensorError) as error:
        raise _unreadable(weights, error) from error
    if description.pop("weights_sha256", None) != hashlib.sha256(content).hexdigest():
        raise ArtifactError(f"{weights}: are not the weights that {about} names; run `dvc repro` to make both again")
    return description, arrays


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Gives a temporary folder that takes the place of ``folder`` when the block ends without an error."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        temporary.chmod(0o755)
        yield temporary
        if folder.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
            folder.rename(old / folder.name)
            temporary.rename(folder)
            shutil.rmtree(old)
        else:
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _unreadable(path: Path, error: Exception) -> ArtifactError:
    state = "is absent" if not path.exists() else f"cannot be read ({error})"
    return ArtifactError(f"{path}: {state}; run `dvc repro` to make it again")

"""Where every file lies, how it is read and written. No other file has a path.

Every write is atomic and durable, see ``durable``: whatever goes wrong leaves the old artefact as it was. Tables are
Parquet, models safetensors and JSON, reports JSON, CSV, SVG and HTML; nothing is pickled.
"""

import csv
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow.csv import ConvertOptions
from pyarrow.csv import read_csv as read_arrow_csv
from pyarrow.csv import write_csv as write_arrow_csv
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from pipeline.base import durable
from pipeline.base.errors import ArtifactError
from pipeline.base.samples import Samples

DATA = Path("data")
RECORDS = DATA / "interim" / "records.parquet"
REJECTED = DATA / "interim" / "rejected.parquet"
SOURCE = DATA / "interim" / "source.json"
FEATURES = DATA / "models" / "features"
ENCODER = DATA / "models" / "encoder"
DETECTOR = DATA / "models" / "detector"
HEAD = DATA / "models" / "head"
THRESHOLDS = DATA / "models" / "thresholds"
PROCESSED = DATA / "processed"
LATENT = DATA / "latent"
SCORES = DATA / "scores"
REPORTS = DATA / "reports"
METRICS = REPORTS / "metrics.json"
PAGE = REPORTS / "report.html"
CHECKPOINTS = DATA / "checkpoints"
PROMOTIONS = DATA / "promotions.jsonl"
INCOMING = DATA / "incoming"
SCORED = DATA / "scored"
QUARANTINE = DATA / "quarantine"  # files that came in and cannot be scored
DRIFT = REPORTS / "drift"
BENCHMARK = REPORTS / "benchmark"
CELLS = DATA / "benchmark.jsonl"
REGISTERED = DATA / "registered"  # versions of the model, as they were fetched


def _model(stem: Path) -> tuple[Path, Path]:
    """A model is two files: what it is, and its weights."""
    return stem.with_suffix(".json"), stem.with_suffix(".safetensors")


# What each stage writes, in the order of the stages; dvc.yaml declares the same (a test compares them).
OUTPUTS: dict[str, tuple[Path, ...]] = {
    "ingest": (RECORDS, REJECTED, SOURCE, REPORTS / "ingest"),
    "validate": (REPORTS / "validate",),
    "preprocess": (PROCESSED, *_model(FEATURES), REPORTS / "preprocess"),
    "stage1": (LATENT, *_model(ENCODER), REPORTS / "stage1"),
    "stage2": (SCORES, *_model(DETECTOR), *_model(HEAD), REPORTS / "stage2"),
    "calibrate": (*_model(THRESHOLDS), REPORTS / "calibrate"),
    "evaluate": (METRICS, PAGE, REPORTS / "evaluate"),
}

ROW_GROUP = 32_768

atomic = durable.atomic
whole_folder = durable.whole_folder


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


def write_bytes(path: Path, content: bytes) -> None:
    """Write a small file."""
    with atomic(path) as temporary, temporary.open("wb") as stream:
        stream.write(content)


def write_json(path: Path, value: Any) -> None:
    """Write JSON that people read too; NaN and Infinity are refused."""
    write_bytes(path, encode_json(value))


def encode_json(value: Any) -> bytes:
    """JSON as the content of a file."""
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def read_bytes(path: Path) -> bytes:
    """Read a small file.

    Raises:
        ArtifactError: the file is absent.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def sha256(path: Path) -> str:
    """Of the bytes of a file, in hexadecimal digits.

    Raises:
        ArtifactError: the file is absent.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        ArtifactError: the file is absent or no JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def append_line(path: Path, value: Mapping[str, Any]) -> None:
    """Append one line of JSON to a log that only grows, whole or not at all, whoever else appends to it.

    Raises:
        ArtifactError: the file cannot be written.
    """
    with durable.refusals(path):
        durable.append(path, value)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a log that ``append_line`` wrote, oldest first; none where it is absent. A torn line is left out."""
    return durable.lines(path)


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows that have the same keys."""
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV, as texts.

    Raises:
        ArtifactError: the file is absent or no CSV.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream, restval=""))
    except (OSError, ValueError, csv.Error) as error:
        raise _unreadable(path, error) from error


def write_columns(path: Path, columns: Mapping[str, NDArray[Any] | pa.ChunkedArray]) -> None:
    """Write a CSV of columns that have the same length.

    A uint64 id is written as sixteen hexadecimal digits: a number of that size would be rounded by most readers.
    """
    table = pa.table({name: _spelt(values) for name, values in columns.items()})
    with atomic(path) as temporary:
        write_arrow_csv(table, temporary)


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
    except (OSError, pa.ArrowInvalid, pa.ArrowNotImplementedError, KeyError) as error:
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
    if path.suffix == ".csv" and sample_note(path).is_file():
        about = read_json(sample_note(path))
        raise ArtifactError(
            f"{path}: is a sample of {about['sampled']:,} of {about['rows']:,} records; "
            f"give {path.with_name(about['whole'])}, which has them all"
        )


def _read_two_columns(path: Path) -> pa.Table:
    if path.suffix == ".parquet":
        return pq.read_table(path, columns=["record_id", "confidence"], partitioning=None)
    columns = ConvertOptions(column_types={"record_id": pa.string(), "confidence": pa.float64()})
    return read_arrow_csv(path, convert_options=columns)


def _numbers(path: Path, ids: Sequence[str | None]) -> NDArray[np.uint64]:
    """(n,) ids that are spelt as sixteen hexadecimal digits."""
    wrong = [(row, text) for row, text in enumerate(ids, 1) if not re.fullmatch("[0-9a-fA-F]{16}", str(text or ""))]
    if wrong:
        row, text = wrong[0]
        spelt = "a record_id is 16 hexadecimal digits"
        raise ArtifactError(f"{path}: {len(wrong)} of {len(ids)} rows, the first row {row}, hold {text!r}; {spelt}")
    return np.array([int(str(text), 16) for text in ids], dtype=np.uint64)


def _spelt(values: NDArray[Any] | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, pa.ChunkedArray):
        return _spelt(values.to_numpy()) if values.type == pa.uint64() else values
    return _hexadecimal(values) if values.dtype == np.uint64 else pa.array(values)


def _hexadecimal(values: NDArray[np.uint64]) -> pa.StringArray:
    digits = values.astype(">u8").tobytes().hex().encode()
    ends = np.arange(0, len(digits) + 1, 16, dtype=np.int32)
    return pa.StringArray.from_buffers(len(values), pa.py_buffer(ends), pa.py_buffer(digits))


class TableWriter:
    """Writes one Parquet file, some rows at a time; the file is there only after the block ended without an error."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._schema = schema
        self._waiting: list[pa.Table] = []
        self.rows = 0

    def __enter__(self) -> Self:
        self._target = self._opened()
        return self._target.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._target.__exit__(*error)

    @contextmanager
    def _opened(self) -> Iterator[Self]:
        # Numbers of network traffic hardly repeat: a dictionary costs time there and saves nothing.
        words = [field.name for field in self._schema if pa.types.is_dictionary(field.type)]
        settings = {"compression": "lz4", "use_dictionary": words, "write_statistics": False}
        with atomic(self._path) as temporary, pq.ParquetWriter(temporary, self._schema, **settings) as self._writer:
            yield self
            self._flush(sum(part.num_rows for part in self._waiting))

    def write(self, table: pa.Table) -> None:
        """Append the rows of ``table``; they are gathered into row groups of ``ROW_GROUP``."""
        self._waiting.append(table)
        self.rows += table.num_rows
        waiting = sum(part.num_rows for part in self._waiting)
        self._flush(waiting - waiting % ROW_GROUP)

    def _flush(self, rows: int) -> None:
        if rows:
            table = pa.concat_tables(self._waiting)
            self._writer.write_table(table.slice(0, rows), ROW_GROUP)
            self._waiting = [table.slice(rows)]


def row_groups(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The rows of a Parquet file, a row group at a time.

    Raises:
        ArtifactError: the file is absent or no Parquet.
    """
    with _opened(path) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=None if columns is None else list(columns))


def column_names(path: Path) -> list[str]:
    """The columns of a Parquet file.

    Raises:
        ArtifactError: the file is absent or no Parquet.
    """
    with _opened(path) as file:
        return list(file.schema_arrow.names)


def column_type(path: Path, name: str) -> pa.DataType:
    """What a column of a Parquet file holds.

    Raises:
        ArtifactError: the file is absent, no Parquet, or has no such column.
    """
    with _opened(path) as file:
        if name not in file.schema_arrow.names:
            raise ArtifactError(f"{path}: has no column {name!r}")
        return file.schema_arrow.field(name).type


def table_metadata(path: Path) -> dict[str, str]:
    """What a Parquet file says of itself beside its columns.

    Raises:
        ArtifactError: the file is absent or no Parquet.
    """
    with _opened(path) as file:
        return {key.decode(): value.decode() for key, value in (file.schema_arrow.metadata or {}).items()}


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
    pa.field("record_id", pa.uint64(), nullable=False),
    pa.field("y", pa.int8(), nullable=False),
    pa.field("attack", pa.dictionary(pa.int32(), pa.string()), nullable=False),
    pa.field("confidence", pa.float32(), nullable=False),
    pa.field("balanced", pa.bool_(), nullable=False),
)


def samples_schema(columns: Sequence[str]) -> pa.Schema:
    """The Arrow schema of stored samples: who a row is, then each column of x as float32."""
    return pa.schema([*_RIDE_ALONG, *(pa.field(name, pa.float32(), nullable=False) for name in columns)])


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
    return Samples(**arrays, attack=strings(rows.column("attack")), x=x, columns=names)


def strings(column: pa.ChunkedArray) -> NDArray[np.object_]:
    """(n,) str objects of a column of dictionaries, None where it has none; equal ones are the same object."""
    encoded = column.unify_dictionaries().combine_chunks()
    words = np.array([*encoded.dictionary.to_pylist(), None], dtype=object)
    return words[encoded.indices.fill_null(len(words) - 1).to_numpy()]  # type: ignore[no-any-return]


def encode_model(description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> tuple[bytes, bytes]:
    """A model as the contents of two files: JSON, which names the weights that it belongs to, and safetensors."""
    weights = save_tensors({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    return encode_json({**description, "weights_sha256": hashlib.sha256(weights).hexdigest()}), weights


def decode_model(stem: Path, about: bytes, weights: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What ``encode_model`` made the two contents of.

    Raises:
        ArtifactError: a part is damaged, or belongs to another model; it names the files of ``stem``.
    """
    paths = _model(stem)
    try:
        description = json.loads(about)
        if not isinstance(description, dict):
            raise ValueError(f"a JSON object is expected, not {type(description).__name__}")
    except ValueError as error:
        raise _unreadable(paths[0], error) from error
    try:
        arrays = load_tensors(weights)
    except SafetensorError as error:
        raise _unreadable(paths[1], error) from error
    if description.pop("weights_sha256", None) != hashlib.sha256(weights).hexdigest():
        remedy = "run `dvc repro` to make both again"
        raise ArtifactError(f"{paths[1]}: are not the weights that {paths[0]} names; {remedy}")
    return description, arrays


def write_model(stem: Path, description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Store a model as ``stem.safetensors`` and ``stem.json``, which names the weights that it belongs to."""
    about, weights = encode_model(description, arrays)
    paths = _model(stem)
    write_bytes(paths[1], weights)
    write_bytes(paths[0], about)


def read_model(stem: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What ``write_model`` stored.

    Raises:
        ArtifactError: a part is absent, damaged, or belongs to another model.
    """
    return decode_model(stem, *map(read_bytes, _model(stem)))


def _unreadable(path: Path, error: Exception) -> ArtifactError:
    state = "is absent" if not path.exists() else f"cannot be read ({error})"
    return ArtifactError(f"{path}: {state}; run `dvc repro` to make it again")

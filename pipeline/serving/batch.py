"""New records, judged: one Parquet for each file that came in, named by the file, its content and the model version.

::

    data/scored/KEY.parquet             a row for each record: who it is, its scores, p-value and verdict
    data/scored/rejected/KEY.parquet    rows that could not be read, with the reason
    data/scored/samples/KEY.parquet     raw columns of a few records, for the watch on drift
    data/scored/summaries/KEY.json      counts, and the sha256 of what came in and of the three above

The first three are the same bytes however often a file is scored. What changes from run to run, such as the time,
stands in the summary alone. The summary appears last. A file counts as scored when its summary names the sha256 of its
whole content and the three tables have the hashes that stand there. What a power cut or a full disk cut short does not
count, and is scored again. Only this user may enter the folder.

Drift of features needs raw columns of recent records. A small sample of them is kept, because the files that came in
may be gone by then, and copies of all of them would be as large as they are.
"""

import lzma
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.stats import binom

from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json, sha256_of, write_json
from pipeline.artifacts.tables import TableWriter, read_table
from pipeline.base import durable
from pipeline.base.errors import ArtifactError, DataError, RejectedError, SchemaError, SourceError
from pipeline.calibration.calibration import Calibration
from pipeline.calibration.prediction import Prediction
from pipeline.datasets.base import REJECTED_SCHEMA, Chunk, Dataset
from pipeline.datasets.incoming import WHO, incoming
from pipeline.serving import discoveries
from pipeline.serving.arrivals import Incoming, content_hash
from pipeline.serving.bundle import Bundle

SAMPLE: Final = 2_000  # records of a file whose raw columns are kept
TABLES: Final = (".", "rejected", "samples")
BROKEN: Final = (  # what the libraries raise over bytes that are not what they should be
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    UnicodeError,
    NotImplementedError,
    pa.ArrowException,
)
_WORD = pa.dictionary(pa.int32(), pa.string())
SCHEMA: Final = pa.schema(
    [
        pa.field("record_id", pa.uint64()),
        pa.field("source_file", _WORD),
        pa.field("row", pa.int64()),
        pa.field("score", pa.float64()),
        pa.field("p_value", pa.float64()),
        pa.field("confidence", pa.float32()),
        pa.field("verdict", _WORD),
        pa.field("group", _WORD),
        pa.field("margin", pa.float64()),
        pa.field("density", pa.float64()),
        pa.field("head", pa.float64()),
        pa.field("model_version", pa.int32()),
        discoveries.FIELD,
    ]
)


def is_scored(file: Incoming, version: int) -> bool:
    """Whether this content was scored by this version, under whatever name, and all that was written is still whole."""
    summaries = (paths.SCORED / "summaries").glob(f"*-{file.sha256}-v{version}.json")
    return any(_told(path.stem, file.sha256) is not None for path in summaries)


def _told(key: str, sha256: str | None = None) -> dict[str, Any] | None:
    """The summary of a file that was scored; None where it, or one of the tables that it names, is not whole."""
    try:
        summary = read_json(paths.SCORED / "summaries" / f"{key}.json")
        hashes = summary["tables"]
        whole = all(sha256_of(_table_path(key, room)) == digest for room, digest in hashes.items())
    except (ArtifactError, KeyError, TypeError, AttributeError):
        return None
    fits = summary.get("source_sha256") == sha256 or sha256 is None
    return summary if whole and hashes and fits else None


def _table_path(key: str, room: str) -> Path:
    return paths.SCORED / room / f"{key}.parquet"


def check(file: Incoming, bundle: Bundle) -> None:
    """Refuse a file that lacks a column, before a record is read.

    Raises:
        SourceError: it cannot be read.
        SchemaError: with the columns that are missing, and near misses.
    """
    bundle.require([column.name for column in _reader(file, bundle).columns])


def score(
    file: Incoming, bundle: Bundle, version: int, flow_run: str = "", false_discovery: float | None = None
) -> dict[str, Any]:
    """Judge the records of a file, some at a time; returns the summary.

    Args:
        file: what to read.
        bundle: what judges.
        version: its number in the registry.
        flow_run: the Prefect flow run that asks, for the summary.
        false_discovery: level of the batch decision over the file, None for none; see ``pipeline.serving.discoveries``.

    Raises:
        SourceError: it cannot be read to its end, or changes meanwhile; nothing is written.
        SchemaError: it lacks a column.
        RejectedError: not one of its rows can be read.
    """
    key = file.key(version)
    durable.make_private(paths.SCORED)
    tally, sample = _Tally(bundle.calibration), _Sample(SAMPLE)
    p_values = [np.zeros(0)]
    about = {"version": str(version), "digest": bundle.digest, "source_sha256": file.sha256}
    schema = SCHEMA.with_metadata({f"flowsculpt.{name}": text for name, text in about.items()})
    with (
        TableWriter(_table_path(key, "."), schema) as scored,
        TableWriter(_table_path(key, "rejected"), REJECTED_SCHEMA) as rejected,
    ):
        for chunk in _chunks(file, bundle):
            judged = _judged(file, bundle, chunk.records)
            scored.write(_table(file, chunk.records, judged, version))
            rejected.write(chunk.rejected)
            tally.add(judged, chunk.rejected)
            p_values.append(judged.p_value)
            sample.add(chunk.records, judged.score, [column.name for column in bundle.columns])
        tally.require(file)
        if content_hash(file.path) != file.sha256:
            raise SourceError(f"{file.path}: changed while it was read; nothing was written; score it again")
    batch = {}
    if false_discovery is not None:
        n = bundle.calibration.reference.size
        p_value = np.concatenate(p_values)
        batch["batch"] = discoveries.mark(_table_path(key, "."), p_value, false_discovery, n)
    sample.save(_table_path(key, "samples"))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    tables = {room: sha256_of(_table_path(key, room)) for room in TABLES}
    summary = {
        "source": file.name,
        **about,
        "version": version,
        "flow_run": flow_run,
        "time": now,
        **tally.told(),
        **batch,
    }
    write_json(paths.SCORED / "summaries" / f"{key}.json", {**summary, "tables": tables})
    return summary


def _chunks(file: Incoming, bundle: Bundle) -> Iterator[Chunk]:
    """What can be read of a file.

    Raises:
        SourceError: a library gave up on its bytes.
        SchemaError: two of its columns have one name.
    """
    try:
        for chunk in _reader(file, bundle).read():
            twice = [name for name, count in Counter(chunk.records.column_names).items() if count > 1]
            if twice:
                raise SchemaError(f"{file.path}: two columns are called {twice[0]!r}; rename one")
            yield chunk
    except MemoryError:
        raise
    except BROKEN as error:
        told = f"{type(error).__name__}: {error}"
        raise SourceError(f"{file.path}: cannot be read ({told}); fetch the file again") from error


def _judged(file: Incoming, bundle: Bundle, records: pa.Table) -> Prediction:
    """What the model says.

    Raises:
        SchemaError: the model refuses the records, though it judges a typical one.
        DataError: it refuses that one too.
    """
    try:
        return bundle.predict(records)
    except DataError as error:
        bundle.predict({name: np.array([value]) for name, value in bundle.sealed.about["example"].items()})
        raise SchemaError(f"{file.path}: {error}") from error


@dataclass(frozen=True)
class Recent:
    """The last records that a version judged, oldest first.

    Attributes:
        record_id: (n,).
        score: (n,).
        samples: raw columns and scores of some of them.
        files: how many files they came in.
    """

    record_id: NDArray[np.uint64]
    score: NDArray[np.float64]
    samples: pa.Table | None
    files: int


def recent(version: int, records: int) -> Recent:
    """The last ``records`` records that ``version`` judged; what is no longer whole is passed over.

    Raises:
        ArtifactError: a file cannot be read.
    """
    tables, samples, left = [], [], records
    for key in reversed(_keys(version)):
        if left <= 0:
            break
        if _told(key) is None:
            continue
        table = read_table(_table_path(key, "."), ["record_id", "score"])
        tables.append(table.slice(max(0, table.num_rows - left)))
        samples.append(read_table(_table_path(key, "samples")))
        left -= table.num_rows
    schema = pa.schema([SCHEMA.field("record_id"), SCHEMA.field("score")])
    whole = pa.concat_tables([schema.empty_table(), *(each.replace_schema_metadata() for each in reversed(tables))])
    ids, scores = (whole.column(name).to_numpy() for name in ("record_id", "score"))
    return Recent(ids, scores, pa.concat_tables(samples) if samples else None, len(tables))


def _keys(version: int) -> list[str]:
    """Of the files that ``version`` judged, in the order in which it did."""
    times = {}
    for path in (paths.SCORED / "summaries").glob(f"*-v{version}.json"):
        with suppress(ArtifactError, KeyError, TypeError):  # a summary that is not whole: the file does not count
            times[path.stem] = str(read_json(path)["time"])
    return sorted(times, key=lambda key: (times[key], key))


def _reader(file: Incoming, bundle: Bundle) -> Dataset:
    return incoming(file.path, bundle.dataset.split(" ")[0], bundle.columns)


def _table(file: Incoming, records: pa.Table, judged: Prediction, version: int) -> pa.Table:
    who = _who(file, records)
    said = {name: getattr(judged, name) for name in ("score", "p_value", "confidence", "margin", "density", "head")}
    verdict = pa.array(judged.verdict.tolist(), pa.string()).dictionary_encode()
    group = pa.array(judged.group.tolist(), pa.string()).dictionary_encode()
    number, none = np.full(records.num_rows, version, dtype=np.int32), pa.nulls(records.num_rows, pa.bool_())
    return pa.Table.from_pydict(
        {**who, **said, "verdict": verdict, "group": group, "model_version": number, discoveries.FIELD.name: none},
        schema=SCHEMA,
    )


def _who(file: Incoming, records: pa.Table) -> dict[str, pa.ChunkedArray]:
    """What tells the records apart, refused where it does not."""
    who = {}
    for name in WHO:
        column, kind = records.column(name), SCHEMA.field(name).type
        try:
            who[name] = column if pa.types.is_dictionary(kind) else column.cast(kind)
        except pa.ArrowException as error:
            raise SchemaError(
                f"{file.path}: column {name!r} holds {column.type}, allowed is {kind}: {error}"
            ) from error
        if column.null_count:
            raise SchemaError(f"{file.path}: column {name!r} is empty in {column.null_count:,} records")
    return who


class _Tally:
    """Counts of what was judged."""

    def __init__(self, calibration: Calibration) -> None:
        self.verdicts: Counter[str] = Counter(benign=0, unknown=0, anomalous=0)
        self.alarms: Counter[str] = Counter(dict.fromkeys(calibration.thresholds, 0))
        self.reasons: Counter[str] = Counter()

    def add(self, judged: Prediction, rejected: pa.Table) -> None:
        self.verdicts.update(judged.verdict.tolist())
        for name in self.alarms:
            self.alarms[name] += int(judged.flagged[name].sum())
        self.reasons.update(rejected.column("reason").to_pylist())

    def require(self, file: Incoming) -> None:
        """Refuse a file of which nothing can be read."""
        if not self.verdicts.total():
            reason, _ = (self.reasons.most_common(1) or [("there is none", 0)])[0]
            raise RejectedError(f"{file.path}: not one of {self.reasons.total():,} rows can be read, because {reason}")

    def told(self) -> dict[str, Any]:
        """Counts, and how many alarms there would be if every record were benign."""
        n = self.verdicts.total()
        return {
            "records": n,
            "rejected": self.reasons.total(),
            "verdicts": dict(self.verdicts),
            "alarms": {name: {"alarms": count, **expected(name, n)} for name, count in self.alarms.items()},
        }


def expected(threshold: str, n: int, level: float = 0.95) -> dict[str, float]:
    """How many of ``n`` benign records a threshold such as ``p99`` flags, with the binomial interval of that number."""
    nominal = 1 - float(threshold.removeprefix("p")) / 100
    low, high = binom.interval(level, n, nominal)
    return {"expected": round(n * nominal, 1), "low": int(low), "high": int(high)}


class _Sample:
    """The records of the smallest ids, which are hashes: a random sample, whatever the order and the batches."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.kept: pa.Table | None = None

    def add(self, records: pa.Table, score: NDArray[np.float64], columns: list[str]) -> None:
        new = records.select(["record_id", *columns]).append_column("score", pa.array(score))
        new = pa.table({name: _plain(new.column(name)) for name in new.column_names})
        both = new if self.kept is None else pa.concat_tables([self.kept, new])
        order = pc.sort_indices(both, sort_keys=[("record_id", "ascending")])
        self.kept = both.take(order.slice(0, self.size)).combine_chunks()

    def save(self, path: Path) -> None:
        if self.kept is not None:
            with TableWriter(path, self.kept.schema) as writer:
                writer.write(self.kept)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column

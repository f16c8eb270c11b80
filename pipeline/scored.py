"""New records, judged: one Parquet for each file that came in, named by the file, its content and the model version.

::

    data/scored/NAME.parquet             a row for each record: who it is, its scores, p-value and verdict
    data/scored/rejected/NAME.parquet    rows that could not be read, with the reason
    data/scored/samples/NAME.parquet     raw columns of a few records, for the watch on drift
    data/scored/summaries/NAME.json      counts; what changes from run to run, such as the time, stands here alone

The first three are the same bytes however often a file is scored. The first appears last, when all is well: what is
there is complete. Drift of features needs raw columns of recent records; a small sample of them is kept, because the
files that came in may be gone by then, and copies of all of them would be as large as they are.
"""

import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.stats import binom

from pipeline import artifacts
from pipeline.bundle import Bundle
from pipeline.datasets.base import REJECTED_SCHEMA, Dataset
from pipeline.datasets.incoming import SUFFIXES, incoming
from pipeline.errors import ArtifactError, RejectedError, SourceError, near_miss
from pipeline.inference import Calibration, Judgement

SAMPLE: Final = 2_000  # records of a file whose raw columns are kept
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
    ]
)


@dataclass(frozen=True)
class Incoming:
    """A file with new records.

    Attributes:
        path: where it lies.
        name: below the folder that was named, else the name of the file.
        sha256: of its bytes.
    """

    path: Path
    name: str
    sha256: str

    def key(self, version: int) -> str:
        """What its judged records are called."""
        return f"{re.sub(r'[^A-Za-z0-9.+_]+', '-', self.name)}-{self.sha256[:12]}-v{version}"


def find(path: Path) -> list[Incoming]:
    """The files with new records under ``path``, one or a folder of them, in the order of their names.

    Raises:
        SourceError: it is absent, holds no such file, or cannot be read.
    """
    if not path.exists():
        siblings = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        raise SourceError(f"{path}: no such file or folder{near_miss(path.name, siblings)}")
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    found = [file for file in files if file.name.lower().endswith(SUFFIXES) and not file.name.startswith(".")]
    if not found:
        kind = "is no" if path.is_file() else "holds no"
        raise SourceError(f"{path}: {kind} table of records; read are {', '.join(SUFFIXES)} files")
    return [Incoming(file, _name(file, path), content_hash(file)) for file in found]


def content_hash(file: Path) -> str:
    """sha256 of the bytes of a file, in hexadecimal digits.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        return artifacts.sha256(file)
    except ArtifactError as error:
        raise SourceError(f"{file}: cannot be read ({error}); check its rights or fetch it again") from error


def is_scored(file: Incoming, version: int) -> bool:
    """Whether this content was scored by this version, under whatever name."""
    return any(artifacts.SCORED.glob(f"*-{file.sha256[:12]}-v{version}.parquet"))


def check(file: Incoming, bundle: Bundle) -> None:
    """Refuse a file that lacks a column, before a record is read.

    Raises:
        SourceError: it cannot be read.
        SchemaError: with the columns that are missing, and near misses.
    """
    bundle.require([column.name for column in _reader(file, bundle).columns])


def score(file: Incoming, bundle: Bundle, version: int, flow_run: str = "") -> dict[str, Any]:
    """Judge the records of a file, some at a time; returns the summary.

    Args:
        file: what to read.
        bundle: what judges.
        version: its number in the registry.
        flow_run: the Prefect flow run that asks, for the summary.

    Raises:
        SourceError: it cannot be read to its end, or changes meanwhile; nothing is written.
        SchemaError: it lacks a column.
        RejectedError: not one of its rows can be read.
    """
    key = file.key(version)
    tally, sample = _Tally(bundle.calibration), _Sample(SAMPLE)
    about = {"version": str(version), "digest": bundle.digest, "source_sha256": file.sha256}
    schema = SCHEMA.with_metadata({f"flowsculpt.{name}": text for name, text in about.items()})
    with artifacts.TableWriter(artifacts.SCORED / f"{key}.parquet", schema) as scored:
        with artifacts.TableWriter(artifacts.SCORED / "rejected" / f"{key}.parquet", REJECTED_SCHEMA) as rejected:
            for chunk in _reader(file, bundle).read():
                judged = bundle.judge(chunk.records)
                scored.write(_table(chunk.records, judged, version))
                rejected.write(chunk.rejected)
                tally.add(judged, chunk.rejected)
                sample.add(chunk.records, judged.score, [column.name for column in bundle.columns])
            tally.require(file)
            if content_hash(file.path) != file.sha256:
                raise SourceError(f"{file.path}: changed while it was read; nothing was written; score it again")
        sample.save(artifacts.SCORED / "samples" / f"{key}.parquet")
        time = datetime.now(UTC).isoformat(timespec="seconds")
        summary = {"source": file.name, **about, "version": version, "flow_run": flow_run, "time": time, **tally.told()}
        artifacts.write_json(artifacts.SCORED / "summaries" / f"{key}.json", summary)
    return summary


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
    """The last ``records`` records that ``version`` judged.

    Raises:
        ArtifactError: a file cannot be read.
    """
    tables, samples, left = [], [], records
    for key in reversed(_keys(version)):
        if left <= 0:
            break
        table = artifacts.read_table(artifacts.SCORED / f"{key}.parquet", ["record_id", "score"])
        tables.append(table.slice(max(0, table.num_rows - left)))
        samples.append(artifacts.read_table(artifacts.SCORED / "samples" / f"{key}.parquet"))
        left -= table.num_rows
    schema = pa.schema([SCHEMA.field("record_id"), SCHEMA.field("score")])
    whole = pa.concat_tables([schema.empty_table(), *(each.replace_schema_metadata() for each in reversed(tables))])
    ids, scores = (whole.column(name).to_numpy() for name in ("record_id", "score"))
    return Recent(ids, scores, pa.concat_tables(samples) if samples else None, len(tables))


def _keys(version: int) -> list[str]:
    """Of the files that ``version`` judged, in the order in which it did."""
    keys = [path.stem for path in artifacts.SCORED.glob(f"*-v{version}.parquet")]
    return sorted(
        keys, key=lambda key: (artifacts.read_json(artifacts.SCORED / "summaries" / f"{key}.json")["time"], key)
    )


def _name(file: Path, root: Path) -> str:
    return file.name if file == root else file.relative_to(root).as_posix()


def _reader(file: Incoming, bundle: Bundle) -> Dataset:
    return incoming(file.path, bundle.dataset.split(" ")[0], bundle.columns)


def _table(records: pa.Table, judged: Judgement, version: int) -> pa.Table:
    who = {name: records.column(name) for name in ("record_id", "source_file", "row")}
    said = {name: getattr(judged, name) for name in ("score", "p_value", "confidence", "margin", "density", "head")}
    verdict = pa.array(judged.verdict.tolist(), pa.string()).dictionary_encode()
    group = pa.array(judged.group.tolist(), pa.string()).dictionary_encode()
    number = np.full(records.num_rows, version, dtype=np.int32)
    return pa.Table.from_pydict(
        {**who, **said, "verdict": verdict, "group": group, "model_version": number}, schema=SCHEMA
    )


class _Tally:
    """Counts of what was judged."""

    def __init__(self, calibration: Calibration) -> None:
        self.verdicts: Counter[str] = Counter(benign=0, unknown=0, anomalous=0)
        self.alarms: Counter[str] = Counter(dict.fromkeys(calibration.thresholds, 0))
        self.reasons: Counter[str] = Counter()

    def add(self, judged: Judgement, rejected: pa.Table) -> None:
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
            with artifacts.TableWriter(path, self.kept.schema) as writer:
                writer.write(self.kept)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column

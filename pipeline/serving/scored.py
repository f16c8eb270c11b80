"""Records that were scored, as they lie on disk: where they are, whether they are whole, the last of them.

Each summary has a number, one more than the summary before it. Their order is that of the numbers, and no clock decides
it. A summary of an older flowsculpt has none: such ones come first, in the order of their times.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.artifacts.files import read_json, sha256_of
from pipeline.artifacts.tables import read_table, strings
from pipeline.base import durable
from pipeline.base.errors import ArtifactError
from pipeline.base.temporary import shared_with
from pipeline.calibration.named_thresholds import Names
from pipeline.datasets.base import PROVENANCE_FIELDS
from pipeline.datasets.schema import ENDPOINTS
from pipeline.serving import arrivals, discoveries, own_model
from pipeline.serving.arrivals import Incoming

TABLES: Final = (".", "rejected", "samples", "alerts", "records")
SEQUENCE: Final = "sequence"  # holds the number of the last summary
Place = tuple[int, str]  # of a summary in the order in which files were scored: its number, else its time
PASTS: Final = "pasts"  # the room of what may be gone by now; see ``carried_past``
PRUNED: Final = "pruned"  # summaries of files whose tables were removed; see ``retention``
_WORD = pa.dictionary(pa.int32(), pa.string())
SCHEMA: Final = pa.schema(
    [
        pa.field("record_id", pa.uint64()),
        pa.field("source_file", _WORD),
        pa.field("row", pa.int64()),
        *(field for field in PROVENANCE_FIELDS if field.name in ENDPOINTS),
        pa.field("score", pa.float64()),
        pa.field("p_value", pa.float64()),
        pa.field("confidence", pa.float32()),
        pa.field("verdict", _WORD),
        pa.field("group", _WORD),
        pa.field("margin", pa.float64()),
        pa.field("detector", pa.float64()),
        pa.field("head", pa.float64()),
        pa.field("context", pa.float64()),
        pa.field("model_version", pa.int32()),
        discoveries.FIELD,
    ]
)


def table_path(key: str, room: str = ".") -> Path:
    """Where a table of a file that was scored lies; ``room`` is one of ``TABLES``."""
    return own_model.scored() / room / f"{key}.parquet"


def summary_path(key: str) -> Path:
    """Where the summary of a file that was scored lies."""
    return own_model.scored() / "summaries" / f"{key}.json"


def key_of(summary: Mapping[str, Any]) -> str:
    """What the tables are called of a file with this summary."""
    return arrivals.key_of(summary["source"], summary["source_sha256"], summary["version"])


def pruned_folder() -> Path:
    """Where the summaries of files lie whose tables were removed."""
    return own_model.scored() / PRUNED


def summaries() -> dict[str, dict[str, Any]]:
    """Key -> summary of each file that was scored, in the order in which they were; their tables may be gone."""
    found: dict[str, dict[str, Any]] = {}
    for path in (own_model.scored() / "summaries").glob("*.json"):
        with suppress(ArtifactError):  # it is being written
            if isinstance(about := read_json(path), dict):
                found[path.stem] = about
    return dict(sorted(found.items(), key=lambda each: (_place(each[1]), each[0])))


def since(moment: float) -> dict[str, dict[str, Any]]:
    """Key -> summary of each file that was scored at a moment, in seconds since 1970, or later."""
    found: dict[str, dict[str, Any]] = {}
    for path in (own_model.scored() / "summaries").glob("*.json"):
        with suppress(ArtifactError, FileNotFoundError):  # it is being written, or pruned
            if path.stat().st_mtime >= moment and isinstance(about := read_json(path), dict):
                found |= {path.stem: about} if time_of(about, path.stem) >= moment else {}
    return found


def time_of(summary: Mapping[str, Any], key: str) -> float:
    """When a file was scored, in seconds since 1970; where the summary does not say it, when that was written."""
    with suppress(ValueError, TypeError):
        return datetime.fromisoformat(summary.get("time", "")).timestamp()
    return summary_path(key).stat().st_mtime


def next_number() -> int:
    """The number of the next summary, 1 for the first; processes that ask at once get different ones.

    Raises:
        ArtifactError: it cannot be noted down.
    """
    path = own_model.scored() / SEQUENCE
    with durable.refusals(path):
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666 & shared_with(path))
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            noted = os.pread(file, 20, 0).strip()
            number = 1 + (int(noted) if noted.isdigit() else max((place[0] for place in _places().values()), default=0))
            os.pwrite(file, b"%019d\n" % number, 0)
            os.fsync(file)
        finally:
            os.close(file)
    return number


def _place(summary: Mapping[str, Any]) -> Place:
    number = summary.get("number")
    return number if isinstance(number, int) else 0, str(summary.get("time", ""))


def is_scored(file: Incoming, version: int | None = None) -> bool:
    """Whether this content was scored, under whatever name, and all that was written is still whole.

    Args:
        file: what came in.
        version: that scored it; None: any version of the model, also if its tables were removed since.
    """
    return summary(file, version) is not None or (version is None and is_pruned(file))


def is_pruned(file: Incoming) -> bool:
    """Whether this content was scored, and its tables were removed since."""
    return any(pruned_folder().glob(f"*-{file.sha256}-v*.json"))


def _whole_summary(key: str, sha256: str | None = None) -> dict[str, Any] | None:
    """The summary of a file that was scored; None where it, or one of the tables that it names, is not whole."""
    try:
        summary = read_json(summary_path(key))
        hashes = summary["tables"]
        there = (room for room in hashes if room != PASTS or table_path(key, room).exists())
        whole = all(sha256_of(table_path(key, room)) == hashes[room] for room in there)
    except (ArtifactError, KeyError, TypeError, AttributeError):
        return None
    fits = summary.get("source_sha256") == sha256 or sha256 is None
    return summary if whole and hashes and fits else None


def hash_of(key: str, room: str) -> str:
    """The sha256 of a table of a file that was scored, by its summary; "" where that does not say it."""
    with suppress(ArtifactError, KeyError, TypeError):
        return str(read_json(summary_path(key))["tables"][room])
    return ""


def summary(file: Incoming, version: int | None = None) -> dict[str, Any] | None:
    """The summary of this content by a version, under whatever name it came; None where it was not scored.

    Args:
        file: what came in.
        version: that scored it; None: whichever scored it last.
    """
    by = "*" if version is None else version
    written = sorted((own_model.scored() / "summaries").glob(f"*-{file.sha256}-v{by}.json"))
    found = [each for path in written if (each := _whole_summary(path.stem, file.sha256)) is not None]
    return max(found, key=_place, default=None)


@dataclass(frozen=True)
class Recent:
    """The last records that a version judged, oldest first.

    Attributes:
        record_id: (n,).
        score: (n,).
        samples: raw columns and scores of some of them.
        files: how many files they came in.
        group: (n,) names of the decisions that judged them, see ``Calibration.deciding``.
    """

    record_id: NDArray[np.uint64]
    score: NDArray[np.float64]
    samples: pa.Table | None
    files: int
    group: Names


def recent(version: int, records: int) -> Recent:
    """The last ``records`` records that ``version`` judged; what is no longer whole is passed over.

    Raises:
        ArtifactError: a file cannot be read.
    """
    tables, samples, left = [], [], records
    for key in reversed(_keys(version)):
        if left <= 0:
            break
        if _whole_summary(key) is None:
            continue
        table = read_table(table_path(key), ["record_id", "score", "group"])
        tables.append(table.slice(max(0, table.num_rows - left)))
        samples.append(read_table(table_path(key, "samples")))
        left -= table.num_rows
    schema = pa.schema([SCHEMA.field(name) for name in ("record_id", "score", "group")])
    whole = pa.concat_tables([schema.empty_table(), *(each.replace_schema_metadata() for each in reversed(tables))])
    ids, scores = (whole.column(name).to_numpy() for name in ("record_id", "score"))
    return Recent(ids, scores, _joined(samples), len(tables), strings(whole.column("group")))


def _joined(samples: list[pa.Table]) -> pa.Table | None:
    """The columns that all samples have, which the model that scored them reads; None for no samples."""
    if not samples:
        return None
    shared = set.intersection(*({*each.schema} for each in samples))
    names = [field.name for field in samples[0].schema if field in shared]
    return pa.concat_tables([each.select(names).replace_schema_metadata() for each in samples])


@dataclass(frozen=True)
class Sampled:
    """A file that was scored, and what is kept of its raw records.

    Attributes:
        source: its name as it came.
        sha256: of its bytes.
        is_foreign: whether another tool wrote it than the records that the model was fitted on, or in other units.
        records: a random sample: ids, scores, raw columns and, as far as they are known, who talked to whom and when.
        past: over which past the contexts look back that are kept of these; None where none are.
    """

    source: str
    sha256: str
    is_foreign: bool
    records: pa.Table
    past: Mapping[str, Any] | None = None


def last_samples(serving: int | None) -> Iterator[Sampled]:
    """The samples of the files that were scored by any version, the file that came last first.

    A content that was scored by several versions comes once, at the place where it was first scored: as ``serving``
    read it, or else as the last version did. What is no longer whole is passed over.

    Args:
        serving: number of the version that serves, None where none does.

    Raises:
        ArtifactError: a sample cannot be read.
    """
    first: dict[str, Place] = {}
    chosen: dict[str, tuple[bool, Place, str]] = {}
    for path in (own_model.scored() / "summaries").glob("*.json"):
        with suppress(ArtifactError, KeyError, TypeError):  # a summary that is not whole: the file does not count
            about = read_json(path)
            sha256, place = str(about["source_sha256"]), _place(about)
            rank = (about["version"] == serving, place, path.stem)
            chosen[sha256] = max(rank, chosen.get(sha256, rank))
            first[sha256] = min(place, first.get(sha256, place))
    for sha256 in sorted(chosen, key=lambda each: (first[each], chosen[each]), reverse=True):
        key = chosen[sha256][-1]
        if (found := _whole_summary(key)) is not None:
            is_foreign = bool(found.get("contract", {}).get("foreign", False))
            records, past = read_table(table_path(key, "samples")), found.get("context")
            yield Sampled(str(found["source"]), sha256, is_foreign, records, past)


def _keys(version: int) -> list[str]:
    """Of the files that ``version`` judged, in the order in which it did."""
    places = _places(f"*-v{version}.json")
    return sorted(places, key=lambda key: (places[key], key))


def _places(names: str = "*.json") -> dict[str, Place]:
    """The places of summaries, by their keys; one that is not whole does not count."""
    found = {}
    for path in (own_model.scored() / "summaries").glob(names):
        with suppress(ArtifactError, AttributeError):  # it holds no object of JSON
            found[path.stem] = _place(read_json(path))
    return found

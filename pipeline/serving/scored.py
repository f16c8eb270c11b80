"""Records that were scored, as they lie on disk: where they are, whether they are whole, the last of them."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json, sha256_of
from pipeline.artifacts.tables import read_table
from pipeline.base.errors import ArtifactError
from pipeline.datasets.base import PROVENANCE_FIELDS
from pipeline.datasets.schema import ENDPOINTS
from pipeline.serving import discoveries
from pipeline.serving.arrivals import Incoming

TABLES: Final = (".", "rejected", "samples", "alerts")
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
        pa.field("model_version", pa.int32()),
        discoveries.FIELD,
    ]
)


def table_path(key: str, room: str = ".") -> Path:
    """Where a table of a file that was scored lies; ``room`` is one of ``TABLES``."""
    return paths.SCORED / room / f"{key}.parquet"


def summary_path(key: str) -> Path:
    """Where the summary of a file that was scored lies."""
    return paths.SCORED / "summaries" / f"{key}.json"


def is_scored(file: Incoming, version: int) -> bool:
    """Whether this content was scored by this version, under whatever name, and all that was written is still whole."""
    return summary(file, version) is not None


def _whole_summary(key: str, sha256: str | None = None) -> dict[str, Any] | None:
    """The summary of a file that was scored; None where it, or one of the tables that it names, is not whole."""
    try:
        summary = read_json(summary_path(key))
        hashes = summary["tables"]
        whole = all(sha256_of(table_path(key, room)) == digest for room, digest in hashes.items())
    except (ArtifactError, KeyError, TypeError, AttributeError):
        return None
    fits = summary.get("source_sha256") == sha256 or sha256 is None
    return summary if whole and hashes and fits else None


def summary(file: Incoming, version: int) -> dict[str, Any] | None:
    """The summary of this content by this version, under whatever name it came; None where it was not scored."""
    written = sorted((paths.SCORED / "summaries").glob(f"*-{file.sha256}-v{version}.json"))
    found = (_whole_summary(path.stem, file.sha256) for path in written)
    return next((each for each in found if each is not None), None)


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
        if _whole_summary(key) is None:
            continue
        table = read_table(table_path(key), ["record_id", "score"])
        tables.append(table.slice(max(0, table.num_rows - left)))
        samples.append(read_table(table_path(key, "samples")))
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

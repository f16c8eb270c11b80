"""Tables of scored files in an object store: each file whole, its summary last.

::

    scoring.output/KEY.parquet                 what is in data/scored, under the same names
    scoring.output/csv/KEY.csv                 where there is one
    scoring.output/alerts/KEY.parquet
    scoring.output/rejected/KEY.parquet
    scoring.output/summaries/KEY.json          there once all of the others are

    data/scored/uploaded/KEY.json              where a file was uploaded to, and the hashes of its tables then

Tables are written here first. After each run all that is not in the store yet is uploaded, also what an earlier run
could not upload, and what the watch has written. A table that is uploaded twice is the same object.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from pipeline.artifacts.files import read_json, write_json
from pipeline.base.errors import ArtifactError
from pipeline.objects.address import Address
from pipeline.objects.store import Store
from pipeline.serving import own_model, scored, verdict_csv

FAULT: Final = "scored, but not every table was uploaded; the next run tries again"
ROOMS: Final = (".", "alerts", "rejected")


def pending(output: str) -> Iterator[str]:
    """The keys of the files whose tables are not in the store as they are here, in the order in which they were scored.

    Args:
        output: the address; "" for none, where nothing is to be uploaded.
    """
    return (key for key, _ in _pending(output))


def _pending(output: str) -> Iterator[tuple[str, Any]]:
    """The keys, and the hashes of the tables."""
    for key, about in scored.summaries().items() if output else ():
        tables = about.get("tables")
        if _told(key) != {"output": str(Address.of(output)), "tables": tables}:
            yield key, tables


def upload(output: str) -> int:
    """Upload whatever is not there yet; returns how many files it was.

    Args:
        output: the address; "" for none.

    Raises:
        ConfigError: it is not allowed, or the package for its store is not installed.
        SourceError: the store refuses, or does not answer. What is left is uploaded by the next call.
        ArtifactError: it cannot be noted down.
    """
    done, store = 0, None
    for done, (key, tables) in enumerate(_pending(output), start=1):  # noqa: B007 (how many there were)
        address = Address.of(output)
        store = store or Store(address)
        for room in ROOMS:
            path = scored.table_path(key, room)
            store.put(path, address.below(path.relative_to(own_model.scored()).as_posix()))
        if (path := verdict_csv.path_of(key)).exists():
            store.put(path, address.below(f"{verdict_csv.ROOM}/{path.name}"))
        summary = scored.summary_path(key)
        store.put(summary, address.below(f"summaries/{summary.name}"))
        write_json(_note(key), {"output": str(address), "tables": tables})
    return done


def _note(key: str) -> Path:
    return own_model.scored() / "uploaded" / f"{key}.json"


def _told(key: str) -> Mapping[str, Any]:
    with suppress(ArtifactError):  # it was not uploaded
        found: Mapping[str, Any] = read_json(_note(key))
        return found
    return {}

"""What a file that is scored leaves for the next one: the end of its traffic, as the recent past of its first records.

::

    data/scored/pasts/KEY.parquet         the last records of a file, as far as a window reaches, and the file before
    data/scored/pasts/last-DIGEST.json    the file that a model has scored last

A file goes on where the last one ended if it begins there, or later by at most the longest window. So the first file of
a new model goes on from the last one of another that looks back as far. A file that begins earlier is judged by its own
records alone. Which file one goes on from is decided when it is scored first, and stored
with its own end: scored again, it goes on from the same one, and gives the same bytes. Addresses are stored as hashes.

The ends of the last ``KEPT`` files stay. A file whose predecessor's end is gone, or has other bytes than its summary
says, begins anew. So does the first file after one whose clock was ahead: times in the future are not carried on.
"""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa

from pipeline.artifacts.files import read_json, sha256_of, write_json
from pipeline.artifacts.tables import TableWriter, read_table, table_metadata
from pipeline.base.errors import ArtifactError
from pipeline.preprocessing.context.talks import Talks
from pipeline.serving import own_model, scored
from pipeline.serving.bundle import Bundle
from pipeline.serving.recent_past import RecentPast

ROOM: Final = scored.PASTS
KEPT: Final = 300  # files; of five minutes each, those of a day
_ABOUT: Final = "flowsculpt.past"
_COLUMNS: Final = tuple(each.name for each in fields(Talks))
_SCHEMA: Final = pa.schema([pa.field(name, pa.int64()) for name in _COLUMNS])
_SECOND: Final = 1_000_000
_DAY: Final = 86_400  # seconds by which times may be ahead: they are local ones


@dataclass(frozen=True)
class Before:
    """The end of the file before.

    Attributes:
        key: of that file; "" where there is none.
        talks: its last records, in the order of time.
    """

    key: str
    talks: Talks

    @classmethod
    def nothing(cls) -> Self:
        """No file before."""
        return cls("", Talks.none())


def path_of(key: str) -> Path:
    """Where the end of a file that was scored lies."""
    return own_model.scored() / ROOM / f"{key}.parquet"


def key_of(sha256: str, bundle: Bundle) -> str:
    """The key by which the model has scored a content; "" where it has not."""
    found = (path.stem for path in sorted((own_model.scored() / ROOM).glob(f"*-{sha256}-v*.parquet")))
    return next((key for key in found if _about(key).get("digest") == bundle.digest), "")


def before(key: str, bundle: Bundle, first: int) -> Before:
    """The end of the file that one goes on from.

    Args:
        key: of the file that is scored.
        bundle: the model.
        first: the time of its first record, microseconds since 1970.
    """
    past = bundle.looks_back
    if past is None:
        return Before.nothing()
    known = _about(key)
    last = [known["after"]] if known.get("digest") == bundle.digest else _last_keys(bundle, first, past)
    found = (_read(each) for each in last if _content(each) not in ("", _content(key)))
    return next((end for end in found if end and _goes_on(int(end.talks.time[-1]), first, past)), Before.nothing())


def store(key: str, bundle: Bundle, after: Before, talks: Talks) -> None:
    """Keep the end of a file for the next one.

    Args:
        key: of the file.
        bundle: the model that has scored it.
        after: what it went on from.
        talks: its records with a time and addresses, in any order.
    """
    past, talks = bundle.looks_back, talks.take(talks.time < _tomorrow())
    if past is None or not len(talks):
        return
    end = end_of(Talks.joined(after.talks, talks), past)
    about = {"after": after.key, "digest": bundle.digest, "past": past.about}
    columns = {name: getattr(end, name) for name in _COLUMNS}
    with TableWriter(path_of(key), _SCHEMA.with_metadata({_ABOUT: json.dumps(about)})) as writer:
        writer.write(pa.table(columns, schema=_SCHEMA))
    if int(end.time[-1]) >= _last(_pointer(bundle)).get("time", 0):
        write_json(_pointer(bundle), {"key": key, "time": int(end.time[-1])})
    _remove_old()


def _remove_old() -> None:
    """Remove the ends of all but the last ``KEPT`` files."""
    with suppress(FileNotFoundError):  # another process removes them, too
        found = sorted((own_model.scored() / ROOM).glob("*.parquet"), key=lambda path: path.stat().st_mtime_ns)
        for path in found[:-KEPT]:
            path.unlink()


def _tomorrow() -> int:
    """Microseconds since 1970."""
    return (int(time.time()) + _DAY) * _SECOND


def end_of(talks: Talks, past: RecentPast) -> Talks:
    """The records of the longest window before the last one, in the order of time, and no more than are remembered."""
    talks = last_of(talks, past)
    return talks.take(talks.time > talks.time[-1] - round(past.windows[-1] * _SECOND))


def last_of(talks: Talks, past: RecentPast) -> Talks:
    """The last records, in the order of time, as many as are remembered."""
    talks = talks.take(np.argsort(talks.time, kind="stable"))
    return talks.take(slice(max(0, len(talks) - past.remembered), None))


def _content(key: str) -> str:
    """Which file this is, whatever model has scored it."""
    return key.rpartition("-v")[0]


def _goes_on(end: int, first: int, past: RecentPast) -> bool:
    return 0 <= first - end <= past.windows[-1] * _SECOND


def _pointer(bundle: Bundle) -> Path:
    return own_model.scored() / ROOM / f"last-{bundle.digest[:16]}.json"


def _last_keys(bundle: Bundle, first: int, past: RecentPast) -> list[str]:
    """The files that one may go on from, by their ends: that of the model itself, then those of others."""
    own = _pointer(bundle)
    others = sorted(path for path in own.parent.glob("last-*.json") if path != own)
    ends = [end for path in (own, *others) if (end := _last(path)) and _goes_on(end["time"], first, past)]
    return [end["key"] for end in ends if _about(end["key"]).get("past") == past.about]


def _last(pointer: Path) -> Mapping[str, Any]:
    """The file that a model scored last; nothing where there is none, it is not whole, or lies in the future."""
    with suppress(ArtifactError, KeyError, TypeError):
        found: Mapping[str, Any] = read_json(pointer)
        return found if found["time"] < _tomorrow() else {}
    return {}


def _about(key: str) -> Mapping[str, Any]:
    """What is stored with the end of a file; nothing where there is none, or it is not whole."""
    with suppress(ArtifactError, KeyError, ValueError):
        about: Mapping[str, Any] = json.loads(table_metadata(path_of(key))[_ABOUT])
        return about
    return {}


def _read(key: str) -> Before | None:
    """The end of a file; None where it is not whole, so that the next one begins anew."""
    with suppress(ArtifactError):
        if sha256_of(path_of(key)) != scored.hash_of(key, ROOM):
            return None
        table = read_table(path_of(key), list(_COLUMNS))
        return Before(key, Talks(*(table.column(name).to_numpy() for name in _COLUMNS))) if table.num_rows else None
    return None

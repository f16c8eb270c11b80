"""Asks the registry which version serves, without MLflow: importing it takes longer than to judge a file.

A SQLite store is a file, and is read as one, in one transaction that writes nothing. A server is asked over HTTP by the
routes of MLflow's REST API, with the user and password that MLflow itself would give. Any other store cannot be asked
this way.

Source: tables ``registered_model_aliases``, ``model_versions`` and ``model_version_tags`` of MLflow's SQL store, and
"REST API" of the MLflow manual (mlflow.org/docs/latest/rest-api.html).
"""

import base64
import http.client
import json
import os
import sqlite3
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from pipeline.tracking import store

SECONDS: Final = 5.0  # that an answer may take
_DELETED: Final = "Deleted_Internal"  # stage of a version that was deleted
_ALIASES: Final = "SELECT alias, version FROM registered_model_aliases WHERE name = ? AND workspace = 'default'"
_VERSION: Final = (
    "SELECT run_id, current_stage FROM model_versions WHERE name = ? AND version = ? AND workspace = 'default'"
)
_TAGS: Final = "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ? AND workspace = 'default'"
_ROUTE: Final = "/api/2.0/mlflow"
_AWAY: Final = (502, 503, 504)  # what stands before a server says that it is away
_ABSENT: Final = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


@dataclass(frozen=True)
class Registered:
    """What the registry says of a version.

    Attributes:
        number: 1 for the first.
        run_id: of the run that made it; "" where it does not say.
        tags: all that is written on it.
        aliases: by which it is known.
    """

    number: int
    run_id: str
    tags: Mapping[str, str]
    aliases: tuple[str, ...]


Answer: TypeAlias = Registered | Literal["away", "unknown"] | None
"""A version; None: the registry has no such; away: nobody answers; unknown: this store is not asked this way."""


def ask(model: str, which: str) -> Answer:
    """The version of a model that has an alias or a number.

    Args:
        model: its name in the registry.
        which: an alias, or a number in decimal digits.
    """
    address = store.tracking_address()
    if address.startswith(("http://", "https://")):
        return _of_server(address, model, which)
    if address.startswith("sqlite:///") and "?" not in address:
        return _of_file(Path(address.removeprefix("sqlite:///")), model, which)
    return "unknown"


# A SQLite file.


def _of_file(path: Path, model: str, which: str) -> Answer:
    if not path.is_file():
        return "away"
    try:
        address = f"file:{urllib.parse.quote(str(path.resolve()))}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=SECONDS)) as database, database:
            database.execute("BEGIN")
            return _row(database, model, which)
    except sqlite3.Error:  # locked for long, of another version of MLflow, or damaged: MLflow itself says more
        return "unknown"


def _row(database: sqlite3.Connection, model: str, which: str) -> Registered | None:
    aliases = {alias: int(version) for alias, version in database.execute(_ALIASES, [model])}
    number = aliases.get(which, int(which) if which.isdecimal() else 0)
    of = [model, number]
    found = database.execute(_VERSION, of).fetchone()
    if found is None or found[1] == _DELETED:
        return None
    tags = dict(database.execute(_TAGS, of))
    return Registered(number, found[0] or "", tags, _of(aliases, number))


def _of(aliases: Mapping[str, int], number: int) -> tuple[str, ...]:
    return tuple(sorted(alias for alias, named in aliases.items() if named == number))


# A server.


def _of_server(address: str, model: str, which: str) -> Answer:
    route = "model-versions/get" if which.isdecimal() else "registered-models/alias"
    query = urllib.parse.urlencode({"name": model, ("version" if which.isdecimal() else "alias"): which})
    try:
        found = _got(f"{_route(address)}/{route}?{query}")["model_version"]
        tags = {each["key"]: each.get("value", "") for each in found.get("tags", ())}
        return Registered(int(found["version"]), found.get("run_id") or "", tags, _aliases(found))
    except urllib.error.HTTPError as error:
        with error:
            return "away" if error.code in _AWAY else None if _code(error) in _ABSENT else "unknown"
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        return "away" if isinstance(reason, OSError) and "CERTIFICATE" not in str(reason) else "unknown"
    except (ValueError, KeyError, TypeError, http.client.HTTPException):
        return "unknown"


def _route(address: str) -> str:
    parts = urllib.parse.urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}{_ROUTE}"


def _got(address: str) -> Any:
    request = urllib.request.Request(address)  # noqa: S310 (http or https, see ``ask``)
    for name, value in _credentials():
        request.add_unredirected_header(name, value)  # another server may be where a redirection leads to
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
        return json.load(answer)


def _credentials() -> Iterator[tuple[str, str]]:
    parts = urllib.parse.urlsplit(store.tracking_address())
    user = urllib.parse.unquote(parts.username or "") or os.environ.get(store.USER, "")
    password = urllib.parse.unquote(parts.password or "") or os.environ.get(store.PASSWORD, "")
    if user and password:
        yield "Authorization", f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
    elif token := os.environ.get(store.TOKEN, ""):
        yield "Authorization", f"Bearer {token}"


def _code(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error).get("error_code", ""))
    except (ValueError, AttributeError):
        return ""


def _aliases(found: Mapping[str, Any]) -> tuple[str, ...]:
    """Those of one version, as the server gives them: names, or objects with one."""
    given = found.get("aliases", ())
    return tuple(sorted(each["alias"] if isinstance(each, Mapping) else str(each) for each in given))

"""Where the files of an experiment lie, and what becomes of them when a project's folder is moved.

MLflow writes the address of each run's files into its database. The address of a folder is absolute. A store that was
moved with its project still names the old folder: whoever opens it is refused, or files would lie there again.

The files of an experiment lie in ``mlruns``, or in a folder of it: where a server makes the experiment, MLflow puts the
number of the experiment behind the address. What is moved is ``mlruns``. It need not be there before the first file is.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from pipeline.base import durable
from pipeline.base.errors import ArtifactError, ConfigError

HANDED_OUT: Final = "mlflow-artifacts:"  # by a server; clients never see where the files lie
FOLDER: Final = "mlruns"
KEPT: Final = ".before-relocate"
MEND: Final = "flowsculpt doctor --relocate"
_COLUMNS: Final = (
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("experiments", "artifact_location"),
)


def folder_of(address: str) -> Path | None:
    """The folder of this machine that an address names; None for any other address."""
    parts = urlsplit(address)
    return Path(unquote(parts.path)) if parts.scheme in ("", "file") else None


def base_of(place: Path) -> Path:
    """The ``mlruns`` that a folder is, or lies in; the folder itself where it has another name."""
    return next((each for each in (place, *place.parents) if each.name == FOLDER), place)


def is_in(place: Path, folder: Path) -> bool:
    """Whether a place is a folder or lies in it, whether it was made or not."""
    return place.resolve().is_relative_to(folder.resolve())


def require_here(name: str, address: str, own: str | None) -> None:
    """Refuse an experiment of a store without a server whose files cannot be reached as the store says.

    Args:
        name: of the experiment.
        address: where the store says that its files lie.
        own: where the project keeps files of a fresh experiment.

    Raises:
        ConfigError: the folder is gone, so the project was moved; or a server hands the files out.
    """
    if address.startswith(HANDED_OUT):
        raise ConfigError(
            f"experiment {name}: an MLflow server hands out its files; start it as before, with `flowsculpt serve "
            "--artifacts PLACE`, and run `. .prefect/env`"
        )
    place = folder_of(address)
    fresh = folder_of(own or "s3://")
    if place is None or base_of(place).is_dir() or (fresh and is_in(place, fresh)):
        return
    raise ConfigError(
        f"experiment {name}: its files should lie in {place}, which is not there: the project was moved; run `{MEND}` "
        f"to let the store name {FOLDER} of this folder, or move the project back"
    )


def relocate(root: Path, database: Path, name: str) -> list[str]:
    """Let the store of a project name its folder where it is now; returns what was done, in sentences.

    The database is copied first. Either all addresses are changed, or none.

    Args:
        root: the project.
        database: its store, a SQLite file.
        name: of the project's experiment.

    Raises:
        ConfigError: there is no such store or experiment, its files lie in a folder of another name, or they were not
            moved along.
        ArtifactError: the database cannot be written.
    """
    address, new = _location(database, name), (root / FOLDER).resolve()
    place = folder_of(address)
    if place is None:
        return [f"the files of experiment {name} lie in {address}, which needs no change"]
    if is_in(place, new):
        return [f"the files of experiment {name} lie in {place}, as the store says"]
    old = base_of(place)
    if old.name != FOLDER:
        said = f"the files of experiment {name} lie in {place}, which is no {FOLDER} of a project"
        raise ConfigError(f"{said}; see that this folder is there, nothing else is needed")
    if not new.is_dir():
        raise ConfigError(f"{new} is not there: bring it from {old} first, or make it if no run has left a file")
    try:
        with closing(sqlite3.connect(database, timeout=60)) as here:
            kept = _copied(here, database)
            with here:
                changed = _rewritten(here, str(old), str(new))
    except sqlite3.Error as error:
        raise ArtifactError(f"{database}: cannot be changed ({error}); nothing was") from error
    told = [f"{changed:,} addresses name {new} now, and no longer {old}", f"the store as it was is {kept}"]
    return [*told, f"{old} is still there: nothing in it was changed"] if old.is_dir() else told


def _location(database: Path, name: str) -> str:
    if not database.is_file():
        raise ConfigError(f"{database}: there is no such store")
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as here:
            wanted = "SELECT artifact_location FROM experiments WHERE name = ?"
            found = here.execute(wanted, (name,)).fetchone()
    except sqlite3.Error as error:
        raise ArtifactError(f"{database}: cannot be read as a store of MLflow ({error})") from error
    if not found:
        raise ConfigError(f"{database}: has no experiment {name}, so nothing is to be changed")
    return str(found[0])


def _copied(here: sqlite3.Connection, database: Path) -> Path:
    kept = database.with_name(database.name + KEPT)
    with durable.atomic(kept) as made, closing(sqlite3.connect(made)) as there:
        made.chmod(0o600)
        here.backup(there)
    return kept


def _rewritten(here: sqlite3.Connection, old: str, new: str) -> int:
    """Put one folder in the place of another in all addresses; how many were changed."""
    pairs = [(Path(old).as_uri(), Path(new).as_uri()), (old, new)]
    return sum(_in_column(here, *column, *pair) for column in _COLUMNS for pair in pairs)


def _in_column(here: sqlite3.Connection, table: str, column: str, old: str, new: str) -> int:
    known = {row[1] for row in here.execute(f"PRAGMA table_info({table})")}
    if column not in known:
        return 0
    changed = here.execute(
        f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE {column} = ? OR substr({column}, 1, ?) = ?",  # noqa: S608 (names of _COLUMNS)
        (new, len(old) + 1, old, len(old) + 1, f"{old}/"),
    )
    return changed.rowcount

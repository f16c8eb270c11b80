"""What of a project can be made again from nothing else, as one folder that another disk can hold.

::

    FOLDER/backup.json      when, of which commit, and the sha256 of each file
    FOLDER/project/...      the files, under the names that they have in the project

Records, models of stages and reports are not in it: they lie in DVC's cache, and ``dvc push`` brings them elsewhere.
Nor is the code, which git has. Databases are copied by SQLite itself, so servers may run meanwhile.
"""

import shutil
import sqlite3
import stat
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from flows.runtime import access, reach, repository
from flows.runtime.health.stores import prefect_home
from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json, sha256_of, write_json
from pipeline.base import durable
from pipeline.base.errors import ArtifactError, ConfigError, ConflictError, FlowsculptError
from pipeline.base.temporary import TEMPORARY
from pipeline.tracking import outbox, places, store

FILE: Final = "backup.json"
ROOM: Final = "project"
FORMAT: Final = 1
ASIDE: Final = ".before-restore"
STAGED: Final = ".restoring"
PEOPLE: Final = "mlflow-users-*.db"
SETTINGS: Final = (Path("params.yaml"), Path("dvc.lock"), Path("prefect.yaml"), Path("benchmark.yaml"))
STATE: Final = (
    *(paths.PROMOTIONS, paths.LABELS, paths.SUPPRESSIONS, paths.TRUSTED_KEYS, paths.CELLS, paths.REGISTERED),
    *(paths.SCORED, paths.QUARANTINE, paths.WATCH, Path(store.ARTEFACTS), Path(outbox.FOLDER)),
)
SECRETS: Final = (Path(".flowsculpt"), Path(".prefect") / access.SECRET_FILE, Path(".triage"))
BESIDE: Final = ("-wal", "-shm", "-journal")  # of a SQLite file


def back_up(root: Path, folder: Path, with_keys: bool = False) -> list[str]:
    """Copy what cannot be made again; returns what was copied, in sentences.

    Args:
        root: the project.
        folder: to be made.
        with_keys: copy private keys, the secrets of servers and the logins of people as well.

    Raises:
        ConfigError: the folder is there already, or the root is no project.
        ArtifactError: it cannot be written; then it is not there.
    """
    if not (root / "params.yaml").is_file():
        raise ConfigError(f"{root}: is no project, as there is no params.yaml")
    if folder.exists():
        raise ConfigError(f"{folder}: is there already; give the name of a new folder")
    links = 0
    with durable.whole_folder(folder) as made:
        made.chmod(stat.S_IRWXU)
        for name in (*SETTINGS, *STATE, *(SECRETS if with_keys else ())):  # the log first: what it says must be there
            links += _copy(root / name, made / ROOM / name)
        for name in _databases(root, with_keys):
            _copy_database(root / name, made / ROOM / name)
        files = {path.relative_to(made / ROOM).as_posix(): sha256_of(path) for path in _files(made / ROOM)}
        about = {"format": FORMAT, "time": _now(), "root": str(root.resolve()), "commit": _commit(root)}
        write_json(made / FILE, {**about, "has_keys": with_keys, "files": files})
    size = sum(path.stat().st_size for path in _files(folder))
    keys = "with" if with_keys else "without"
    return [
        f"{folder}: {len(files):,} files, {size / 1e6:,.1f} MB, {keys} private keys and secrets",
        *([f"{links} links are not in it"] if links else []),
        "records and models of stages lie in DVC's cache: `dvc push` brings them to a remote",
    ]


def restore(root: Path, folder: Path, replace: bool = False) -> list[str]:
    """Put a backup into a project; returns what was done, in sentences.

    Everything is copied beside the project's files first. Then each thing takes the place of the old one.

    Args:
        root: the project, at the commit of the backup.
        folder: the backup.
        replace: put what is there already aside, into ``.before-restore``.

    Raises:
        ArtifactError: the folder is no sound backup, or there is no room for it; nothing was changed.
        ConflictError: the project is served, or has something of what the backup holds.
    """
    about = _checked(folder)
    if reach.served(prefect_home(root)):
        raise ConflictError("`make serve` runs in this project; end it first")
    things = sorted({_thing(Path(name)) for name in about["files"]})
    things = [name for name in things if not _is_same(root, name, about["files"])]
    there = [name for name in things if (root / name).exists()]
    if there and not replace:
        raise ConflictError(
            f"the project has {', '.join(map(str, there[:6]))}{' and more' if len(there) > 6 else ''} already, and not "
            f"as in the backup; --replace puts that aside into {ASIDE}"
        )
    aside, made = root / ASIDE / _now().replace(":", ""), root / STAGED
    shutil.rmtree(made, ignore_errors=True)
    for name in things:
        _copy(folder / ROOM / name, made / name)
    with durable.refusals(root, f"call it again; what was there before lies in {aside.relative_to(root)}"):
        for name in things:
            _put_aside(root, name, aside)
            durable.make_folder((root / name).parent)
            shutil.move(made / name, root / name)
        shutil.rmtree(made)
    return [f"{len(about['files']):,} files of {about['time']} are back", *_told(root, about, aside)]


def _told(root: Path, about: Mapping[str, Any], aside: Path) -> list[str]:
    """What a user should know of a backup that was put back."""
    done = [f"what was there before lies in {aside.relative_to(root)}"] if aside.is_dir() else []
    if about["root"] != str(root.resolve()):
        done.append(
            f"the backup was made in {about['root']}: MLflow looks for files of its runs there; run `{places.MEND}`"
        )
    if about["commit"] != _commit(root):
        done.append(f"the backup was made at commit {about['commit'][:12] or 'none'}, and this is another one")
    return done


# What there is.


def _databases(root: Path, with_people: bool) -> list[Path]:
    home, here = prefect_home(root).resolve(), root.resolve()
    known = [root / "mlflow.db"]
    if home.is_relative_to(here):
        known += [home / "prefect.db", *(sorted(home.glob(PEOPLE)) if with_people else ())]
    return [path.resolve().relative_to(here) for path in known if path.is_file()]


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())


def _thing(name: Path) -> Path:
    """What a file is put aside and put back with: the folder of ``STATE`` that it lies in, or itself."""
    return next((each for each in (*STATE, *SECRETS) if name.is_relative_to(each)), name)


def _may_be_there(name: str) -> bool:
    """Whether a backup can hold a file of this name."""
    path = Path(name)
    if path.is_absolute() or ".." in path.parts:
        return False
    is_database = path.name in ("mlflow.db", "prefect.db") or path.match(PEOPLE)
    return is_database or _thing(path) in (*SETTINGS, *STATE, *SECRETS)


def _checked(folder: Path) -> dict[str, Any]:
    try:
        about = dict(read_json(folder / FILE))
        files, known = dict(about["files"]), {name: about[name] for name in ("time", "root", "commit")}
        if about["format"] != FORMAT:
            raise ArtifactError(f"{folder}: is a backup of format {about['format']}, and this version reads {FORMAT}")
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{folder / FILE}: is none of a backup ({error!r})") from error
    room = folder / ROOM
    there = {path.relative_to(room).as_posix(): path for path in sorted(room.rglob("*")) if not path.is_dir()}
    bad = [name for name in files if not _may_be_there(name)] + sorted(files.keys() ^ there.keys())
    bad += [name for name, path in there.items() if path.is_symlink() or path.resolve() != room.resolve() / name]
    bad += [name for name, digest in files.items() if name not in bad and sha256_of(room / name) != digest]
    if bad:
        raise ArtifactError(f"{folder}: files are absent, changed or none of a backup: {bad[0]!r}, of {len(bad)}")
    return {**known, "files": files}


def _is_same(root: Path, name: Path, files: Mapping[str, str]) -> bool:
    mine = {path.relative_to(root).as_posix(): sha256_of(path) for path in _files_of(root / name)}
    return mine == {each: digest for each, digest in files.items() if _thing(Path(each)) == name}


def _files_of(path: Path) -> Iterator[Path]:
    return iter([path]) if path.is_file() else _files(path)


# Copies.


def _copy(source: Path, target: Path) -> int:
    """Copy a file or a folder whole, with its rights; nothing where there is none. Returns how many links it left."""
    if source.is_dir():
        with durable.whole_folder(target) as made:
            return _fill(source, made)
    if source.is_file():
        with durable.atomic(target) as made:
            shutil.copy2(source, made)
    return 0


def _fill(source: Path, made: Path) -> int:
    links = 0
    for path in [*sorted(source.rglob("*")), source]:
        to = made / path.relative_to(source)
        if TEMPORARY.match(path.name):
            continue
        if path.is_symlink():
            links += 1
        elif path.is_dir():
            to.mkdir(parents=True, exist_ok=True)
            to.chmod(stat.S_IMODE(path.stat().st_mode) | stat.S_IRWXU)
        else:
            to.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # somebody has replaced it meanwhile
                shutil.copy2(path, to)
    return links


def _copy_database(source: Path, target: Path) -> None:
    """Copy a SQLite file as it is between two transactions."""
    with (
        durable.atomic(target) as made,
        closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as here,
        closing(sqlite3.connect(made)) as there,
    ):
        here.backup(there)
        there.execute("PRAGMA journal_mode=DELETE")
        made.chmod(stat.S_IMODE(source.stat().st_mode))


def _put_aside(root: Path, name: Path, aside: Path) -> None:
    for each in (name, *(name.with_name(name.name + suffix) for suffix in BESIDE)):
        if (root / each).exists():
            durable.make_folder((aside / each).parent)
            shutil.move(root / each, aside / each)


def _commit(root: Path) -> str:
    with suppress(FlowsculptError):  # a project without git, or without a commit
        return repository.git(root, "rev-parse", "HEAD")
    return ""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

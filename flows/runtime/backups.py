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
from collections.abc import Iterator
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
from pipeline.tracking import outbox, store

FILE: Final = "backup.json"
ROOM: Final = "project"
FORMAT: Final = 1
ASIDE: Final = ".before-restore"
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
        with_keys: copy private keys and the secrets of servers as well.

    Raises:
        ConfigError: the folder is there already, or the root is no project.
        ArtifactError: it cannot be written; then it is not there.
    """
    if not (root / "params.yaml").is_file():
        raise ConfigError(f"{root}: is no project, as there is no params.yaml")
    if folder.exists():
        raise ConfigError(f"{folder}: is there already; give the name of a new folder")
    things = [*SETTINGS, *STATE, *(SECRETS if with_keys else ())]
    with durable.whole_folder(folder) as made:
        made.chmod(stat.S_IRWXU)
        for name in _databases(root):
            _copy_database(root / name, made / ROOM / name)
        for name in things:
            _copy(root / name, made / ROOM / name)
        files = {path.relative_to(made / ROOM).as_posix(): sha256_of(path) for path in _files(made / ROOM)}
        about = {"format": FORMAT, "time": _now(), "root": str(root.resolve()), "commit": _commit(root)}
        write_json(made / FILE, {**about, "has_keys": with_keys, "files": files})
    size = sum(path.stat().st_size for path in _files(folder))
    keys = "with" if with_keys else "without"
    return [
        f"{folder}: {len(files):,} files, {size / 1e6:,.1f} MB, {keys} private keys and secrets",
        "records and models of stages lie in DVC's cache: `dvc push` brings them to a remote",
    ]


def restore(root: Path, folder: Path, replace: bool = False) -> list[str]:
    """Put a backup into a project; returns what was done, in sentences.

    Args:
        root: the project, at the commit of the backup.
        folder: the backup.
        replace: put what is there already aside, into ``.before-restore``.

    Raises:
        ArtifactError: the folder is no sound backup; nothing was changed.
        ConflictError: the project is served, or has something of what the backup holds.
    """
    about = _checked(folder)
    if reach.served(prefect_home(root)):
        raise ConflictError("`make serve` runs in this project; end it first")
    things = sorted({_thing(Path(name)) for name in about["files"]})
    there = [name for name in things if (root / name).exists() and not _is_same(root, folder, name, about["files"])]
    if there and not replace:
        raise ConflictError(
            f"the project has {', '.join(map(str, there[:6]))}{' and more' if len(there) > 6 else ''} already, and not "
            f"as in the backup; --replace puts that aside into {ASIDE}"
        )
    aside = root / ASIDE / _now().replace(":", "")
    for name in there:
        _put_aside(root, name, aside)
    for name in things:
        _copy(folder / ROOM / name, root / name)
    done = [f"{len(about['files']):,} files of {about['time']} are back"]
    done += [f"what was there before lies in {aside.relative_to(root)}"] if there else []
    if about["root"] != str(root.resolve()):
        done.append(f"the backup was made in {about['root']}: MLflow looks for files of its runs there")
    return done


# What there is.


def _databases(root: Path) -> list[Path]:
    home, here = prefect_home(root).resolve(), root.resolve()
    known = [Path("mlflow.db")]
    known += [home.relative_to(here) / "prefect.db"] if home.is_relative_to(here) else []
    return [name for name in known if (root / name).is_file()]


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())


def _thing(name: Path) -> Path:
    """What a file is put aside and put back with: the folder of ``STATE`` that it lies in, or itself."""
    return next((each for each in (*STATE, *SECRETS) if name.is_relative_to(each)), name)


def _checked(folder: Path) -> dict[str, Any]:
    try:
        about = read_json(folder / FILE)
        files = dict(about["files"])
        if about["format"] != FORMAT:
            raise ArtifactError(f"{folder}: is a backup of format {about['format']}, and this version reads {FORMAT}")
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{folder / FILE}: is none of a backup ({error!r})") from error
    bad = [name for name in files if Path(name).is_absolute() or ".." in Path(name).parts]
    bad += [name for name in files if name not in bad and not (folder / ROOM / name).is_file()]
    bad += [name for name, digest in files.items() if name not in bad and sha256_of(folder / ROOM / name) != digest]
    if bad:
        raise ArtifactError(f"{folder}: {len(bad)} of {len(files)} files are absent or changed, such as {bad[0]!r}")
    return dict(about)


def _is_same(root: Path, folder: Path, name: Path, files: dict[str, str]) -> bool:
    mine = {path.relative_to(root).as_posix(): sha256_of(path) for path in _files_of(root / name)}
    return mine == {each: digest for each, digest in files.items() if _thing(Path(each)) == name}


def _files_of(path: Path) -> Iterator[Path]:
    return iter([path]) if path.is_file() else _files(path)


# Copies.


def _copy(source: Path, target: Path) -> None:
    """Copy a file or a folder whole; nothing where there is none."""
    if source.is_dir():
        with durable.whole_folder(target) as made:
            for path in _files(source):
                to = made / path.relative_to(source)
                to.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                shutil.copy2(path, to)
    elif source.is_file():
        with durable.atomic(target) as made:
            shutil.copy2(source, made)


def _copy_database(source: Path, target: Path) -> None:
    """Copy a SQLite file as it is between two transactions."""
    with (
        durable.atomic(target) as made,
        closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as here,
        closing(sqlite3.connect(made)) as there,
    ):
        here.backup(there)
        there.execute("PRAGMA journal_mode=DELETE")


def _put_aside(root: Path, name: Path, aside: Path) -> None:
    for each in (name, *(name.with_name(name.name + suffix) for suffix in BESIDE)):
        if (root / each).exists():
            durable.make_folder((aside / each).parent)
            (root / each).rename(aside / each)


def _commit(root: Path) -> str:
    with suppress(FlowsculptError):  # a project without git, or without a commit
        return repository.git(root, "rev-parse", "HEAD")
    return ""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

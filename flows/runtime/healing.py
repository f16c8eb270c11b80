"""What a full disk leaves of DVC's own files, put right: without this each command of DVC fails until a person helps.

::

    python -m flows.runtime.healing      before a plain `dvc repro`; the flows do it themselves

DVC empties a file before it writes it anew. Where the disk is full the file stays empty, or half written:

    .dvc/tmp/rwlock     which paths are being read and written; DVC refuses to run while it cannot read it
    dvc.lock            what each stage read and wrote; without it DVC looks into its run cache or runs the stages again
    cache.db            hashes of files that DVC has seen, in its site cache; it counts them again

Such a file is moved aside, never removed, and only while no DVC process works in the clone.
"""

import fcntl
import json
import os
import sqlite3
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import pairwise
from pathlib import Path

import psutil

Log = Callable[[str], None]

LOCKS = ("lock", "rwlock.lock")  # in .dvc/tmp; DVC holds the first while it works, the second while it edits rwlock
DATABASE_SIGNS = ("database disk image is malformed", "file is not a database", "Could not open disk")


def heal(root: Path, log: Log) -> bool:
    """Move aside what DVC cannot read in the clone that holds ``root``; returns whether there was such a file.

    Args:
        root: the project's folder.
        log: told what was moved, or why it was not.
    """
    clone = _clone(root)
    if clone is None:
        return False
    if not broken(root):
        return False
    with _idle(clone) as idle:
        found = broken(root)  # nobody writes them now
        for path in found:
            _move_aside(path, idle, log)
    return bool(found) and idle


def broken(root: Path) -> list[Path]:
    """The files of DVC that it cannot read in the clone that holds ``root``."""
    clone = _clone(root)
    suspects = {clone / ".dvc" / "tmp" / "rwlock": _is_rwlock, root / "dvc.lock": _is_lock_file} if clone else {}
    return [path for path, check in suspects.items() if not _is_whole(path, check)]


def dead_holders(folder: Path) -> set[int]:
    """The processes that claim paths in ``rwlock`` of a folder ``.dvc`` and are gone.

    Raises:
        ValueError: DVC cannot read the file either.
    """
    path = folder / "tmp" / "rwlock"
    if not path.is_file():
        return set()
    claims = json.loads(path.read_text("utf-8"))
    holders = [each for claim in claims.values() for each in claim.values()]
    pids = {int(each["pid"]) for many in holders for each in (many if isinstance(many, list) else [many])}
    return {pid for pid in pids if not psutil.pid_exists(pid)}


def heal_databases(folder: Path, root: Path, log: Log) -> bool:
    """Move aside databases of DVC's site cache that are torn; returns whether there was one.

    Args:
        folder: the site cache.
        root: the project's folder.
        log: told what was moved, or why it was not.
    """
    clone, torn = _clone(root), [path for path in folder.rglob("cache.db") if _is_torn(path)]
    if clone and torn:
        with _idle(clone) as idle:
            for path in torn:
                _move_aside(path, idle, log)
                for beside in (path.with_name(f"{path.name}{kind}") for kind in ("-wal", "-shm") if idle):
                    beside.unlink(missing_ok=True)
        return idle
    return False


def _clone(root: Path) -> Path | None:
    return next((folder for folder in (root, *root.resolve().parents) if (folder / ".dvc").is_dir()), None)


def _is_whole(path: Path, check: Callable[[str], bool]) -> bool:
    """Whether a file is absent, or what DVC can read."""
    try:
        return check(path.read_text("utf-8"))
    except FileNotFoundError:
        return True
    except ValueError:
        return False


def _is_rwlock(text: str) -> bool:
    content = json.loads(text)
    return isinstance(content, dict) and all(isinstance(each, dict) for each in content.values())


def _is_lock_file(text: str) -> bool:
    import yaml

    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        return False
    return isinstance(content, dict) and "schema" in content


def _is_torn(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return bool(database.execute("PRAGMA quick_check").fetchone() != ("ok",))
    except sqlite3.DatabaseError:
        return True


def _move_aside(path: Path, idle: bool, log: Log) -> None:
    if not idle:
        log(f"{path}: cannot be read, as a full disk leaves it; it stays while another dvc process works in this clone")
        return
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.broken")
    path.rename(aside)
    log(f"{path}: cannot be read, as a full disk leaves it; moved to {aside.name}, and DVC makes it anew")


@contextmanager
def _idle(clone: Path) -> Iterator[bool]:
    """Whether no DVC process works in the clone; none can begin within the block where that is so."""
    with ExitStack() as stack:
        try:
            for name in LOCKS:
                path = clone / ".dvc" / "tmp" / name
                path.parent.mkdir(exist_ok=True)
                fcntl.flock(stack.enter_context(path.open("a")), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield not _is_worked_in(clone)


def _is_worked_in(clone: Path) -> bool:
    """Whether a dvc process runs a stage here: meanwhile it holds no lock."""
    return any(_works_in(process, clone.resolve()) for process in psutil.process_iter())


def _works_in(process: psutil.Process, clone: Path) -> bool:
    try:
        words = process.cmdline()
        is_dvc = any(Path(word).name == "dvc" for word in words[:2]) or ("-m", "dvc") in pairwise(words)
        return is_dvc and process.pid != os.getpid() and Path(process.cwd()).is_relative_to(clone)
    except (psutil.Error, OSError):
        return False  # it has ended, or belongs to another user


def main() -> int:
    """Heal the clone of the current folder; returns the exit code."""
    if not heal(Path.cwd(), print):
        print("healing: nothing to put right")
    return 0


if __name__ == "__main__":
    sys.exit(main())

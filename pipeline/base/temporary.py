"""Temporary names: a writer makes one beside its target and holds a lock on it until the target is whole.

A temporary name that nobody holds belongs to a process that is gone. The next writer of the same target removes it.
"""

import fcntl
import os
import re
import shutil
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

TEMPORARY: Final = re.compile(r"^\.(?P<target>.+)\.(?:\d+|[0-9a-f]{32})(?P<old>\.old)?\.tmp$")
STALE: Final = 24 * 3600.0  # seconds after which a temporary name is a leftover where locks do not work


def claimed(path: Path, opened: Any) -> tuple[Path, int]:
    """A new temporary name beside ``path``, and the lock that this process holds on it.

    Args:
        path: the target.
        opened: ``open_file`` or ``open_folder``.
    """
    _clean(path)
    while True:
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
        lock = opened(temporary, shared_with(path))
        with suppress(OSError):  # not every file system can lock
            fcntl.flock(lock, fcntl.LOCK_EX)
        if temporary.exists():  # nobody took it for a leftover before the lock was held
            return temporary, lock
        os.close(lock)


def open_file(path: Path, shared: int) -> int:
    """Make a file, which must be new, with at most the permission bits ``shared``; the open descriptor."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666 & shared)


def open_folder(path: Path, shared: int) -> int:
    """Make a folder, which must be new, with at most the permission bits ``shared``; the open descriptor."""
    path.mkdir(0o777 & shared)
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def opener(path: Path) -> Any:
    """What ``open`` takes as ``opener``, so that a new file is open to no more people than ``shared_with`` says."""
    shared = shared_with(path)
    return lambda name, flags: os.open(name, flags, 0o666 & shared)


def shared_with(path: Path) -> int:
    """The permission bits that ``path`` may have at most.

    Its user may do anything. Others may do what both the folder and the file that has this name now let them do.
    """
    mode = path.parent.stat().st_mode
    allowed = 0o700 | (0o070 if mode & 0o010 else 0) | (0o007 if mode & 0o001 else 0)
    with suppress(FileNotFoundError):
        allowed &= 0o700 | path.stat().st_mode
    return allowed


def discard(temporary: Path, lock: int) -> None:
    """Remove a temporary name, if it is still there, and give up its lock.

    What cannot be removed now is removed by the next writer of the same target.
    """
    with suppress(OSError):
        remove(temporary)
    with suppress(OSError):  # nothing was written by it
        os.close(lock)


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all that is in it; nothing happens where it is absent."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _clean(path: Path) -> None:
    """Remove what killed writers of ``path`` left, and put back an old folder that was never replaced."""
    for left in [entry for entry in path.parent.iterdir() if entry.name.startswith(f".{path.name}.")]:
        name = TEMPORARY.match(left.name)
        if name is None or name["target"] != path.name or _is_held(left):
            continue
        if name["old"] and not path.exists():
            with suppress(OSError):
                left.rename(path)
        else:
            remove(left)


def _is_held(left: Path) -> bool:
    """Whether a process still writes under this temporary name."""
    try:
        descriptor = os.open(left, os.O_RDONLY)
    except FileNotFoundError:
        return True  # its writer has just finished
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return time.time() - os.fstat(descriptor).st_mtime < STALE
    finally:
        os.close(descriptor)
    return False

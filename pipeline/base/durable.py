"""Writing that outlives a power cut, a full disk and a kill: what stands under a name is the old or the new, whole.

A file is written under a temporary name in the folder of its target, flushed to the disk, renamed, and then the folder
is flushed::

    open .NAME.UUID.tmp -> write -> fsync the file -> rename to NAME -> fsync the folder

A folder is filled under such a name, all in it is flushed, and it changes places with the old one in one step
(``renameat2`` with ``RENAME_EXCHANGE``). Some file systems have no such step. There the old folder is moved aside, the
new one moves in, and the old one goes; the next writer puts back an old one whose successor never came.

A writer holds a lock on what it writes. A temporary name that nobody holds belongs to a process that is gone, and the
next writer of the same target removes it. A line of a log is appended and flushed; the start of a line that a killed
process left is moved to ``NAME.torn``.

A file or folder is never open to more people than the folder that it is made in, nor than what it takes the place of.
"""

import ctypes
import errno
import fcntl
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from pipeline.base.errors import ArtifactError

TEMPORARY: Final = re.compile(r"^\.(?P<target>.+)\.(?:\d+|[0-9a-f]{32})(?P<old>\.old)?\.tmp$")
STALE: Final = 24 * 3600.0  # seconds after which a temporary name is a leftover where locks do not work
RERUN: Final = "free some space or check the rights of the folder, then run `dvc repro` again"

_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux
_NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EXDEV, errno.EPERM)


@contextmanager
def atomic(path: Path, remedy: str = RERUN) -> Iterator[Path]:
    """Gives a temporary path; what was written there becomes ``path`` when the block ends without an error.

    Raises:
        ArtifactError: the file cannot be written, for instance because the disk is full; the old one is untouched.
    """
    with refusals(path, remedy):
        make_folder(path.parent)
        temporary, lock = _claimed(path, _open_file)
        try:
            yield temporary
            publish(temporary, path)
        finally:
            _discard(temporary, lock)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Gives a temporary folder that takes the place of ``folder`` when the block ends without an error.

    Raises:
        ArtifactError: the folder cannot be written.
    """
    with refusals(folder):
        make_folder(folder.parent)
        temporary, lock = _claimed(folder, _open_folder)
    try:
        yield temporary
        with refusals(folder):
            publish_folder(temporary, folder)
    finally:
        _discard(temporary, lock)


@contextmanager
def refusals(path: Path, remedy: str = RERUN) -> Iterator[None]:
    """Turns an error of the operating system into one that names the file, the cause and the remedy.

    Raises:
        ArtifactError: ``path`` cannot be written.
    """
    try:
        yield
    except OSError as error:
        kept = "what was there before is untouched" if path.exists() else "nothing was written"
        reason = os.strerror(error.errno) if error.errno else error
        meant = Path(*(TEMPORARY.sub(r"\g<target>", part) for part in path.parts))  # it may lie in a ``whole_folder``
        raise ArtifactError(f"{meant}: cannot be written ({reason}); {kept}; {remedy}") from error


def publish(new: Path, path: Path) -> None:
    """Let a finished file take the name ``path`` for good; both lie in one file system."""
    if any(map(TEMPORARY.match, path.parent.parts)):  # in a ``whole_folder``, all of which is flushed when it is whole
        new.replace(path)
        return
    sync(new)
    new.replace(path)
    sync(path.parent)


def publish_folder(new: Path, folder: Path) -> None:
    """Let a finished folder take the name ``folder`` for good; what had it before is at ``new``, or gone."""
    for inner in new.rglob("*"):
        if not inner.is_symlink():
            sync(inner)
    sync(new)
    try:
        exchanged = _exchange(new, folder)
    except FileNotFoundError:  # there is nothing to take the place of
        new.rename(folder)
    else:
        if not exchanged:
            _move_in(new, folder)
    sync(folder.parent)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL or not path.is_dir():  # some file systems cannot flush a folder
            raise
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, for good; one that is there stays as it is."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir(0o777 & _shared_with(folder))
    except FileExistsError:
        if not folder.is_dir():
            raise
    sync(folder.parent)


def make_private(folder: Path) -> None:
    """Make a folder that only this user may enter; one that is there is closed to all but its user and group.

    Raises:
        ArtifactError: it cannot be made.
    """
    with refusals(folder):
        if not folder.is_dir():
            make_folder(folder.parent)
            with suppress(FileExistsError):
                folder.mkdir(0o700)
            sync(folder.parent)
        found = folder.stat()
        if found.st_mode & 0o007 and found.st_uid == os.geteuid():
            folder.chmod(found.st_mode & 0o770)


# Logs.


def append(path: Path, value: Mapping[str, Any], allow_nan: bool = False) -> None:
    """Append one line of JSON to a log, whole or not at all, whoever else appends to it.

    Raises:
        OSError: it cannot be written; the log is as it was.
    """
    line = json.dumps(value, allow_nan=allow_nan).encode() + b"\n"
    make_folder(path.parent)
    with open(path, "a+b", buffering=0, opener=_opener(path)) as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        ended = _set_torn_aside(path, stream)
        size = stream.seek(0, os.SEEK_END)
        try:
            written = stream.write(whole := (b"" if ended else b"\n") + line)
            if written != len(whole):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(stream.fileno())
        except OSError:
            stream.truncate(size)
            raise
    if not size:
        sync(path.parent)


def lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a log, oldest first; none where it is absent. A line that is not whole is left out."""
    found = path.read_bytes().split(b"\n") if path.exists() else []
    return [value for line in found if (value := _parsed(line)) is not None]


def _set_torn_aside(path: Path, stream: Any) -> bool:
    """Move the start of a line to ``NAME.torn``; False where the last line is whole but for its end."""
    size = stream.seek(0, os.SEEK_END)
    if not size or os.pread(stream.fileno(), 1, size - 1) == b"\n":
        return True
    content = path.read_bytes()
    start = content.rfind(b"\n") + 1
    if _parsed(content[start:]) is not None:
        return False
    aside = path.with_name(f"{path.name}.torn")
    with open(aside, "ab", opener=_opener(path)) as torn:
        torn.write(content[start:] + b"\n")
        torn.flush()
        os.fsync(torn.fileno())
    sync(path.parent)
    stream.truncate(start)
    return True


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


# Temporary names.


def _claimed(path: Path, opened: Any) -> tuple[Path, int]:
    """A new temporary name beside ``path`` and the lock that this process holds on it."""
    _clean(path)
    while True:
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
        lock = opened(temporary, _shared_with(path))
        with suppress(OSError):  # not every file system can lock
            fcntl.flock(lock, fcntl.LOCK_EX)
        if temporary.exists():  # nobody took it for a leftover before the lock was held
            return temporary, lock
        os.close(lock)


def _open_file(path: Path, shared: int) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666 & shared)


def _open_folder(path: Path, shared: int) -> int:
    path.mkdir(0o777 & shared)
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def _opener(path: Path) -> Any:
    shared = _shared_with(path)
    return lambda name, flags: os.open(name, flags, 0o666 & shared)


def _shared_with(path: Path) -> int:
    """The bits of those who may have ``path``: its user, and whom its folder and what has that name now let in."""
    mode = path.parent.stat().st_mode
    allowed = 0o700 | (0o070 if mode & 0o010 else 0) | (0o007 if mode & 0o001 else 0)
    with suppress(FileNotFoundError):
        allowed &= 0o700 | path.stat().st_mode
    return allowed


def _discard(temporary: Path, lock: int) -> None:
    _remove(temporary)
    os.close(lock)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _clean(path: Path) -> None:
    """Remove what killed writers of ``path`` left; put back an old folder whose successor never came."""
    for left in [entry for entry in path.parent.iterdir() if entry.name.startswith(f".{path.name}.")]:
        name = TEMPORARY.match(left.name)
        if name is None or name["target"] != path.name or _is_held(left):
            continue
        if name["old"] and not path.exists():
            with suppress(OSError):
                left.rename(path)
        else:
            _remove(left)


def _is_held(left: Path) -> bool:
    """Whether a process still writes what has this temporary name."""
    try:
        descriptor = os.open(left, os.O_RDONLY)
    except FileNotFoundError:
        return True  # its writer is just done with it
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return time.time() - os.fstat(descriptor).st_mtime < STALE
    finally:
        os.close(descriptor)
    return False


def _exchange(new: Path, folder: Path) -> bool:
    """Let two names change places in one step; False where the file system has no such step."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    if renameat2(_HERE, os.fsencode(new), _HERE, os.fsencode(folder), _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(folder))


def _move_in(new: Path, folder: Path) -> None:
    """Replace ``folder`` in two steps; between them the old one waits under a temporary name that is held."""
    aside = new.with_name(f"{new.name.removesuffix('.tmp')}.old.tmp")
    with _held(folder):
        folder.rename(aside)
        try:
            new.rename(folder)
        except OSError:
            aside.rename(folder)
            raise
    sync(folder.parent)
    _remove(aside)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    lock = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)

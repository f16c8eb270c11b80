"""Writes that survive a power cut, a full disk and a kill: a name always holds the whole old or the whole new content.

A file is written under a temporary name beside its target, flushed to the disk and renamed; then the folder is
flushed::

    open .NAME.UUID.tmp -> write -> fsync the file -> rename to NAME -> fsync the folder

A folder is filled under a temporary name. Everything in it is flushed, and then it swaps names with the old folder in
one step (``renameat2`` with ``RENAME_EXCHANGE``). Some file systems cannot swap. There the old folder is moved aside,
the new one is moved in, and the old one is removed. If the process dies in between, the next writer puts the old folder
back. For temporary names and their locks see ``pipeline.base.temporary``.

A line of a log is appended and flushed. If a killed process left half a line, it is moved to ``NAME.torn``.

A file or folder is never open to more people than the folder around it, nor to more than the one that it replaces.
"""

import ctypes
import errno
import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from pipeline.base.errors import ArtifactError
from pipeline.base.temporary import TEMPORARY, claimed, discard, open_file, open_folder, opener, remove, shared_with

RERUN: Final = "free some space or check the rights of the folder, then run `dvc repro` again"

_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux
_NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EXDEV, errno.EPERM)


@contextmanager
def atomic(path: Path, remedy: str = RERUN) -> Iterator[Path]:
    """Give a temporary path; what is written there becomes ``path`` when the block ends without an error.

    Raises:
        ArtifactError: the file cannot be written, for instance because the disk is full; the old one is untouched.
    """
    with refusals(path, remedy):
        make_folder(path.parent)
        temporary, lock = claimed(path, open_file)
        try:
            yield temporary
            publish(temporary, path)
        finally:
            discard(temporary, lock)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder, which replaces ``folder`` when the block ends without an error.

    Raises:
        ArtifactError: the folder cannot be written.
    """
    with refusals(folder):
        make_folder(folder.parent)
        temporary, lock = claimed(folder, open_folder)
    try:
        yield temporary
        with refusals(folder):
            publish_folder(temporary, folder)
    finally:
        discard(temporary, lock)


@contextmanager
def lock_file(path: Path, remedy: str = RERUN) -> Iterator[int]:
    """Open a file that is only ever locked, and is made where it is absent. What it locks ends with the block.

    Raises:
        ArtifactError: it cannot be opened.
    """
    with refusals(path, remedy):
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666 & shared_with(path))
    try:
        yield lock
    finally:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_UN)
        with suppress(OSError):  # nothing was written by it
            os.close(lock)


@contextmanager
def refusals(path: Path, remedy: str = RERUN) -> Iterator[None]:
    """Turn an error of the operating system into one that names the file, the cause and the remedy.

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
    """Rename a finished file to ``path`` and flush both; they lie in one file system."""
    if any(map(TEMPORARY.match, path.parent.parts)):  # in a ``whole_folder``, which is flushed as a whole later
        new.replace(path)
        return
    sync(new)
    new.replace(path)
    sync(path.parent)


def publish_folder(new: Path, folder: Path) -> None:
    """Rename a finished folder to ``folder`` and flush it; the old folder is at ``new`` afterwards, or gone."""
    for inner in new.rglob("*"):
        if not inner.is_symlink():
            sync(inner)
    sync(new)
    try:
        exchanged = _exchange(new, folder)
    except FileNotFoundError:  # there is no old folder
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
    """Make a folder and those above it, and flush their names; an existing folder stays as it is."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir(0o777 & shared_with(folder))
    except FileExistsError:
        if not folder.is_dir():
            raise
    sync(folder.parent)


def make_private(folder: Path) -> None:
    """Make a folder that only this user may enter; an existing folder is closed to all but its user and group.

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


def _exchange(new: Path, folder: Path) -> bool:
    """Swap two names in one step; False where the file system cannot."""
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
    """Replace ``folder`` in two steps; between them the old one has a temporary name, which is locked."""
    aside = new.with_name(f"{new.name.removesuffix('.tmp')}.old.tmp")
    with _held(folder):
        folder.rename(aside)
        try:
            new.rename(folder)
        except OSError:
            aside.rename(folder)
            raise
    sync(folder.parent)
    remove(aside)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    lock = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


# Logs.


def append(path: Path, value: Mapping[str, Any], allow_nan: bool = False) -> None:
    """Append one line of JSON to a log, whole or not at all; several processes may do so at once.

    Raises:
        OSError: it cannot be written; the log is as it was.
    """
    append_all(path, [value], allow_nan)


def append_all(path: Path, values: Iterable[Mapping[str, Any]], allow_nan: bool = False) -> None:
    """Append some lines of JSON to a log and flush it once. After a kill or a power cut the first of them may be there.

    Raises:
        OSError: they cannot be written; the log is as it was.
    """
    line = b"".join(_encoded(value, allow_nan) for value in values)
    if line:
        _append(path, lambda: line)


def append_after(path: Path, make: Callable[[bytes], Mapping[str, Any]]) -> None:
    """Append the line that ``make`` gives for the log as it is; no other process appends in between.

    Raises:
        OSError: it cannot be written; the log is as it was.
    """
    _append(path, lambda: _encoded(make(path.read_bytes())))


def _encoded(value: Mapping[str, Any], allow_nan: bool = False) -> bytes:
    return json.dumps(value, allow_nan=allow_nan).encode() + b"\n"


def _append(path: Path, make: Callable[[], bytes]) -> None:
    make_folder(path.parent)
    with open(path, "a+b", buffering=0, opener=opener(path)) as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        ended = _set_torn_aside(path, stream)
        size = stream.seek(0, os.SEEK_END)
        line = make()
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
    """The lines of a log, oldest first, without lines that are not whole; none where the log is absent."""
    found = path.read_bytes().split(b"\n") if path.exists() else []
    return [value for line in found if (value := parsed(line)) is not None]


def _set_torn_aside(path: Path, stream: Any) -> bool:
    """Move half a line at the end to ``NAME.torn``; False if the last line is whole and lacks only its line end."""
    size = stream.seek(0, os.SEEK_END)
    if not size or os.pread(stream.fileno(), 1, size - 1) == b"\n":
        return True
    content = path.read_bytes()
    start = content.rfind(b"\n") + 1
    if parsed(content[start:]) is not None:
        return False
    aside = path.with_name(f"{path.name}.torn")
    with open(aside, "ab", opener=opener(path)) as torn:
        torn.write(content[start:] + b"\n")
        torn.flush()
        os.fsync(torn.fileno())
    sync(path.parent)
    stream.truncate(start)
    return True


def parsed(line: bytes) -> dict[str, Any] | None:
    """The object of JSON that a line holds; None where it holds none."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None

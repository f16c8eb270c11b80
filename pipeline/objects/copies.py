"""Local copies of objects, each fetched once as long as it does not change.

::

    data/objects/s3/BUCKET/NAME               the object
    data/objects/s3/BUCKET/.NAME.object.json  its size and tag, as they were when it was fetched

An address stands for one object, or for all below it, as a path stands for a file or a folder. ``local`` gives the file
or folder that holds copies of them, and nothing else: a copy whose object is gone is removed. Only this user may enter
the folder.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Final

from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json, write_json
from pipeline.base import durable
from pipeline.base.errors import ArtifactError, SourceError
from pipeline.objects.address import PACKAGES, Address, is_address
from pipeline.objects.store import Object, Store

_NOTE: Final = ".object.json"


def local(where: str) -> Path:
    """A path as it is; for an address, the file or folder with copies of what is there now.

    Raises:
        ConfigError: the address is not allowed, or the package for its store is not installed.
        SourceError: the store refuses, does not answer, or holds nothing there.
        ArtifactError: a copy cannot be written.
    """
    if not is_address(where):
        return Path(where)
    address = Address.of(where)
    store = Store(address)
    found = store.listed(address)
    if not found:
        raise SourceError(f"{address}: there is no such object, and none below it")
    durable.make_private(paths.OBJECTS)
    with _alone():
        for each in found:
            _update(store, each)
        _remove_others(place_of(address), {place_of(each.address) for each in found})
    return place_of(address)


def local_all(where: str | Sequence[str]) -> list[Path]:
    """The same of one text or several."""
    return [local(each) for each in ([where] if isinstance(where, str) else where)]


def place_of(address: Address) -> Path:
    """Where the copy of an object lies, or of all below an address.

    Raises:
        SourceError: its name cannot be that of a file.
    """
    parts = address.name.split("/") if address.name else []
    if any(part in ("", ".", "..") or part.startswith(".") or len(part.encode()) > 200 for part in parts):
        raise SourceError(f"{address}: its name cannot be that of a file; rename the object")
    return paths.OBJECTS.joinpath(address.scheme, address.bucket, *parts)


def origin(path: Path) -> str:
    """The address of the object that a file is the copy of; "" for any other file."""
    with suppress(ValueError):
        scheme, *rest = path.absolute().relative_to(paths.OBJECTS.absolute()).parts
        if scheme in PACKAGES and rest:
            return str(Address(scheme, rest[0], PurePosixPath(*rest[1:]).as_posix() if rest[1:] else ""))
    return ""


def fetched() -> Iterator[tuple[Path, float]]:
    """Each copy, and when it was used last, in seconds since 1970."""
    for note in sorted(paths.OBJECTS.rglob(f".*{_NOTE}")):
        yield note.with_name(note.name.removesuffix(_NOTE)[1:]), note.stat().st_mtime


def forget(copy: Path) -> bool:
    """Remove a copy."""
    with _alone():
        _note(copy).unlink(missing_ok=True)
        copy.unlink(missing_ok=True)
    return True


def _update(store: Store, wanted: Object) -> None:
    """Fetch an object, unless what is here is it."""
    copy = place_of(wanted.address)
    note, about = _note(copy), {"size": wanted.size, "tag": wanted.tag}
    known = None
    with suppress(ArtifactError):  # absent, or not whole
        known = read_json(note)
    if known == about and copy.is_file() and copy.stat().st_size == wanted.size:
        os.utime(note)  # it is used now
        return
    note.unlink(missing_ok=True)  # before the copy changes: a kill in between leaves one that is fetched again
    store.fetch(wanted, copy)
    write_json(note, about)


def _remove_others(place: Path, kept: set[Path]) -> None:
    if place.is_dir():
        for path in [*place.rglob("*")]:
            if path.is_file() and path not in kept and not path.name.startswith("."):
                _note(path).unlink(missing_ok=True)
                path.unlink(missing_ok=True)


def _note(copy: Path) -> Path:
    return copy.with_name(f".{copy.name}{_NOTE}")


@contextmanager
def _alone() -> Iterator[None]:
    """One process at a time changes copies."""
    with durable.lock_file(paths.OBJECTS / ".lock") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

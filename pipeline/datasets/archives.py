"""The members of a zip: each one has a name and a place of its own, and no byte of the archive is passed over."""

import posixpath
import re
import stat
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, cast

from pipeline.base import limits
from pipeline.base.errors import SourceError
from pipeline.base.escaping import printable
from pipeline.datasets.unpacking import BROKEN

CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
MOST_NAMED: Final = 5  # members in one message
_ENCRYPTED, _DESCRIBED = 0x1, 0x8  # bits of the flags of a member
_LOCAL, _END, _DESCRIPTOR = 30, 22, 24  # bytes of a local header, of the end of an archive, of what follows a member
_SIGNATURE: Final = b"PK\x05\x06"


def plain(member: str) -> str:
    """The name of a member without what leads nowhere, as ``./a`` is ``a``."""
    return posixpath.normpath(member)


def members(file: Path) -> list[zipfile.ZipInfo]:
    """The members of a zip but for its folders.

    Raises:
        SourceError: it is no zip; a member is encrypted, a link, has a name that leads out of the archive or that
            another one has; bytes belong to no member; or it holds more than is allowed.
    """
    try:
        with file.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            found = archive.infolist()
            _require_size(file, found)
            for fault, names in _faults(found):
                raise SourceError(f"{file}: {_named(names)}: {fault}; pack it again without")
            _require_whole(file, stream, archive)
    except BROKEN as error:
        raise SourceError(f"{file}: is not a zip archive ({error}); download it again") from error
    return [info for info in found if not info.is_dir()]


def open_member(file: Path, member: str) -> tuple[BinaryIO, int]:
    """A member and its size.

    Raises:
        OSError: it cannot be opened; see ``BROKEN`` for more.
    """
    archive = zipfile.ZipFile(file)  # closed with the member
    with archive:
        return cast(BinaryIO, archive.open(member)), archive.getinfo(member).file_size


def comment(file: Path) -> bytes:
    """What stands at the end of a zip and is no member."""
    with zipfile.ZipFile(file) as archive:
        return archive.comment


def _named(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(map(repr, names[:MOST_NAMED]))}{more}"


def _require_size(file: Path, found: list[zipfile.ZipInfo]) -> None:
    most = limits.held()
    most.require("members", len(found), str(file), "its members are")
    most.require("bytes", sum(info.file_size for info in found), str(file), "the bytes that it unpacks to are")
    for info in found:
        most.require_unpacked(info.file_size, info.compress_size, f"{file}/{printable(info.filename)}")


def _faults(found: list[zipfile.ZipInfo]) -> Iterator[tuple[str, list[str]]]:
    """What is wrong with members, and their names."""
    raw = [info.orig_filename for info in found]
    names = [plain(info.filename) for info in found if not info.is_dir()]
    kinds = {info.orig_filename: stat.S_IFMT(info.external_attr >> 16) for info in found}
    checks = {
        "has a control character in its name": [name for name in raw if CONTROL.search(name)],
        "leads out of the archive": [name for name in raw if _leads_out(name)],
        "is encrypted": [info.filename for info in found if info.flag_bits & _ENCRYPTED],
        "is a link or a device": [name for name, kind in kinds.items() if kind not in (0, stat.S_IFREG, stat.S_IFDIR)],
        "is there twice": sorted({name for name in names if names.count(name) > 1}) if _twice(names) else [],
    }
    return ((fault, given) for fault, given in checks.items() if given)


def _leads_out(name: str) -> bool:
    return name.startswith(("/", "\\")) or ":" in name[:2] or ".." in re.split(r"[/\\]", name)


def _twice(names: list[str]) -> bool:
    return len(set(names)) < len(names)


def _require_whole(file: Path, stream: BinaryIO, archive: zipfile.ZipFile) -> None:
    """Refuse bytes in front of, between or behind members."""
    end = 0
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        _require_no_gap(file, end, info.header_offset, f"in front of {info.filename!r}")
        stream.seek(info.header_offset + _LOCAL - 4)
        name, extra = struct.unpack("<HH", stream.read(4))
        end = info.header_offset + _LOCAL + name + extra + info.compress_size
        end += _descriptor(stream, end) if info.flag_bits & _DESCRIBED else 0
    _require_no_gap(file, end, archive.start_dir, "behind the last member")
    size = stream.seek(0, 2)
    stream.seek(max(0, size - _END - len(archive.comment)))
    if stream.read(4) != _SIGNATURE:
        raise SourceError(f"{file}: bytes behind the end of the archive belong to no member; pack it again")


def _descriptor(stream: BinaryIO, at: int) -> int:
    """How many bytes behind a member say how large it is: up to where the next header begins."""
    stream.seek(at)
    behind = stream.read(_DESCRIPTOR + 4)
    return next((n for n in (16, 24, 12, 20) if behind[n : n + 4] in (b"PK\x03\x04", b"PK\x01\x02", b"PK\x06\x06")), 0)


def _require_no_gap(file: Path, end: int, begin: int, where: str) -> None:
    if begin > end:
        raise SourceError(f"{file}: {begin - end:,} bytes {where} belong to no member; pack it again")
    if begin < end:
        raise SourceError(f"{file}: members overlap {where}; pack it again")

"""Finds the files of records under a path: plain or packed, in a folder, or in a zip."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from pipeline.base import limits
from pipeline.base.errors import SourceError, near_miss
from pipeline.base.escaping import printable
from pipeline.datasets import archives, encodings
from pipeline.datasets.suffixes import ARCHIVE, PACKINGS, TEXTS, packing
from pipeline.datasets.unpacking import BROKEN, unpacked

BLOCK_BYTES = 8 << 20


@dataclass(frozen=True)
class Source:
    """One CSV text, or one file of another kind.

    Attributes:
        name: in ``source_file`` and in errors; it does not depend on how the file is packed.
        place: where it lies, including the archive.
        open: opens its bytes, decompressed.
        file: on disk; for a member of an archive, the archive.
        member: its name in the archive; "" for none.
    """

    name: str
    place: str
    open: Callable[[], BinaryIO]
    file: Path = Path()
    member: str = ""


@dataclass(frozen=True)
class Wanted:
    """Which files of a folder or a zip are read, by their names in lower case.

    Attributes:
        suffixes: of the names.
        prefix: of the names, except in a path that names one file.
        names: whole names that are read as well.
        numbered: whether a number may follow the suffix, as in ``some.pcap2``.
    """

    suffixes: tuple[str, ...]
    prefix: str = ""
    names: tuple[str, ...] = ()
    numbered: bool = False

    def fits(self, name: str) -> bool:
        """Whether the file is read that lies at ``name`` in the folder or the zip."""
        *folders, file = name.lower().split("/")
        hidden = any(part.startswith(".") or part == "__macosx" for part in (*folders, file))
        plain = _unnumbered(file) if self.numbered else file
        fits = file in self.names or (plain.endswith(self.suffixes) and file.startswith(self.prefix))
        return fits and not hidden

    def __str__(self) -> str:
        kind = f"{', '.join((*filter(_is_plain, self.suffixes), ARCHIVE))} file"
        kind += f" whose name begins with {self.prefix}" if self.prefix else ""
        plain = [*filter(_is_plain, self.names)]
        return kind + (f", and none of {', '.join(plain)}" if plain else "")


def _unnumbered(name: str) -> str:
    """The name without the number behind its suffix."""
    packed = packing(name)
    return name.removesuffix(packed).rstrip("0123456789") + packed


def _is_plain(name: str) -> bool:
    return not name.endswith(PACKINGS)


def sources(
    path: Path,
    suffixes: tuple[str, ...] = TEXTS,
    prefix: str = "",
    names: tuple[str, ...] = (),
    numbered: bool = False,
) -> list[Source]:
    """The texts under ``path``, in the order of their names.

    Args:
        path: a file, a folder or a zip of them.
        suffixes: of the names to read, in lower case.
        prefix: of the names to read in a folder or a zip, in lower case.
        names: whole names that are read as well, in lower case.
        numbered: whether a number may follow the suffix.

    Raises:
        SourceError: the path is absent, or holds no such text.
    """
    if not path.exists():
        siblings = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        raise SourceError(f"{path}: no such file or folder{near_miss(path.name, siblings)}; set ingest.path")
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    wanted = Wanted(suffixes, prefix, names, numbered)
    # The name of a file that is named itself may begin with anything.
    here = wanted if path.is_dir() else Wanted(suffixes, "", names, numbered)
    found = [source for file in files for source in _open_file(file, _place(file, path), here, wanted)]
    if not found:
        raise SourceError(f"{path}: holds no {wanted}; set ingest.path to the folder of the records")
    return found


def blocks(source: Source, size: int = BLOCK_BYTES) -> Iterator[bytes]:
    """The text of ``source`` as UTF-8, in blocks that end where a line ends.

    Raises:
        SourceError: the bytes cannot be decompressed or decoded to their end, are no text, or no line ends for very
            long.
    """
    most = limits.held().line
    rest, done = b"", 0
    for block in _text(source, size):
        end = block.rfind(b"\n") + 1
        if end:
            lines = b"".join([rest, memoryview(block)[:end]])
            _require_short(source, lines, most, done)
            done += len(lines)
            yield lines
        rest = block[end:] if end else rest + block
        _require_length(source, len(rest), done)
    if rest:
        yield rest + b"\n"


def _require_short(source: Source, lines: bytes, most: int, done: int) -> None:
    """Refuse lines one of which is too long; it looks for the last end of a line within each so many bytes."""
    begin = 0
    while len(lines) - begin > most:
        end = lines.rfind(b"\n", begin, begin + most + 1) + 1
        if not end:
            _require_length(source, lines.find(b"\n", begin) - begin, done + begin)
        begin = end


def _require_length(source: Source, length: int, after: int) -> None:
    what = f"no line ends within {length:,} bytes after byte {after:,} of its text; bytes of a line are at least"
    limits.held().require("line", length, source.place, what)


def encoding(source: Source) -> str:
    """The encoding of a text, as Python names it.

    Raises:
        SourceError: it cannot be read.
    """
    return encodings.encoding_of(next(_bytes(source, BLOCK_BYTES >> 5), b""))


def _text(source: Source, size: int) -> Iterator[bytes]:
    stream = _bytes(source, size)
    first = next(stream, b"")
    if kind := encodings.other_kind(first):
        raise SourceError(f"{source.place}: is no text, but {kind}")
    try:
        yield from encodings.utf8(chain([first], stream))
    except UnicodeError as error:
        raise SourceError(f"{source.name}: its text is damaged ({error}); fetch the file again") from error


class SeenContents:
    """Remembers the content of each source, and refuses the same content under a second name."""

    def __init__(self) -> None:
        self._places: dict[bytes, str] = {}

    def watch(self, source: Source, stream: Iterator[bytes]) -> Iterator[bytes]:
        """``stream`` unchanged.

        Raises:
            SourceError: at its end, if an earlier source held the same bytes.
        """
        digest = sha256()
        for block in stream:
            digest.update(block)
            yield block
        twin = self._places.get(digest.digest())
        if twin is not None:
            raise SourceError(f"{source.place}: has the same content as {twin}; remove one of the two from ingest.path")
        self._places[digest.digest()] = source.place


def by_archive(found: Iterable[Source]) -> dict[Path, set[str]]:
    """Archive -> those of its members that are among sources."""
    members: dict[Path, set[str]] = {}
    for source in found:
        if source.member:
            members.setdefault(source.file, set()).add(source.member)
    return members


def _place(file: Path, root: Path) -> str:
    return file.relative_to(root).as_posix() if file != root else file.name


def _open_file(file: Path, place: str, wanted: Wanted, inside: Wanted) -> list[Source]:
    """The texts of a file: the file itself if it is ``wanted``, or the members of a zip that are wanted ``inside``."""
    if Wanted((ARCHIVE,)).fits(place):
        return _open_zip(file, inside)
    return [Source(_stem(place), place, lambda: _open_plain(file), file)] if wanted.fits(place) else []


def _open_plain(file: Path) -> BinaryIO:
    size = file.stat().st_size
    limits.held().require("bytes", size, file.name, "its bytes are")
    return unpacked(file.open("rb"), packing(file.name), size, file.name)


def _open_zip(file: Path, wanted: Wanted) -> list[Source]:
    found = {info.filename: archives.plain(info.filename) for info in archives.members(file)}
    members = sorted(member for member, plain in found.items() if wanted.fits(plain))
    names = [found[member].rsplit("/", 1)[-1] for member in members]
    names = names if len(set(names)) == len(names) else [found[member] for member in members]
    return [
        Source(_stem(name), f"{file.name}/{member}", partial(_open_member, file, member), file, member)
        for name, member in zip(names, members, strict=True)
    ]


def _open_member(file: Path, member: str) -> BinaryIO:
    stream, size = archives.open_member(file, member)
    return unpacked(stream, packing(member), size, f"{file.name}/{printable(member)}")


def _stem(name: str) -> str:
    """The name without a suffix of compression, so that a record keeps its id."""
    return name.removesuffix(name[len(name) - len(packing(name)) :])


def _bytes(source: Source, size: int) -> Iterator[bytes]:
    read = 0
    try:
        with source.open() as stream:
            while block := stream.read(size):
                read += len(block)
                yield block
    except BROKEN as error:
        message = f"{source.name}: cannot be read beyond byte {read} of its text ({error}); fetch the file again"
        raise SourceError(message) from error

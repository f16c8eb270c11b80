"""A path -> the CSV texts in it: a file, a gzip'd file, a folder of them, or a published zip."""

import gzip
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, cast

from pipeline.errors import SourceError, near_miss

SUFFIXES = (".csv", ".csv.gz", ".zip")
BLOCK_BYTES = 8 << 20


@dataclass(frozen=True)
class Source:
    """One CSV text: ``name`` is what errors and ``source_file`` call it, ``open`` gives its bytes, decompressed."""

    name: str
    open: Callable[[], BinaryIO]


def sources(path: Path) -> list[Source]:
    """The CSV texts under ``path``, in the order of their names.

    Raises:
        SourceError: the path is absent, or holds no CSV.
    """
    if not path.exists():
        siblings = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        raise SourceError(f"{path}: no such file or folder{near_miss(path.name, siblings)}; set ingest.path")
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    found = [source for file in files if _is_csv(file.name) and file.is_file() for source in _open_file(file, path)]
    if not found:
        raise SourceError(f"{path}: holds no {', '.join(SUFFIXES)} file; set ingest.path to the folder of the records")
    return found


def blocks(source: Source, size: int = BLOCK_BYTES) -> Iterator[bytes]:
    """The bytes of ``source`` in blocks that end where a line ends.

    Raises:
        SourceError: the bytes cannot be decompressed to their end.
    """
    rest = b""
    for block in _bytes(source, size):
        end = block.rfind(b"\n") + 1
        if end:
            yield rest + block[:end]
        rest = block[end:] if end else rest + block
    if rest:
        yield rest + b"\n"


class SeenContents:
    """Remembers what each source held, and refuses the same content under a second name."""

    def __init__(self) -> None:
        self._names: dict[bytes, str] = {}

    def watch(self, source: Source, stream: Iterator[bytes]) -> Iterator[bytes]:
        """``stream`` unchanged.

        Raises:
            SourceError: at its end, if an earlier source held the same bytes.
        """
        digest = blake2b(digest_size=16)
        for block in stream:
            digest.update(block)
            yield block
        twin = self._names.setdefault(digest.digest(), source.name)
        if twin != source.name:
            raise SourceError(f"{source.name}: has the same content as {twin}; remove one of the two from ingest.path")


def _is_csv(name: str) -> bool:
    hidden = name.rsplit("/", 1)[-1].startswith(".") or name.startswith("__MACOSX/")
    return name.lower().endswith(SUFFIXES) and not hidden


def _open_file(file: Path, root: Path) -> list[Source]:
    name = file.relative_to(root).as_posix() if file != root else file.name
    if name.lower().endswith(".zip"):
        return _open_zip(file)
    return [Source(_stem(name), lambda: _open_plain(file))]


def _open_plain(file: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(file, "rb")) if file.name.lower().endswith(".gz") else file.open("rb")


def _open_zip(file: Path) -> list[Source]:
    try:
        with zipfile.ZipFile(file) as archive:
            members = sorted(name for name in archive.namelist() if _is_csv(name))
    except zipfile.BadZipFile as error:
        raise SourceError(f"{file}: is not a zip archive ({error}); download it again") from error
    return [Source(_stem(Path(member).name), lambda member=member: _open_member(file, member)) for member in members]  # type: ignore[misc]


def _open_member(file: Path, member: str) -> BinaryIO:
    stream = cast(BinaryIO, zipfile.ZipFile(file).open(member))
    return cast(BinaryIO, gzip.open(stream, "rb")) if member.lower().endswith(".gz") else stream


def _stem(name: str) -> str:
    """The same name whether the file was compressed or not, so that a record keeps its id."""
    return name[:-3] if name.lower().endswith(".gz") else name


def _bytes(source: Source, size: int) -> Iterator[bytes]:
    read = 0
    try:
        with source.open() as stream:
            while block := stream.read(size):
                read += len(block)
                yield block
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, OSError) as error:
        message = f"{source.name}: cannot be read beyond byte {read} of its text ({error}); fetch the file again"
        raise SourceError(message) from error

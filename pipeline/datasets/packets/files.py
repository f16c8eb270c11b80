"""Captures as files: pcap and pcapng, plain or gzip'd, read in blocks."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import BinaryIO, cast

from pipeline.base import limits
from pipeline.base.errors import SourceError
from pipeline.datasets.packets.classic import Classic
from pipeline.datasets.packets.frames import Frames
from pipeline.datasets.packets.links import LINKS, READ, name
from pipeline.datasets.packets.sections import Sections
from pipeline.datasets.sources import SeenContents, Source
from pipeline.datasets.unpacking import BROKEN

_GZIP = b"\x1f\x8b"


class Capture:
    """One capture file.

    Args:
        source: opens it.
        seen: the contents of other captures that were read.

    Attributes:
        size: bytes that are read at a time.
        lost: once it is read, why frames in it could not be read; "" where none is lost.
        missing: once it is read, what it lacks at its end; "" where nothing.
    """

    size: int = 4 << 20

    def __init__(self, source: Source, seen: SeenContents | None = None) -> None:
        self.source, self._seen = source, seen or SeenContents()
        self.lost, self.missing = "", ""

    def frames(self) -> Iterator[Frames]:
        """All frames, a block at a time. A damaged file gives those before the damage.

        Raises:
            SourceError: the file is empty, no capture, or of a link type that is not read, or it has the same content
                as another one.
        """
        reader: Classic | Sections | None = None
        for chunk in self._seen.watch(self.source, self._chunks()):
            reader = reader or self._reader(chunk)
            for frames in reader.read(reader.rest + chunk):
                self._check(frames)
                yield frames
            if reader.damage:
                break
        if reader is None and not self.lost:
            raise SourceError(f"{self.source.name}: is empty; a pcap or pcapng is expected; remove the file")
        if reader is not None and not self.lost:
            self.lost = reader.damage
            self.missing = "" if self.lost else reader.missing()

    def _reader(self, head: bytes) -> Classic | Sections:
        for kind in (Classic, Sections):
            if kind.knows(head):
                return kind(head)
        found = f"it begins with the bytes {head[:4].hex(' ')}"
        raise SourceError(f"{self.source.name}: is no pcap or pcapng ({found}); convert it, or remove the file")

    def _check(self, frames: Frames) -> None:
        for link in set(frames.link.tolist()) - LINKS.keys():
            where = f"{self.source.name}: link type {name(link)} is not read; read are {READ}"
            raise SourceError(f"{where}; capture on such an interface, or convert the file")

    def _chunks(self) -> Iterator[bytes]:
        """The bytes of the file, decompressed, at least ``size`` at a time. Damage ends them."""
        parts, read, size = bytearray(), 0, self.source.file.stat().st_size if self.source.file.is_file() else 0
        try:
            with self.source.open() as plain, _unpacked(plain) as stream:
                while piece := stream.read1(self.size):  # type: ignore[attr-defined]
                    parts += piece
                    read += len(piece)
                    limits.held().require_unpacked(read, size, self.source.name)
                    if len(parts) >= self.size:
                        yield bytes(parts)
                        parts.clear()
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            self.lost = f"cannot be decompressed beyond byte {read:,} ({error})"
        except BROKEN as error:
            raise SourceError(f"{self.source.name}: cannot be read ({error}); fetch the file again") from error
        if parts:
            yield bytes(parts)


def _unpacked(stream: BinaryIO) -> AbstractContextManager[BinaryIO]:
    """The stream itself, or what it holds if that is gzip'd, whatever its name says."""
    packed = stream.peek(2)[:2] == _GZIP  # type: ignore[attr-defined]
    return cast(AbstractContextManager[BinaryIO], gzip.open(stream)) if packed else nullcontext(stream)

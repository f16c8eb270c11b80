"""Unpacks a stream of bytes, all of it: what follows a packed stream must be another one, and it has an end."""

import bz2
import gzip
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, Final, cast

import pyarrow as pa

from pipeline.base import limits

# What the libraries raise over bytes that are not what they should be; RuntimeError over a zip with a password.
BROKEN = (
    *(OSError, EOFError, RuntimeError, UnicodeError, struct.error),
    *(zlib.error, lzma.LZMAError, zipfile.BadZipFile, pa.ArrowException),
)
AT_ONCE: Final = 1 << 16
WORD: Final = 4  # bytes: zeros behind an xz stream come in such groups


class _Streams(io.RawIOBase):
    """The content of packed streams one after the other; other bytes behind them are an error.

    The readers of the standard library pass such bytes over.
    """

    def __init__(self, file: BinaryIO, fresh: Callable[[], Any], padding: int = 0) -> None:
        self._file, self._fresh, self._padding = file, fresh, padding
        self._unpacker = fresh()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        most = len(buffer)
        while True:
            if self._unpacker.eof:
                packed = self._rest()
                if not packed:
                    return 0
                self._unpacker = self._fresh()
            else:
                packed = self._file.read(AT_ONCE) if self._unpacker.needs_input else b""
                if self._unpacker.needs_input and not packed:
                    raise EOFError("its packed stream is cut off")
            if part := self._unpacker.decompress(packed, most):
                buffer[: len(part)] = part
                return len(part)

    def _rest(self) -> bytes:
        """What follows the stream that has ended, without zeros that its format allows."""
        rest: bytes = self._unpacker.unused_data or self._file.read(AT_ONCE)
        while self._padding and rest and not rest[: self._padding].strip(b"\0") and len(rest) >= self._padding:
            rest = rest[self._padding :] or self._file.read(AT_ONCE)
        return rest

    def close(self) -> None:
        self._file.close()
        super().close()


class _Counted(io.RawIOBase):
    """Counts what it unpacks, and refuses what is more than the limits allow."""

    def __init__(self, stream: BinaryIO, packed: int, where: str) -> None:
        self._stream, self._packed, self._where, self._read = stream, packed, where, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self._stream.read(len(buffer))
        self._read += len(part)
        limits.held().require_unpacked(self._read, self._packed, self._where)
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        self._stream.close()
        super().close()


class _Gzip(gzip.GzipFile):
    """Closes the file that it reads."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(fileobj=file, mode="rb")
        self._file = file

    def close(self) -> None:
        super().close()
        self._file.close()


OPENERS: Final[dict[str, Callable[[BinaryIO], Any]]] = {
    ".gz": _Gzip,
    ".bz2": lambda file: io.BufferedReader(_Streams(file, bz2.BZ2Decompressor), AT_ONCE),
    ".xz": lambda file: io.BufferedReader(_Streams(file, lzma.LZMADecompressor, WORD), AT_ONCE),
    ".zst": lambda file: pa.CompressedInputStream(file, "zstd"),
    ".zstd": lambda file: pa.CompressedInputStream(file, "zstd"),
}


def unpacked(file: BinaryIO, packing: str, size: int, where: str) -> BinaryIO:
    """What a file holds.

    Args:
        file: its bytes as they lie there; closed with what is returned.
        packing: suffix of compression, "" for none.
        size: how many bytes it has.
        where: it lies, for messages.
    """
    if packing not in OPENERS:
        return file
    stream = cast(BinaryIO, OPENERS[packing](file))
    return cast(BinaryIO, io.BufferedReader(_Counted(stream, size, where), AT_ONCE))

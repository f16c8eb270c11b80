"""A log of lines that other tools read while it grows: each message stands there once, whatever dies in between.

The file is opened for each batch, so whoever rotates it may rename it at any moment, or cut it. The log must belong to
this sink alone. The mark of a batch is the inode of the file and its size after the batch. The next batch first reads
what lies after the mark: whole lines there were written and never acknowledged, so their keys are not written again.
Half a line at the end is cut off. Where the marked file is gone, all logs of that name that were written since the mark
are looked through.
"""

import fcntl
import gzip
import json
import os
import zlib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path
from typing import IO, Any, Final

import orjson

from pipeline.base import durable
from pipeline.base.temporary import opener
from pipeline.serving.alerts.sinks.base import Message, Sent, Sink, UnavailableError
from pipeline.serving.alerts.sinks.notice import Notice, notice_of

_CHUNK: Final = 1 << 20


@dataclass(frozen=True)
class _Mark:
    """A log up to some byte: its device and inode, that byte, and when it was written."""

    device: int
    inode: int
    size: int
    time: float

    def is_of(self, found: os.stat_result) -> bool:
        """Whether this is the log, and it was not cut."""
        return (self.device, self.inode) == (found.st_dev, found.st_ino) and found.st_size >= self.size


class LogFile(Sink):
    """Appends a line of JSON for each message.

    Args:
        file: the log; its folder is made.
    """

    def __init__(self, file: str) -> None:
        if not file:
            raise ValueError("file: the path of a log is needed")
        self.file = Path(file)

    @abstractmethod
    def line(self, notice: Notice) -> dict[str, Any]:
        """What a line says."""

    @abstractmethod
    def key_of(self, line: dict[str, Any]) -> str | None:
        """The key of the message that a line is of; None for a line of something else."""

    def send(self, messages: Sequence[Message], mark: str) -> Sent:
        """See ``Sink.send``; what stands in the log already is not written again."""
        try:
            return Sent(len(messages), self._appended(messages, _Mark(**json.loads(mark)) if mark else None))
        except OSError as error:
            raise UnavailableError(f"{self.file}: cannot be written ({error.strerror or error})") from error

    def _appended(self, messages: Sequence[Message], mark: _Mark | None) -> str:
        durable.make_folder(self.file.parent)
        with open(self.file, "a+b", buffering=0, opener=opener(self.file)) as log:
            fcntl.flock(log, fcntl.LOCK_EX)
            found = os.fstat(log.fileno())
            start = mark.size if mark is not None and mark.is_of(found) else 0
            _cut_torn_line(log, start)
            known = _keys(_lines(log, start), self.key_of)
            if mark is not None and not mark.is_of(found):
                known |= self._rotated(mark, found)
            _write(log, b"".join(self._bytes(each) for each in messages if each.key not in known))
            if not mark or found.st_ino != mark.inode:
                durable.sync(self.file.parent)
            behind = os.fstat(log.fileno())
            return json.dumps(asdict(_Mark(behind.st_dev, behind.st_ino, behind.st_size, behind.st_mtime)))

    def _bytes(self, message: Message) -> bytes:
        line = {name: value for name, value in self.line(notice_of(message)).items() if value is not None}
        return orjson.dumps(line) + b"\n"

    def _rotated(self, mark: _Mark, now: os.stat_result) -> set[str]:
        """The keys behind the mark in logs that were renamed since: in the marked one, or if it is gone in all."""
        others = [path for path in self.file.parent.glob(f"{self.file.name}?*") if path.is_file()]
        states = {path: path.stat() for path in others}
        marked = [path for path, state in states.items() if mark.is_of(state)]
        late = [path for path, state in states.items() if state.st_mtime >= mark.time and state.st_ino != now.st_ino]
        keys: set[str] = set()
        for path in marked or late:
            try:
                with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as log:
                    keys |= _keys(_lines(log, mark.size if marked else 0), self.key_of)
            except (OSError, EOFError, zlib.error) as error:  # it is being packed, or it is damaged
                remedy = "messages wait until it can be read, or is moved away"
                raise UnavailableError(f"{path}: cannot be read ({error}); {remedy}") from error
        return keys


def _lines(log: IO[bytes] | FileIO | gzip.GzipFile, start: int) -> Iterator[bytes]:
    """The whole lines behind a byte."""
    log.seek(start)
    rest = b""
    while chunk := log.read(_CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines


def _keys(lines: Iterable[bytes], key_of: Callable[[dict[str, Any]], str | None]) -> set[str]:
    keys = set()
    for line in lines:
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(value, dict) and (key := key_of(value)) is not None:
            keys.add(key)
    return keys


def _cut_torn_line(log: FileIO, start: int) -> None:
    """Cut off half a line, which a process left that was killed while it wrote."""
    size = log.seek(0, os.SEEK_END)
    end = size
    while end > start:
        begin = max(start, end - _CHUNK)
        if (place := os.pread(log.fileno(), end - begin, begin).rfind(b"\n")) >= 0:
            log.truncate(begin + place + 1)
            return
        end = begin
    log.truncate(start)


def _write(log: FileIO, content: bytes) -> None:
    """Write all of it and flush it to the disk, or leave the log as it was."""
    size = log.seek(0, os.SEEK_END)
    left = memoryview(content)
    try:
        while left:
            left = left[log.write(left) or 0 :]
        os.fsync(log.fileno())
    except OSError:
        log.truncate(size)
        raise

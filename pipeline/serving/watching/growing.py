"""A log that is read as it grows, over rotations, from where it was read to last, also by an earlier process.

How far it was read says the name of the last micro-batch that was written, see ``stretch``, or, where a stretch has
ended since::

    data/watch/STREAM/position.json    generation, inode, offset, a hash of the first bytes, which logs are done with

A log that was renamed is read to its end, and then the new one under its name. A log that became shorter was emptied,
and is read from its start. Each of these begins a new generation, which is part of the names of micro-batches, so no
two parts of a stream ever have one name. After a pause, logs that were renamed meanwhile are read first, if they still
lie beside it and are not packed: the one that was being read, then all that were not read yet, by their time. Which
were read is written down, because times alone do not tell it: a clock may be set back. A warning names a log that is no
longer there, and the rest is read.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

from pipeline.artifacts.files import write_json
from pipeline.datasets.suffixes import PACKINGS
from pipeline.serving.watching import stretch
from pipeline.serving.watching.lines import LONGEST, Batch, Header, cut
from pipeline.serving.watching.quiet import Quiet

READ: Final = 4 << 20  # bytes at a time
HEAD: Final = 4096  # bytes that tell one log from another under the same inode: more than a header of CSV has
POSITION: Final = "position.json"
_NAME: Final = re.compile(r".*-(?P<generation>\d{6})-(?P<start>\d{15})-(?P<end>\d{15})")


@dataclass(frozen=True)
class Position:
    """How far a stream was read.

    Attributes:
        generation: 1 for the first log, one more for each that follows.
        inode: of the log.
        offset: bytes of it that were read.
        head: sha256 of its first bytes, at most ``HEAD``; "" where nothing was read.
        length: how many bytes these are.
        passed: what tells each renamed log that is done with: it was read, or was there before the first watch.
    """

    generation: int = 0
    inode: int = 0
    offset: int = 0
    head: str = ""
    length: int = 0
    passed: tuple[str, ...] = ()


def known(folder: Path) -> Position:
    """How far the stream of a folder was read: what its position says, and the names of its micro-batches."""
    found = Position()
    with suppress(OSError, ValueError, TypeError, RecursionError):
        told = json.loads((folder / POSITION).read_bytes())
        found = Position(**{**told, "passed": tuple(told.get("passed", ()))})
    for each in sorted(folder.glob("*-v*-*")) if folder.is_dir() else ():
        for path in stretch.batches(each):
            name = _NAME.match(path.stem)
            if name and (int(name["generation"]), int(name["end"])) > (found.generation, found.offset):
                found = replace(found, generation=int(name["generation"]), offset=int(name["end"]))
    return found


def remember(name: str) -> None:
    """Write down how far a stream was read, because its micro-batches, whose names say so, are about to go.

    Raises:
        ArtifactError: it cannot be written.
    """
    folder = stretch.room() / name
    if (found := known(folder)).generation:
        _write(folder, found)


def _write(folder: Path, position: Position) -> None:
    write_json(folder / POSITION, asdict(position))


class GrowingLog:
    """One log; ``read`` gives what has come since.

    Args:
        path: of the log, as its writer calls it; it need not exist yet.
        tell: gets, in words, what was lost.
        settle: seconds for which a log is still looked at after it was seen to be renamed, and since it changed last:
            its writer may not know yet. The clock of the machine says nothing of that, as it may be set.

    Attributes:
        stream: its name under ``data/watch``.
        behind: bytes of the log that are not read yet, as far as is known; half a line at the end is not counted.
    """

    def __init__(self, path: Path, tell: Callable[[str], None], settle: float = 0.0) -> None:
        self.path, self.tell, self.settle, self.behind = path, tell, settle, 0
        self.stream = f"{path.name}-{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
        self._folder = stretch.room() / self.stream
        self._file: BinaryIO | None = None
        self._header, self._rest = Header(), b""
        self.position = known(self._folder)
        self._is_done = False
        self._quiet = Quiet()  # of logs that were renamed

    def read(self, most: int) -> Batch | None:
        """The next lines, at most so many; None where there are none now."""
        if self._file is None and not self._open():
            return None
        if self._was_emptied():
            self._done(self._renamed())  # among them may be a copy of what was read
            return None
        batch = self._lines(most)
        if batch is None and self._has_ended() and self._is_settled():
            batch = self._last_line()
            self._done([path for path in self._renamed() if self._is_the_one(path)])
        return batch

    def commit(self) -> None:
        """Remember the position: a stretch has ended, and its micro-batches go."""
        _write(self._folder, self.position)

    def close(self) -> None:
        """Let go of the log."""
        if self._file is not None:
            self._file.close()
        self._file, self._rest = None, b""

    def _done(self, passed: Sequence[Path]) -> None:
        """Let go of the log, because there is no more in it; ``passed`` are renamed logs that are done with."""
        self.close()
        self._is_done = True
        self._pass(passed)

    def _pass(self, logs: Sequence[Path]) -> None:
        """Note which renamed logs are done with; those that are gone are forgotten."""
        there = {_identity(path) for path in self._renamed()}
        told = {*self.position.passed, *map(_identity, logs)} & there
        self.position = replace(self.position, passed=tuple(sorted(told)))

    # Which file is read.

    def _open(self) -> bool:
        found = self._where()
        if found is None:
            return False
        path, offset = found
        try:
            file = path.open("rb")
        except OSError:
            return False
        self._file, self._rest, self._header, self._is_done = file, b"", Header(), False
        with suppress(FileNotFoundError):  # all at once, so that one need not be waited for after the other
            self._quiet.look([each.stat() for each in self._renamed()])
        if offset == 0:
            at = self.position
            self.position = Position(at.generation + 1, os.fstat(file.fileno()).st_ino, passed=at.passed)
            _write(self._folder, self.position)
        else:
            self._header.above(_head_lines(file))
            file.seek(offset)
        return True

    def _where(self) -> tuple[Path, int] | None:
        """Which log is to be read, and from where; None where there is none."""
        at, new = self.position, (self.path, 0) if self.path.exists() else None
        if not at.generation:
            self._pass(self._renamed())  # what was renamed before the first watch is not its business
            return new
        if self._is_done:
            unread = [path for path in self._renamed() if _identity(path) not in at.passed]
            return (unread[0], 0) if unread else new
        if self._is_the_one(self.path):
            if self.path.stat().st_size >= at.offset:
                return self.path, at.offset
            self._pass(self._renamed())  # it was emptied; among them may be a copy of it
            return new
        known = next((path for path in self._renamed() if self._is_the_one(path)), None)
        if known is None and new is not None:
            self.tell(f"{self.path}: the log that was read to byte {at.offset:,} is gone; its rest was not judged")
            self._pass(self._renamed())
        return (known, at.offset) if known else new

    def _renamed(self) -> list[Path]:
        """Logs that may have had this name, by their time."""
        stem = self.path.name.partition(".")[0]
        beside = (each for each in self.path.parent.glob(f"{stem}*") if each.is_file() and each != self.path)
        plain = [each for each in beside if not each.name.endswith((*PACKINGS, ".zip"))]
        return sorted(plain, key=lambda each: each.stat().st_mtime_ns)

    def _is_the_one(self, path: Path) -> bool:
        at = self.position
        try:
            with path.open("rb") as file:
                same = os.fstat(file.fileno()).st_ino == at.inode
                return same and hashlib.sha256(file.read(at.length)).hexdigest() == (at.head or _EMPTY)
        except OSError:
            return False

    def _was_emptied(self) -> bool:
        """Whether the log that is open holds other bytes by now than those that were read."""
        if self._file is None or not self.position.offset:
            return False
        at, number = self.position, self._file.fileno()
        changed = at.head and hashlib.sha256(os.pread(number, at.length, 0)).hexdigest() != at.head
        return bool(changed) or os.fstat(number).st_size < at.offset

    def _has_ended(self) -> bool:
        """Whether the log that is open has another name by now, and was read to its end."""
        if self._file is None:
            return False
        try:
            now = self.path.stat()
        except OSError:
            return False  # it is being rotated: the new one will come
        size = os.fstat(self._file.fileno()).st_size
        return now.st_ino != self.position.inode and size <= self.position.offset + len(self._rest)

    def _is_settled(self) -> bool:
        """Whether the log that is open, which was renamed, has been as it is for long enough."""
        return self._file is not None and self._quiet.seconds(os.fstat(self._file.fileno())) >= self.settle

    # What it holds.

    def _lines(self, most: int) -> Batch | None:
        """The next lines that hold a record."""
        assert self._file is not None
        while True:
            if self._rest.count(b"\n") < most and len(self._rest) < LONGEST:
                self._rest += self._file.read(READ)
            lines, self._rest = cut(self._rest, most)
            if not lines and len(self._rest) >= LONGEST:
                return self._last_line()  # no line: whoever reads it says so
            half = 0 if b"\n" in self._rest else len(self._rest)
            self.behind = os.fstat(self._file.fileno()).st_size - self.position.offset - len(lines) - half
            if not lines or (batch := self._batch(lines)) is not None:
                return batch if lines else None

    def _last_line(self) -> Batch | None:
        """What lies behind the last line end."""
        lines, self._rest = self._rest, b""
        return self._batch(lines, b"\n") if lines.strip() else None

    def _batch(self, lines: bytes, end: bytes = b"") -> Batch | None:
        """A batch of lines; None where they hold no record, as a header alone does not."""
        at, stop = self.position, self.position.offset + len(lines)
        if not at.offset:
            at = replace(at, head=hashlib.sha256(lines[:HEAD]).hexdigest(), length=min(HEAD, len(lines)))
            _write(self._folder, at)  # no name of a micro-batch says this
        self.position = replace(at, offset=stop)
        name = f"{self.path.stem}-{at.generation:06d}-{at.offset:015d}-{stop:015d}{self.path.suffix}"
        content, records = self._header.above(lines + end)
        return Batch(name, content, records) if records else None


_EMPTY: Final = hashlib.sha256(b"").hexdigest()


def _identity(path: Path) -> str:
    """What tells a log from others, whatever its name: its inode and a hash of its first bytes; "" if it is gone."""
    try:
        with path.open("rb") as file:
            return f"{os.fstat(file.fileno()).st_ino} {hashlib.sha256(file.read(HEAD)).hexdigest()}"
    except OSError:
        return ""


def _head_lines(file: BinaryIO) -> bytes:
    """The header lines at the start of a log, or its first line."""
    found: list[bytes] = []
    for line in file:
        if found and not line.startswith(b"#"):
            break
        found.append(line)
        if not line.startswith(b"#"):
            break
    return b"".join(found)

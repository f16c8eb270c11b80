"""Operations that wait for their store, in the order in which they came."""

import fcntl
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.base import durable
from pipeline.tracking.operations import Operation

REMEDY = "free some space or check the rights of the folder, then run again"


class Journal:
    """A file that is only ever appended to, until all that stands in it is done: then it goes.

    ::

        journal.jsonl   {"id": 32 characters, "call": ...}   an operation that waits
                        {"done": its id}                     it waits no longer
        refused.jsonl   operations that the store refused, with its reason
        files/          copies of the files that operations speak of

    Threads and processes may share it. What is kept is on the disk when ``append`` returns. What a process that is
    killed had not written to the end is as if it had never been; the start of its line moves to ``journal.jsonl.torn``.
    Only this user may enter the folder.

    Args:
        folder: made where it is absent.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path, self._refused = folder / "journal.jsonl", folder / "refused.jsonl"

    @property
    def empty(self) -> bool:
        """Whether nothing waits, as one look at the disk tells."""
        return not self._path.exists()

    def append(self, operation: Operation) -> None:
        """Keep an operation, and the file that it speaks of, until it is done."""
        entry = {**operation, "id": uuid.uuid4().hex}
        with self._locked():
            if "path" in entry:
                entry["path"] = self._copied(Path(entry["path"]), entry["id"])
            _add(self._path, entry)

    def done(self, operation: Operation) -> None:
        """Let go of an operation."""
        with self._locked():
            _add(self._path, {"done": operation["id"]})
            shutil.rmtree(self._files(operation["id"]), ignore_errors=True)

    def refuse(self, operation: Operation, reason: str) -> None:
        """Put an operation aside; a file that it speaks of stays."""
        with self._locked():
            _add(self._refused, {**operation, "reason": reason})
            _add(self._path, {"done": operation["id"]})

    def pending(self) -> list[Operation]:
        """The operations that wait, the oldest first."""
        with self._locked():
            if self.empty:
                return []
            entries = durable.lines(self._path)
            done = {entry.get("done") for entry in entries}
            waiting = [entry for entry in entries if "done" not in entry and entry["id"] not in done]
            if not waiting and self._cleaned():
                self._path.unlink()
            return waiting

    def _cleaned(self) -> bool:
        """Remove the copies that nobody needs; whether none is left. Until then the journal stays, to be read again."""
        files = self.folder / "files"
        if self._refused.exists():
            return True
        shutil.rmtree(files, ignore_errors=True)
        return not files.exists()

    @contextmanager
    def alone(self, wait: bool) -> Iterator[bool]:
        """Whether this is the only one that applies what waits; where another does, wait for it or return false."""
        with self._lock_file("delivery.lock") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
            else:
                yield True

    def _copied(self, path: Path, name: str) -> str:
        copy = self._files(name) / path.name
        with durable.atomic(copy, REMEDY) as temporary:
            shutil.copyfile(path, temporary)
        return str(copy)

    def _files(self, name: str) -> Path:
        return self.folder / "files" / name

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._lock_file("journal.lock") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # let go with the file, whatever ends the process
            yield

    @contextmanager
    def _lock_file(self, name: str) -> Iterator[int]:
        durable.make_private(self.folder)
        with durable.lock_file(self.folder / name, REMEDY) as file:
            yield file


def _add(path: Path, entry: Operation) -> None:
    with durable.refusals(path, REMEDY):
        durable.append(path, entry, allow_nan=True)  # a metric may be NaN

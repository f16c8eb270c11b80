"""Operations that wait for their store, in the order in which they came."""

import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.tracking.operations import Operation


class Journal:
    """A file that is only ever appended to, until all that stands in it is done: then it goes.

    ::

        journal.jsonl   {"id": 32 characters, "call": ...}   an operation that waits
                        {"done": its id}                     it waits no longer
        refused.jsonl   operations that the store refused, with its reason
        files/          copies of the files that operations speak of

    Threads and processes may share it. What a process that is killed had not written to the end is as if it had never
    been.

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
            self._add(self._path, entry)

    def done(self, operation: Operation) -> None:
        """Let go of an operation."""
        with self._locked():
            self._add(self._path, {"done": operation["id"]})
            shutil.rmtree(self._files(operation["id"]), ignore_errors=True)

    def refuse(self, operation: Operation, reason: str) -> None:
        """Put an operation aside; a file that it speaks of stays."""
        with self._locked():
            self._add(self._refused, {**operation, "reason": reason})
            self._add(self._path, {"done": operation["id"]})

    def pending(self) -> list[Operation]:
        """The operations that wait, the oldest first."""
        with self._locked():
            if self.empty:
                return []
            whole = self._path.read_bytes().rpartition(b"\n")[0]
            entries = [json.loads(line) for line in whole.splitlines()]
            done = {entry.get("done") for entry in entries}
            waiting = [entry for entry in entries if "done" not in entry and entry["id"] not in done]
            if not waiting:
                self._path.unlink()
                if not self._refused.exists():
                    shutil.rmtree(self.folder / "files", ignore_errors=True)
            return waiting

    @contextmanager
    def alone(self, wait: bool) -> Iterator[bool]:
        """Whether this is the only one that applies what waits; where another does, wait for it or be told."""
        with self._lock_file("delivery.lock") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
            else:
                yield True

    def _copied(self, path: Path, name: str) -> str:
        copy = self._files(name) / path.name
        copy.parent.mkdir(parents=True)
        shutil.copyfile(path, copy)
        return str(copy)

    def _files(self, name: str) -> Path:
        return self.folder / "files" / name

    def _add(self, path: Path, entry: Operation) -> None:
        _end_whole(path)
        with path.open("ab") as file:
            file.write(json.dumps(entry).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._lock_file("journal.lock") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # let go with the file, whatever ends the process
            yield

    @contextmanager
    def _lock_file(self, name: str) -> Iterator[int]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / name).open("w") as file:
            yield file.fileno()


def _end_whole(path: Path) -> None:
    """Cut off the start of a line that a killed process did not finish."""
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 1))
        if file.read() in (b"\n", b""):
            return
    os.truncate(path, path.read_bytes().rfind(b"\n") + 1)

"""Records that another program writes into this one: a CSV with its header, a log of Zeek, or objects of JSON.

A thread reads, and keeps what has come until it is judged. When ``most`` lines wait, it reads no more. Then the pipe
fills, and the program that writes waits: nothing is dropped, and memory is bounded.

What was read from a pipe is nowhere else. A process that is killed loses the lines that it has read and not yet written
as a micro-batch. If no line may be lost, write to a file and watch that.
"""

import os
import select
import threading
from collections import deque
from typing import Final

from pipeline.serving.watching.lines import LONGEST, Batch, Header, cut

READ: Final = 1 << 20  # bytes at a time
SUFFIXES: Final = {"zeek": ".log", "csv": ".csv", "json": ".jsonl"}


class StandardInput:
    """Reads a file descriptor until it ends; ``read`` gives what has come since.

    Args:
        descriptor: such as 0, standard input.
        name: of the stream in the names of its parts; another one for each process.
        most: lines that wait, at most, but for those of the last read.
        json: suffix of a file of JSON as the model reads it.

    Attributes:
        stream: its name under ``data/watch``.
        is_over: whether all that ever came was given.
    """

    stream = "stdin"

    def __init__(self, descriptor: int, name: str, most: int, json: str = ".jsonl") -> None:
        self._descriptor, self._name, self._most = descriptor, name, most
        self._suffixes = {**SUFFIXES, "json": json}
        self._header, self._line, self.is_over = Header(), 0, False
        self._blocks: deque[bytes] = deque()  # whole lines
        self._lines, self._has_ended = 0, False
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._pump, name="standard input", daemon=True)
        self._thread.start()

    @property
    def behind(self) -> int:
        """Lines that wait."""
        return self._lines

    def read(self, most: int) -> Batch | None:
        """The next lines, at most so many; None where there are none now."""
        while True:
            lines, self.is_over = self._taken(most)
            if not lines:
                return None
            content, records = self._header.above(lines)
            name = f"{self._name}-{self._line:015d}{self._suffixes[self._header.kind]}"
            self._line += lines.count(b"\n")
            if records:
                return Batch(name, content, records)

    def commit(self) -> None:
        """A stretch has ended; a pipe has no place to go back to."""

    def close(self) -> None:
        """Read no more; what was read already is still given."""
        self._stopped.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join()

    def _taken(self, most: int) -> tuple[bytes, bool]:
        """The lines that wait, at most so many, and whether no more will come."""
        with self._changed:
            found, rest = cut(b"".join(self._blocks), most)
            self._blocks = deque([rest] if rest else [])
            self._lines -= found.count(b"\n")
            self._changed.notify_all()
            return found, self._has_ended and not self._blocks

    def _pump(self) -> None:
        rest = b""
        while not self._stopped.is_set():
            ready, _, _ = select.select([self._descriptor], [], [], 0.1)
            if not ready:
                continue
            read = os.read(self._descriptor, READ)
            text = rest + read if read else rest + b"\n" * bool(rest)
            end = text.rfind(b"\n") + 1 or (len(text) if len(text) >= LONGEST else 0)
            self._put(text[:end])
            rest = text[end:]
            if not read:
                break
        with self._changed:
            self._has_ended = True

    def _put(self, lines: bytes) -> None:
        """Let lines wait, as soon as there is room."""
        if not lines:
            return
        lines = lines if lines.endswith(b"\n") else lines + b"\n"
        with self._changed:
            self._changed.wait_for(lambda: self._lines < self._most or self._stopped.is_set())
            self._blocks.append(lines)
            self._lines += lines.count(b"\n")

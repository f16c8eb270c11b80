"""Reads files of others in a process of its own, so that a parser that crashes or never ends harms that file alone.

One process reads many files, one after the other. After one that it could not end well, another one takes its place.
"""

import fcntl
import io
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, Final, NamedTuple, cast

import pyarrow as pa

from pipeline.base import errors, limits
from pipeline.base.errors import FlowsculptError, SourceError
from pipeline.datasets import members
from pipeline.datasets.apart import wire
from pipeline.datasets.base import Chunk, Dataset, Part
from pipeline.datasets.incoming import incoming
from pipeline.datasets.reading import Reading
from pipeline.datasets.schema import Column

ROOT: Final = Path(__file__).parents[3]
# What the process knows of the environment: no password and no key.
KNOWN: Final = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "PYTHONTZPATH", "LD_LIBRARY_PATH")
START: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from pipeline.datasets.apart.child import main; main(int(sys.argv[2]))"
)
PATIENCE: Final = 10  # times the processor time that is allowed: a machine may be busy
GRACE: Final = 5.0  # seconds for a process that has closed its pipe to end
PIPE: Final = 1 << 20  # bytes that wait in it
SET_PIPE_SIZE: Final = 1031  # of fcntl(2)


class Asked(NamedTuple):
    """What to read, and how; see ``incoming``."""

    path: Path
    dataset: str
    needed: tuple[Column, ...]
    extraction: Mapping[str, float] | None
    reading: Reading | None
    labels: Mapping[str, Any] | None
    also: Collection[str]

    def read(self) -> Iterator[Chunk]:
        """Read in this process.

        Raises:
            FlowsculptError: the file cannot be read.
        """
        return members.accounted(self._dataset(), to_score=True)

    def partitions(self) -> Iterator[Part]:
        """What reads each chunk in this process, or in whichever is to do it; raises what ``read`` does."""
        return members.partitions(self._dataset(), to_score=True)

    def _dataset(self) -> Dataset:
        given = (self.needed, self.extraction, self.reading, self.labels, self.also)
        return incoming(self.path, self.dataset, *given)


class Apart:
    """A process that reads files.

    Args:
        memory: bytes of address space that it may have.
        seconds: of processor time that it may take for each file.
    """

    def __init__(self, memory: int, seconds: int) -> None:
        self.memory, self.seconds = memory, seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = Lock()
        self.about: dict[str, Any] = {}
        self.start()

    def start(self) -> None:
        """Start the process, which then gets ready by itself."""
        environment = {name: os.environ[name] for name in KNOWN if name in os.environ}
        path = json.dumps([str(ROOT), *(each for each in sys.path if each)])
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", START, path, str(self.memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment | {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"},
            bufsize=0,
            start_new_session=True,  # Ctrl-C ends whoever asked, which may still have files to read
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests = cast(BinaryIO, io.BufferedWriter(cast(io.RawIOBase, self._process.stdin)))
        with suppress(OSError):
            fcntl.fcntl(self._process.stdout, SET_PIPE_SIZE, PIPE)
        self.about = {}

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._running().pid

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (self._requests, process.stdout):
                with suppress(OSError):
                    pipe.close() if pipe else None

    def read(self, asked: Asked) -> Iterator[Chunk]:
        """What can be read of a file, some records at a time.

        Raises:
            FlowsculptError: what the reader raised; a SourceError where its process ended, or ran into a limit.
        """
        with self._lock:
            is_ready = False  # for the next file
            try:
                yield from self._read(asked)
                is_ready = True
            except FlowsculptError as error:
                is_ready = not isinstance(error, EndedError)
                raise
            finally:
                if not is_ready:
                    self.close()

    def _read(self, asked: Asked) -> Iterator[Chunk]:
        process = self._running()
        try:
            if not self.about:
                self.about, _ = self._answer(process, asked.path)
            wire.send(self._requests, _request(asked, self.seconds))
            while True:
                message, tables = self._answer(process, asked.path)
                if "error" in message:
                    raise error_of(asked.path, message)
                if message.get("end"):
                    return
                yield wire.chunk_of(message, tables)
        except (EOFError, BrokenPipeError) as error:
            raise EndedError(f"{asked.path}: {_fate(process)}; a damaged or hostile file does that") from error
        except (ValueError, KeyError, TypeError, pa.ArrowException) as error:
            raise EndedError(f"{asked.path}: its reader answers what cannot be read ({error})") from error

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None or self._process.poll() is not None:
            self.close()
            self.start()
        assert self._process is not None
        return self._process

    def _answer(self, process: "subprocess.Popen[bytes]", path: Path) -> tuple[wire.Message, list[Any]]:
        waits = PATIENCE * self.seconds
        answers = cast(BinaryIO, process.stdout)
        if not select.select([answers], [], [], waits)[0]:
            told = f"its reader has not answered for {waits:,} seconds, and was stopped; raise files.seconds"
            raise EndedError(f"{path}: {told} if the file is right")
        return wire.receive(answers)


class EndedError(SourceError):
    """The process that reads files has ended, or is to be ended."""


class OddError(SourceError):
    """A library has raised what no reader expects of it."""


def _fate(process: "subprocess.Popen[bytes]") -> str:
    """How the process ended, in words."""
    try:
        code = process.wait(GRACE)
    except subprocess.TimeoutExpired:
        return "its reader closed its answers"
    if code == -signal.SIGXCPU:
        return "its reader took more processor time than files.seconds allows"
    return f"its reader was ended by {signal.Signals(-code).name}" if code < 0 else f"its reader ended with code {code}"


def _request(asked: Asked, seconds: int) -> dict[str, Any]:
    """What to read, as JSON can say it."""
    return {
        "path": os.fspath(asked.path),
        "dataset": asked.dataset,
        "needed": [asdict(column) for column in asked.needed],
        "extraction": asked.extraction,
        "reading": None if asked.reading is None else asked.reading.stated(),
        "labels": asked.labels,
        "also": sorted(asked.also),
        "limits": limits.held()._asdict(),
        "seconds": seconds,
    }


def error_of(path: Path, message: wire.Message) -> FlowsculptError:
    """The error that the reader raised; one of a library is the fault of the file."""
    if message["memory"]:
        return SourceError(
            f"{path}: its reader needs more memory than files.memory allows; raise it if the file is right"
        )
    kind = getattr(errors, str(message["error"]), None)
    if not (isinstance(kind, type) and issubclass(kind, FlowsculptError)):
        fault = SourceError if message["known"] else OddError
        return fault(f"{path}: cannot be read ({message['error']}: {message['message']}); fetch the file again")
    error: FlowsculptError = kind(message["message"])
    if message["errno"] is not None:
        error.__cause__ = OSError(message["errno"], os.strerror(message["errno"]))
    return error

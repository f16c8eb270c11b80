"""Processes that end together: whatever ends a flow, nothing that it started is left."""

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import IO

import psutil

SECONDS_OF_GRACE = 10.0
SECONDS_BETWEEN_REDRAWS = 10.0

_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@contextmanager
def group(
    command: Sequence[str], env: Mapping[str, str], root: Path, output: int = subprocess.PIPE
) -> Iterator[subprocess.Popen[bytes]]:
    """A process and all that it starts, none of which outlives this context.

    A process that a stage leaves behind keeps the pipe open, and its reader would wait for ever: so the group is ended
    as soon as its leader is gone.
    """
    process = subprocess.Popen(
        command, cwd=root, env=dict(env), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
    )
    watcher = threading.Thread(target=_end_after, args=(process,), daemon=True)
    watcher.start()
    try:
        yield process
    finally:
        if process.poll() is None:
            _end(process.pid)
        process.wait()
        watcher.join()
        if process.stdout:
            process.stdout.close()


def lines(stream: IO[bytes] | None) -> Iterator[str]:
    """The lines of a stream as they come; of a progress bar, which redraws one line, a sample."""
    shown = float("-inf")
    with TextIOWrapper(stream, encoding="utf-8", errors="replace", newline="") as text:  # type: ignore[type-var]
        for raw in text:
            line = _COLOUR.sub("", raw).rstrip()
            if raw.endswith("\r"):
                if not line or time.monotonic() - shown < SECONDS_BETWEEN_REDRAWS:
                    continue
                shown = time.monotonic()
            yield line


def _end_after(process: "subprocess.Popen[bytes]") -> None:
    process.wait()
    _end(process.pid)


def _end(group: int) -> None:
    """TERM to every process of a group and their descendants, KILL to those that are left after a time of grace."""
    family = _members(group)
    _signal(family, signal.SIGTERM)
    deadline = time.monotonic() + SECONDS_OF_GRACE
    while any(map(_is_alive, family)) and time.monotonic() < deadline:
        time.sleep(0.05)
    _signal(_members(group) | family, signal.SIGKILL)


def _members(group: int) -> set[psutil.Process]:
    own = {process for process in psutil.process_iter() if _group_of(process) == group}
    return own | {child for process in own for child in _descendants(process)}


def _group_of(process: psutil.Process) -> int | None:
    try:
        return os.getpgid(process.pid)
    except (ProcessLookupError, PermissionError):
        return None


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _signal(processes: set[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        if _is_alive(process):
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

"""Processes that end together: whatever ends a flow, nothing that it started is left.

Each command runs under a guard, which is this file run as a program. The guard adopts whatever its command leaves
behind, and reads a pipe that only the starter holds open: a starter that is killed with SIGKILL can tidy up nothing,
but its end of the pipe closes all the same, and the guard then kills the command and all that it started.
"""

import ctypes
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Literal, Self

import psutil

from flows.runtime import logs

SECONDS_OF_GRACE = 10.0
SECONDS_BETWEEN_REDRAWS, SECONDS_BETWEEN_LOOKS = 10.0, 0.2
SECONDS_BEFORE_AGAIN, LONGEST_BEFORE_AGAIN = 1.0, 60.0

PRIVATE = 0o077  # the umask under which nobody else can read a file

_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_PR_SET_CHILD_SUBREAPER = 36

Told = Literal["all", "head"]


@contextmanager
def group(
    command: Sequence[str],
    env: Mapping[str, str],
    root: Path,
    output: int | IO[bytes] | None = subprocess.PIPE,
    told: Told = "all",
    kept: Sequence[int] = (),
    umask: int = -1,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process and all that it starts, none of which outlives this context, or the process that opened it.

    A process that a stage leaves behind keeps the pipe open, and its reader would wait for ever: so the family is ended
    as soon as its head is gone.

    Args:
        command: the program and its arguments.
        env: all of its variables.
        root: the folder that it works in.
        output: where its stdout and stderr go; None: where those of this process go.
        told: who gets a TERM at the end, before those that are left are killed: ``all``, or the ``head`` alone, twice,
            which is for a program that looks after its children itself.
        kept: open files that stay open until the last of them is gone, such as a lock.
        umask: the rights that files which it makes do not have; -1: as in this process.

    Yields:
        The guard of the process. It ends with the exit code of the process, or 128 and the signal that ended that.
    """
    theirs, ours = os.pipe()
    guard = [sys.executable, "-P", __file__, str(theirs), str(SECONDS_OF_GRACE), told, *command]
    try:
        process = _started(guard, env, root, output, (theirs, *kept), umask)
    finally:
        os.close(theirs)
    try:
        yield process
    finally:
        try:
            process.terminate()
            process.wait()
            _kill(lambda: _members(process.pid))  # where the guard itself was killed
        finally:
            os.close(ours)
            if process.stdout:
                process.stdout.close()


def _started(
    command: Sequence[str],
    env: Mapping[str, str],
    root: Path,
    output: int | IO[bytes] | None,
    kept: Sequence[int],
    umask: int,
) -> "subprocess.Popen[bytes]":
    """A command in a session of its own, which no Ctrl-C of this terminal reaches."""
    return subprocess.Popen(
        command,
        cwd=root,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=None if output is None else subprocess.STDOUT,
        start_new_session=True,
        pass_fds=kept,
        umask=umask,
    )


class Kept:
    """A program that is started again whenever it ends, until ``stop``.

    Other users cannot read the files that it makes.

    Args:
        name: what messages call it.
        command: the program and its arguments.
        env: all of its variables.
        log: where its output goes; None: to that of this process.
        told: see ``group``.
        between: called after it ended and before it is started again.
        root: the folder that it works in; None: that of this process.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str],
        log: Path | None = None,
        told: Told = "all",
        between: Callable[[], None] = lambda: None,
        root: Path | None = None,
    ) -> None:
        self.name, self.log, self.codes, self._root = name, log, list[int](), root
        self._command, self._env, self._told, self._between = command, env, told, between
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _keep(self) -> None:
        while not self._stopping.is_set():
            with ExitStack() as held:
                output = held.enter_context(open(self.log, "ab", opener=_open_private)) if self.log else None
                started = group(self._command, self._env, self._root or Path.cwd(), output, self._told, umask=PRIVATE)
                process = held.enter_context(started)
                while process.poll() is None and not self._stopping.wait(SECONDS_BETWEEN_LOOKS):
                    pass
            if not self._stopping.is_set():
                self.codes.append(process.returncode)
                seconds = min(SECONDS_BEFORE_AGAIN * 2 ** (len(self.codes) - 1), LONGEST_BEFORE_AGAIN)
                logs.say(self.name, f"ended with code {process.returncode}; again in {seconds:g} s")
                self._stopping.wait(seconds)
                self._between()


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


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


def alive(process: psutil.Process) -> bool:
    """Whether a process still works: a dead one that nobody has waited for does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# The guard.


def guard(pipe: int, grace: float, told: Told, command: Sequence[str]) -> int:
    """Run a command to its end, or to that of the process that holds the other end of ``pipe``, or to a TERM.

    Args:
        pipe: closes with the starter.
        grace: seconds between a TERM and the KILL.
        told: see ``group``.
        command: the program and its arguments.

    Returns:
        The exit code.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    asked: list[int] = []
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    try:
        process = subprocess.Popen(command, start_new_session=False)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    orphaned = False
    while process.poll() is None and not asked and not orphaned:
        orphaned = pipe in select.select([pipe, woken], [], [])[0]
        if not orphaned:
            os.read(woken, 4096)
            _bury_adopted(process.pid)
    ended = process.poll()
    if told == "all" and not orphaned and (ended is None or ended >= 0):
        _tell(_family(), grace)
    elif told == "head" and not orphaned:
        _tell_twice(process, grace)
    _kill(_family)  # at once where the starter or the head were killed: they had no time for a word either
    code = process.wait()
    return code if code >= 0 else 128 - code


def _bury_adopted(own: int) -> None:
    """Wait for whoever was adopted and is dead: a process that nobody waits for looks alive to DVC's locks."""
    if sys.platform == "linux":
        with suppress(ChildProcessError):
            while dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if dead.si_pid == own:
                    return
                os.waitpid(dead.si_pid, 0)


def _tell_twice(process: "subprocess.Popen[bytes]", grace: float) -> None:
    for _ in range(2):  # a Prefect worker that has had a run does not end on the first
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace / 2)


def _tell(family: set[psutil.Process], grace: float) -> None:
    """TERM to each of a family, and time to end."""
    _signal(family, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while any(map(alive, family)) and time.monotonic() < deadline:
        time.sleep(0.05)


def _kill(family: Callable[[], set[psutil.Process]]) -> None:
    """KILL to each of a family and to whom they started meanwhile."""
    while left := {process for process in family() if alive(process)}:
        _signal(left, signal.SIGKILL)
        time.sleep(0.01)


def _family() -> set[psutil.Process]:
    """All that this guard's command started and that is left."""
    return _members(os.getpgrp()) - {psutil.Process()}


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
        if alive(process):
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue


if __name__ == "__main__":
    sys.exit(guard(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4:]))  # type: ignore[arg-type]

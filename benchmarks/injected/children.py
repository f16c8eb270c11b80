"""A forked child for each trial: it waits, is watched, does one thing, and says how that ended."""

import gc
import json
import os
import resource
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pipeline.base import machine
from pipeline.base.errors import FlowsculptError

DONE, REFUSED, KILLED, TRACEBACK = "done", "refused", "killed", "traceback"
End = Literal["done", "refused", "killed", "traceback"]
PATIENCE: Final = 120  # seconds after which a child counts as one that hangs
READY: Final = b"."
NOISE: Final = 2_000  # characters of a traceback that are kept


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        end: ``done``; ``refused`` with a message for people; ``killed``; or ``traceback`` of any other error.
        said: the message, or the last lines of the traceback.
        value: what the child returned, as JSON has it.
    """

    end: End
    said: str = ""
    value: Any = None


class Child:
    """A fork of this process that waits for ``go`` before it acts.

    Args:
        act: what it does; what it returns must be JSON.
        folder: where it works.
        alarm: seconds after which it is killed; a child that hangs has given way.
    """

    def __init__(self, act: Callable[[], Any], folder: Path, alarm: int = PATIENCE) -> None:
        start, self._start = os.pipe()
        self._told, tell = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(self._start)
            os.close(self._told)
            _work(act, folder, start, tell, alarm)
        os.close(start)
        os.close(tell)
        os.read(self._told, 1)  # it is ready: whoever watches it now sees no call by which it got there

    def go(self) -> None:
        """Let it act."""
        os.write(self._start, b"!")
        os.close(self._start)

    def has_ended(self) -> bool:
        """Whether it has; it can still be waited for."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def wait(self) -> Ended:
        """How it ended."""
        with os.fdopen(self._told, "rb") as told:
            content = told.read()
        _, status = os.waitpid(self.pid, 0)
        number = -os.waitstatus_to_exitcode(status)
        if number == signal.SIGALRM:
            return Ended(TRACEBACK, f"hangs: no end after {PATIENCE} s")
        if number > 0 and number != signal.SIGKILL:
            return Ended(TRACEBACK, f"ended by {signal.Signals(number).name}")
        return Ended(KILLED) if not content else Ended(**json.loads(content))


def run(act: Callable[[], Any], folder: Path) -> Ended:
    """Let a child act, undisturbed."""
    child = Child(act, folder)
    child.go()
    return child.wait()


def _work(act: Callable[[], Any], folder: Path, start: int, tell: int, alarm: int) -> None:
    """What the child does; it never returns.

    It collects no garbage: that of this process may close files, which would shift the counts of system calls.
    """
    gc.disable()
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(null, number)
        os.chdir(folder)
        os.write(tell, READY)
        os.read(start, 1)
        signal.alarm(alarm)
        ended = _ended(act)
        with suppress(ValueError, OSError):
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        os.write(tell, json.dumps(ended).encode())
    finally:
        os._exit(0)


def _ended(act: Callable[[], Any]) -> dict[str, Any]:
    """As the commands end: ``launch`` of the stages and ``program.run`` heed the same errors."""
    try:
        with machine.refusals():
            return {"end": DONE, "value": act()}
    except (FlowsculptError, ConnectionError, TimeoutError) as error:
        return {"end": REFUSED, "said": str(error)}
    except SystemExit as error:
        return {"end": REFUSED if error.code else DONE, "said": str(error)}
    except BaseException:
        return {"end": TRACEBACK, "said": traceback.format_exc()[-NOISE:]}


# strace.


@dataclass(frozen=True)
class Traced:
    """A child that strace watched, and the log of that."""

    ended: Ended
    log: str


def strace(
    act: Callable[[], Any],
    folder: Path,
    calls: str,
    inject: str = "",
    log: Path = Path("strace.log"),
    follow: bool = False,
) -> Traced:
    """Let a child act while strace watches its calls, and injects a fault where that is asked for.

    Args:
        act: what the child does.
        folder: where it works.
        calls: names of system calls, with commas.
        inject: what ``-e inject=`` takes.
        log: where strace writes.
        follow: whether the threads and processes that the child makes are watched, too.
    """
    child = Child(act, folder)
    with attached(child.pid, calls, inject, log, follow) as tracer:
        child.go()
        ended = child.wait()
        tracer.wait()
    return Traced(ended, log.read_text(errors="replace"))


def attached(pid: int, calls: str, inject: str, log: Path, follow: bool = False) -> subprocess.Popen[str]:
    """An strace that watches a child, which has not begun."""
    command = ["strace", "-y", "-s", "0", "-o", str(log), "-e", f"trace={calls}", "-p", str(pid)]
    command += ["-e", f"inject={inject}"] if inject else []
    command += ["-f"] if follow else []
    tracer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    for line in tracer.stderr:
        if "attached" in line:
            return tracer
    sys.exit("strace cannot watch a process here; it needs the right to trace (CAP_SYS_PTRACE)")

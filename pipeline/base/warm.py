"""A program that another process runs for this one: that process has loaded what the program needs, and forks.

A stage works for a second or two and loads libraries for four. So a flow keeps one process warm for all of its stages
(``pipeline.warm``). ``python -m pipeline.stages.NAME`` hands itself over to it: the stage that forks there gets
the folder, the variables and the open files of this process. This process passes signals on and ends as the stage does.
Where nobody keeps a process warm, or it would make a difference (other variables, another folder, code that was edited
since), the stage runs here.

::

    asks      {"module", "cwd", "variables", "umask", "share"} in one line, with standard input, output and error
    answers   "cold"                    run it yourself
              "warm", then "CODE"       the exit code of the stage; -N where signal N ended it
    sends     "N"                       signal N, for the stage; it does not outlive this process
"""

import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Final

VARIABLE: Final = "FLOWSCULPT_WARM"  # names the socket of the warm process
WARM: Final = "warm"
COLD: Final = "cold"
PASSED_ON: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
OWN: Final = ("DVC_", "FLOWSCULPT_", "PREFECT_", "MLFLOW_")  # differ from stage to stage, or are read when needed
OWN_NAMES: Final = ("CUDA_VISIBLE_DEVICES", "SHLVL", "PWD", "OLDPWD", "_")


def hand_over(package: str) -> None:
    """Where a process is warm and this program is a module of ``package``: let it run there, and end as it ends."""
    address, module = os.environ.get(VARIABLE), _program()
    if address and module.startswith(f"{package}."):
        code = _run(address, module)
        if code is not None:
            os._exit(code)  # this process has loaded nothing that needs to be closed


def comparable(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables that a library may read while it is loaded, so that they must be the same in both processes."""
    return {name: value for name, value in variables.items() if not name.startswith(OWN) and name not in OWN_NAMES}


def share() -> list[list[int]]:
    """How much of the machine this process may use: niceness, cores, and limits of memory and files."""
    limits = (resource.RLIMIT_AS, resource.RLIMIT_DATA, resource.RLIMIT_CPU, resource.RLIMIT_NOFILE)
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return [[os.nice(0)], cores, *(list(resource.getrlimit(each)) for each in limits)]


def say(line: socket.socket, text: str) -> None:
    """Send a line to the other process, if it is still there."""
    with suppress(OSError):
        line.sendall(f"{text}\n".encode())


def word(line: socket.socket) -> str:
    """The next line, which is short; "" where the other process is gone."""
    found = b""
    with suppress(OSError):
        while (byte := line.recv(1)) not in (b"", b"\n"):
            found += byte
    return found.decode()


def _program() -> str:
    """The module that this process was started with, or ""."""
    words = sys.orig_argv[1:]
    return words[1] if len(words) == 2 and words[0] == "-m" else ""


def _run(address: str, module: str) -> int | None:
    """The exit code of the stage, or None where it is to run here."""
    passed, taken = list[int](), list[bool]()
    with socket.socket(socket.AF_UNIX) as line:

        def pass_on(number: int, _: FrameType | None) -> None:
            if taken:
                say(line, str(number))
            else:
                passed.append(number)

        before = {number: signal.signal(number, pass_on) for number in PASSED_ON}
        try:
            if _is_taken(line, address, module):
                taken.append(True)
                while passed:  # which came meanwhile
                    say(line, str(passed.pop(0)))
                return _ended(word(line))
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    for late in passed:
        os.kill(os.getpid(), late)
    return None


def _is_taken(line: socket.socket, address: str, module: str) -> bool:
    """Whether the warm process runs the stage."""
    asked = {"module": module, "cwd": str(Path.cwd()), "variables": dict(os.environ)}
    whole = json.dumps({**asked, "umask": _umask(), "share": share()}).encode() + b"\n"
    try:
        line.connect(address)
        line.sendall(whole[socket.send_fds(line, [whole], [0, 1, 2]) :])
    except OSError:  # it has ended
        return False
    return word(line) == WARM


def _ended(code: str) -> int:
    """The exit code; where a signal ended the stage, the same signal ends this process."""
    if not code:
        print("the process that was kept warm has ended, and this stage with it", file=sys.stderr, flush=True)
        return os.EX_TEMPFAIL
    if int(code) < 0:
        with suppress(OSError):  # some cannot be handled
            signal.signal(-int(code), signal.SIG_DFL)
        os.kill(os.getpid(), -int(code))
    return int(code)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

"""The warm process of a flow: it loads what stages load, once, and each stage forks from it.

::

    python -m pipeline.warm SOCKET

See ``pipeline.base.warm`` for what is said on the socket. This process computes nothing, so that a stage begins as in a
fresh process with its libraries loaded. Whoever starts it ends it. A keeper stands between it and each stage, which
does not outlive its keeper::

    warm process -> keeper -> stage, in a process group of its own
"""

import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

from pipeline.base import warm

LATER: Final = (  # what stages load when they need it: each of them, or under the default settings
    "great_expectations",
    "matplotlib.backends.backend_svg",
    "mlflow",
    "pipeline.tracking.monitor",
)
PACKAGE: Final = "pipeline.stages"

BEFORE: Final = dict(os.environ)  # the variables, before a library sets some of its own
BEGAN: Final = time.time_ns()  # before the first module was loaded that a stage runs
NEVER: Final = (-1, -1)  # the state of a file that changed while it was loaded: no later state is the same
DIES_WITH_ITS_PARENT, ITS_NAME = 1, 15  # of prctl

Files = dict[str, tuple[int, int]]


def main() -> None:
    """Wait for stages until this process is ended; returns only in a process that became a stage, which ended well."""
    os.environ.pop(warm.VARIABLE, None)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(sys.argv[1])
        listener.listen()
        loaded = load()
        gc.freeze()  # so that no stage touches, and copies, what it shares with the others
        line = _asked_for(listener)
    asked, files = _question(line)
    if not _is_alike(asked, loaded):
        warm.say(line, warm.COLD)
        os._exit(0)  # what ends with this process belongs to the warm one
    keeper, stage = os.getpid(), os.fork()
    if stage:
        _keep(stage, line)
    line.close()
    _become(asked, files, keeper)


def load() -> Files:
    """Load what stages load; returns every file that was loaded, with its time and size."""
    from pipeline import config, tracking

    for stage in config.STAGES:
        importlib.import_module(f"{PACKAGE}.{stage}")
    for module in LATER:
        importlib.import_module(module)
    if not tracking.is_server():
        importlib.import_module("mlflow.store.tracking.sqlalchemy_store")
    files = {str(file) for each in list(sys.modules.values()) if (file := getattr(each, "__file__", None))}
    return {file: state if (state := _state(file))[0] < BEGAN else NEVER for file in files}


def _state(file: str) -> tuple[int, int]:
    """When a file was changed last, and its size; a file that is not there stays as it is."""
    with suppress(OSError):
        found = Path(file).stat()
        return found.st_ctime_ns, found.st_size  # which no tool sets back, as it may the time of the content
    return 0, 0


def _asked_for(listener: socket.socket) -> socket.socket:
    """Fork a keeper for whoever asks; returns in keepers alone, each with its line."""
    signal.signal(signal.SIGCHLD, _bury)
    while True:
        line, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return line
        line.close()


def _bury(_number: int, _: FrameType | None) -> None:
    """Wait for keepers that have ended, so that their processor time counts as that of this process's children."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _question(line: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """What is asked, and standard input, output and error of whoever asks."""
    whole, files, _, _ = socket.recv_fds(line, 1 << 16, 3)
    while not whole.endswith(b"\n"):
        more = line.recv(1 << 16)
        if not more:
            return {}, files
        whole += more
    return json.loads(whole), files


def _is_alike(asked: dict[str, Any], loaded: Files) -> bool:
    """Whether a fresh process would be the same: folder, variables, share of the machine, and no file edited since."""
    import torch

    return (
        asked.get("cwd") == str(Path.cwd())
        and asked["share"] == warm.share()
        and warm.comparable(asked["variables"]) == warm.comparable(BEFORE)
        and all(_state(file) == state for file, state in loaded.items())
        and not torch.cuda._is_in_bad_fork()  # a library asked for the GPUs while it was loaded
    )


def _keep(stage: int, line: socket.socket) -> NoReturn:
    """Pass signals on to a stage, tell how it ended, and end what is left of its process group."""
    _name("keeper")
    with suppress(OSError):  # whichever of the two comes first
        os.setpgid(stage, stage)
    ended = threading.Event()
    threading.Thread(target=_pass_on, args=(stage, line, ended), daemon=True).start()
    warm.say(line, warm.WARM)
    os.waitid(os.P_PID, stage, os.WEXITED | os.WNOWAIT)  # its number stays taken
    ended.set()
    with suppress(OSError):
        os.killpg(stage, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(stage, 0)[1])
    warm.say(line, str(code))
    os._exit(0)


def _pass_on(stage: int, line: socket.socket, ended: threading.Event) -> None:
    """Signals of whoever asked are for the stage; where that process is gone, the stage is too."""
    with suppress(ProcessLookupError):  # it has ended meanwhile
        while (word := warm.word(line)) and not ended.is_set():
            os.killpg(stage, int(word))
        if not ended.is_set():
            os.killpg(stage, signal.SIGKILL)


def _become(asked: dict[str, Any], files: list[int], keeper: int) -> None:
    """Run the program as a fresh process would."""
    ctypes.CDLL(None).prctl(DIES_WITH_ITS_PARENT, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != keeper:  # which had ended before
        os._exit(os.EX_TEMPFAIL)
    _name(asked["module"].rpartition(".")[2])
    os.setpgid(0, 0)
    for place, file in enumerate(files):
        os.dup2(file, place)
        os.close(file)
    os.umask(asked["umask"])
    variables = {name: value for name, value in os.environ.items() if name not in BEFORE} | asked["variables"]
    del variables[warm.VARIABLE]  # what it starts is not for the warm process
    os.environ.clear()
    os.environ.update(variables)
    sys.argv = [asked["module"]]
    sys.modules.pop(asked["module"], None)  # it becomes __main__
    runpy.run_module(asked["module"], run_name="__main__", alter_sys=True)


def _name(name: str) -> None:
    """Give this process the name that ``top`` and ``ps -o comm`` show."""
    ctypes.CDLL(None).prctl(ITS_NAME, name.encode(), 0, 0, 0)


if __name__ == "__main__":
    main()

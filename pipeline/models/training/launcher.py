"""Start the processes of one training on this machine, and end them all where one of them fails.

The process that starts them trains nothing itself. So no communication can hold it up: it sees a process that dies
within a moment, can say which, and leaves none behind. Where it is killed itself, its processes end on their own.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NoReturn

from torch.distributed import TCPStore  # type: ignore[attr-defined]

from pipeline.base import durable
from pipeline.base.errors import ConfigError, FlowsculptError, TrainingError
from pipeline.base.parallel import THREADS, cores, limit_threads
from pipeline.models.training.ranks import refuse_impossible
from pipeline.settings.training import FitSettings

STARTER: Final = "FLOWSCULPT_RANKS_STARTER"  # the number of the process that started this one
FOLDER: Final = "FLOWSCULPT_RANKS_FOLDER"  # that the ranks share: words for them, and why one fails
SECONDS_BETWEEN_LOOKS = 0.1
SECONDS_FOR_A_WORD = 5.0  # of the others, after one has failed: the fault may be theirs
SECONDS_TO_MEET = 300.0


def run(command: Sequence[str], settings: FitSettings, told: Mapping[str, Any]) -> None:
    """Run a command once for each device, as ranks of one training, to the end of all.

    Args:
        command: the program and its arguments.
        settings: how many devices, and of what kind.
        told: what each of them finds by ``about``.

    Raises:
        ConfigError: the training is to have several machines, which this one cannot start.
        TrainingError: there are fewer devices, or a rank died.
        FlowsculptError: what a rank said before it ended.
        ConnectionError: a rank could not reach a server.
    """
    refuse_impossible(settings)
    if settings.nodes > 1:
        module = " ".join(command[1:])
        raise ConfigError(
            f"fit.nodes is {settings.nodes}: start this stage on each machine by `torchrun --nnodes {settings.nodes} "
            f"--nproc-per-node {settings.devices} --node-rank N --master-addr HOST {module}`"
        )
    store, number = _store(), settings.devices
    with TemporaryDirectory() as folder:
        (Path(folder) / "about.json").write_text(json.dumps(told))
        shared = {**os.environ, **_shared(store.port, number), FOLDER: folder}
        ranks: list[subprocess.Popen[bytes]] = []
        before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        try:
            for each in range(number):
                env = {**shared, "RANK": str(each), "LOCAL_RANK": str(each)}
                # The first one alone speaks.
                ranks.append(subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL if each else None))
            failed = _first_failed(ranks)
        finally:
            for process in ranks:
                process.kill()
                process.wait()
            signal.signal(signal.SIGTERM, before)
        if failed:
            _raise(failed, [_word(Path(folder), each) for each in range(number)])


def _store() -> TCPStore:
    """Where the ranks meet; nobody outside this machine can reach it."""
    door = socket.socket()
    door.bind(("127.0.0.1", 0))
    door.listen()
    port, meet = door.getsockname()[1], timedelta(seconds=SECONDS_TO_MEET)
    return TCPStore(
        "127.0.0.1", port, is_master=True, wait_for_workers=False, master_listen_fd=door.detach(), timeout=meet
    )


def _shared(port: int, number: int) -> dict[str, str]:
    """The variables that ``torchrun`` gives all ranks of one machine, too."""
    loopback = next((name for _, name in socket.if_nameindex() if name in ("lo", "lo0")), None)
    threads = {} if any(os.environ.get(name) for name in THREADS) else {THREADS[0]: str(max(1, cores() // number))}
    quiet = {"GLOO_SOCKET_IFNAME": loopback} if loopback and "GLOO_SOCKET_IFNAME" not in os.environ else {}
    return {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(number),
        "LOCAL_WORLD_SIZE": str(number),
        "GROUP_RANK": "0",
        "TORCHELASTIC_RUN_ID": "flowsculpt",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        STARTER: str(os.getpid()),
        **threads,
        **quiet,
    }


def _first_failed(ranks: Sequence["subprocess.Popen[bytes]"]) -> dict[int, int]:
    """Wait for the end of all: rank -> exit code of those that failed by themselves."""
    deadline = None
    while None in [process.poll() for process in ranks]:  # each is asked: the first may go on for hours
        if deadline is None and any(process.returncode for process in ranks):
            deadline = time.monotonic() + SECONDS_FOR_A_WORD
        if deadline and time.monotonic() > deadline:
            break
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return {number: process.returncode for number, process in enumerate(ranks) if process.returncode}


def _raise(failed: Mapping[int, int], words: Sequence[dict[str, Any] | None]) -> None:
    """The fault of the rank that failed first: the others only lost it."""
    killed = next((number for number, code in failed.items() if code < 0), None)
    if killed is not None:
        name = signal.Signals(-failed[killed]).name
        raise TrainingError(
            f"process {killed} of {len(words)} of this training was ended by {name}, and the others with it; the same "
            "command goes on after the last whole epoch"
        )
    said = [(number, word) for number, word in enumerate(words) if word]
    if not said:
        number, code = next(iter(failed.items()))
        raise TrainingError(f"process {number} of {len(words)} of this training ended with exit code {code}")
    number, first = min(said, key=lambda each: float(each[1]["time"]))
    if first["trace"]:
        print(first["trace"], file=sys.stderr)
        raise TrainingError(f"process {number} of {len(words)} of this training failed: {first['error']}")
    if first["code"] == os.EX_TEMPFAIL:
        raise ConnectionError(first["error"])
    raise FlowsculptError(first["error"])


# In a rank.


def is_started_here() -> bool:
    """Whether ``run`` started this process."""
    return STARTER in os.environ


def about() -> dict[str, Any]:
    """What ``run`` was to tell each rank."""
    return dict(json.loads((Path(os.environ[FOLDER]) / "about.json").read_text()))


def work(job: Callable[[], None]) -> None:
    """Do the work of a rank; if it fails, the process ends, and its starter says why."""
    _end_with_starter()
    limit_threads(max(1, cores() // int(os.environ["LOCAL_WORLD_SIZE"])))
    try:
        job()
    except (ConnectionError, TimeoutError) as error:
        _fail(error, os.EX_TEMPFAIL)
    except FlowsculptError as error:
        _fail(error, 1)
    except Exception as error:
        _fail(error, 1, "".join(traceback.format_exception(error)))


def _end_with_starter() -> None:
    """End this process as soon as the one that started it is gone."""
    starter = int(os.environ[STARTER])

    def watch() -> None:
        while os.getppid() == starter:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True, name="starter").start()


def _fail(error: Exception, code: int, trace: str = "") -> NoReturn:
    said = f"{type(error).__name__}: {error}" if trace else str(error)
    path = _word_of(Path(os.environ[FOLDER]), int(os.environ["RANK"]))
    with durable.atomic(path) as part:
        part.write_text(json.dumps({"time": time.time(), "error": said, "code": code, "trace": trace}))
    sys.exit(code)


def _word(folder: Path, number: int) -> dict[str, Any] | None:
    path = _word_of(folder, number)
    return json.loads(path.read_text()) if path.exists() else None


def _word_of(folder: Path, number: int) -> Path:
    return folder / f"{number}.json"

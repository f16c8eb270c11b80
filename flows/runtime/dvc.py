"""The one door to the ``dvc`` command: the stages of ``dvc.yaml`` in order, and one of them reproduced.

The command runs as a subprocess with the interpreter of this process, whatever ``PATH`` says, in a process group of its
own: a TERM to ``dvc`` alone would leave the stage working and writing.
"""

import fcntl
import json
import os
import re
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TextIO

from flows.runtime import healing, processes, site_cache
from pipeline.base.errors import ConfigError, FlowsculptError, near_miss
from pipeline.tracking import environment

PIPELINE_FILE = "dvc.yaml"
SECONDS_FOR_LOCK, SECONDS_BETWEEN_TRIES = 600.0, 1.0
LAST_LINES = 20
CLONE_LOCK = "flowsculpt.lock"
SHELL = "${shell} "  # the variables that dvc.yaml puts before each command; they say nothing of a failure

_LISTS = ("deps", "outs", "metrics", "plots")
_KEYS = (
    *_LISTS,
    "cmd",
    "params",
    "wdir",
    "desc",
    "meta",
    "frozen",
    "always_changed",
    "foreach",
    "do",
    "matrix",
    "vars",
)
_BUSY = re.compile(r"^ERROR: .*(Unable to acquire lock|is busy, it is being blocked by)")
_EXITED = re.compile(r"^ERROR: .*exited with (-?\d+)")
_OWN_TO_A_RUN = ("DVC_ROOT", "DVC_STAGE", "MLFLOW_RUN_ID")


WhenBusy = Literal["wait", "refuse"]


class Outcome(Enum):
    """What DVC did with a stage."""

    RAN = "ran"
    CACHED = "cached"


@dataclass(frozen=True)
class Stage:
    """A stage of ``dvc.yaml``.

    Attributes:
        name: what ``dvc repro`` calls it.
        command: what it runs.
        device: whether it asks for a GPU (``meta: {device: true}``).
    """

    name: str
    command: str
    device: bool = False


class StageFailedError(FlowsculptError):
    """A stage that ended with an error.

    Args:
        stage: which.
        code: the exit code of its command, or that of dvc where no command was run.
        lines: the last lines that it printed.
    """

    def __init__(self, stage: Stage, code: int, lines: list[str]) -> None:
        self.stage, self.code, self.lines = stage, code, lines
        tail = "\n".join(f"    {line}" for line in lines)
        command = stage.command.removeprefix(SHELL)
        self.headline = f"stage {stage.name!r} failed with exit code {code}: {command}"
        super().__init__(f"{self.headline}\nits last lines:\n{tail}")

    @property
    def is_transient(self) -> bool:
        """Whether another try may help: the stage could not reach a server, or the lock of DVC was held all along."""
        return self.code == os.EX_TEMPFAIL or any(map(_BUSY.match, self.lines))

    def __repr__(self) -> str:
        """The first line alone: the others stand in the log already."""
        return f"{type(self).__name__}({self.headline!r})"


class BusyError(FlowsculptError):
    """Another run works in the same clone; ``str`` names it."""


# The clone.


@contextmanager
def alone(root: Path, who: str, when_busy: WhenBusy, log: Callable[[str], None]) -> Iterator[None]:
    """One run at a time in a clone: DVC's own lock is held for single steps only, and outputs would be mixed up.

    Args:
        root: the project's folder.
        who: how this run is named to others while they wait.
        when_busy: whether to wait for another run, for as long as it takes, or to refuse.
        log: told who is waited for.

    Raises:
        BusyError: another run works here, and ``when_busy`` is ``refuse``.
        ConfigError: DVC is not initialised here.
    """
    path = _dvc_folder(root) / "tmp" / CLONE_LOCK
    path.parent.mkdir(exist_ok=True)
    with path.open("a+") as file:
        _take(file, root, when_busy, log)
        file.truncate(0)
        file.write(f"{who}, process {os.getpid()} on {socket.gethostname()}, since {datetime.now(UTC):%F %T} UTC")
        file.flush()
        yield  # the lock is let go with the file, whatever ends the process


def _take(file: TextIO, root: Path, when_busy: WhenBusy, log: Callable[[str], None]) -> None:
    told = ""
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            file.seek(0)
            holder = file.read() or "a run that has just begun"
        if when_busy == "refuse":
            remedy = "wait for it, choose when_busy: wait, or give each run a clone of its own"
            raise BusyError(f"{root}: another run works in this clone: {holder}; {remedy}")
        if holder != told:
            log(f"another run works in this clone: {holder}: waiting for it")
        told = holder
        time.sleep(SECONDS_BETWEEN_TRIES)


def _dvc_folder(root: Path) -> Path:
    for folder in (root, *root.resolve().parents):
        if (folder / ".dvc").is_dir():
            return folder / ".dvc"
    raise ConfigError(
        f"{root}: DVC is not initialised here; run `{sys.executable} -m dvc init` in the project's folder"
    )


# The graph.


def check(root: Path) -> None:
    """Refuse a folder in which DVC cannot work safely, or whose ``dvc.yaml`` is not a graph of stages.

    Raises:
        ConfigError: with what to do about it.
    """
    site_cache.prepare(_dvc_folder(root))
    stages(root)


def stages(root: Path) -> tuple[Stage, ...]:
    """The stages of ``dvc.yaml``, each after those whose outputs it reads, else in the order of the file.

    Raises:
        ConfigError: there is no such file, or it is not a graph of stages.
    """
    entries = _entries(root / PIPELINE_FILE)
    outputs = {name: _paths(entry, "outs", "metrics", "plots") for name, entry in entries.items()}
    graph = {
        name: [other for other in entries if other != name and _overlap(_paths(entry, "deps"), outputs[other])]
        for name, entry in entries.items()
    }
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise ConfigError(f"{root / PIPELINE_FILE}: stages feed each other: {' <- '.join(error.args[1])}") from None
    return tuple(Stage(name, _command(entries[name]), _wants_device(entries[name])) for name in order)


def dependencies(root: Path) -> tuple[str, ...]:
    """The paths that the stages depend on and none of them writes, as ``dvc.yaml`` spells them."""
    entries = _entries(root / PIPELINE_FILE).values()
    made = [path for entry in entries for path in _paths(entry, "outs", "metrics", "plots")]
    read = {path for entry in entries for path in _paths(entry, "deps")}
    return tuple(sorted(str(path) for path in read if not _overlap([path], made)))


def _entries(path: Path) -> dict[str, dict[str, Any]]:
    import yaml

    try:
        whole = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; run this in the project's folder") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: this is not YAML: {error}") from None
    found = whole.get("stages") if isinstance(whole, dict) else None
    if not isinstance(found, dict) or not found:
        hint = near_miss("stages", map(str, whole)) if isinstance(whole, dict) else ""
        raise ConfigError(f"{path}: needs a section 'stages' that names at least one stage{hint}")
    for name, entry in found.items():
        _check(f"{path}: stage {name!r}", entry)
    return {str(name): entry for name, entry in found.items()}


def _check(where: str, entry: object) -> None:
    if not isinstance(entry, dict):
        raise ConfigError(f"{where}: needs the keys of a stage, such as cmd, deps and outs, not {entry!r}")
    for key in entry:
        if key not in _KEYS:
            raise ConfigError(f"{where}: unknown key {key!r}{near_miss(str(key), _KEYS)}; known: {', '.join(_KEYS)}")
    if not {"cmd", "do"} & set(entry):
        raise ConfigError(f"{where}: has no 'cmd'")
    for key in _LISTS:
        if not isinstance(entry.get(key, []), list):
            raise ConfigError(f"{where}: {key!r} is a list of paths, not {entry[key]!r}")


def _command(entry: Mapping[str, Any]) -> str:
    command = entry.get("cmd") or entry["do"].get("cmd", "")
    return command if isinstance(command, str) else " && ".join(command)


def _wants_device(entry: Mapping[str, Any]) -> bool:
    meta = entry.get("do", entry).get("meta")
    return bool(isinstance(meta, dict) and meta.get("device") is True)


def _paths(entry: Mapping[str, Any], *keys: str) -> list[PurePosixPath]:
    """The paths under these keys; one with options is a mapping of one key."""
    body = entry.get("do", entry)
    listed = [item for key in keys for item in body.get(key, [])]
    folder = PurePosixPath(body.get("wdir", "."))
    return [folder / (next(iter(item)) if isinstance(item, dict) else item) for item in listed]


def _overlap(some: list[PurePosixPath], others: list[PurePosixPath]) -> bool:
    """Whether a path of one list is, holds or lies in a path of the other."""
    return any(a.is_relative_to(b) or b.is_relative_to(a) for a in some for b in others)


# The command.


def reproduce(
    stage: Stage, log: Callable[[str], None], env: Mapping[str, str], root: Path, force: bool = False
) -> Outcome:
    """Run ``dvc repro --single-item`` on a stage, waiting while another dvc process holds the lock.

    Whatever ends this call, an interruption too, no process of the stage is left.

    Args:
        stage: a stage of the ``dvc.yaml`` in ``root``.
        log: takes each line as it is printed.
        env: variables that the stage sees besides those of this process.
        root: the project's folder.
        force: run it even where nothing changed.

    Raises:
        StageFailedError: the command failed, or the lock was held for longer than ten minutes.
    """
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", stage.name, *(["--force"] if force else [])]
    deadline = time.monotonic() + SECONDS_FOR_LOCK
    while True:
        code, lines, ran = _run(command, log, _environment(env), root, stage.name)
        if code == 0:
            return Outcome.RAN if ran else Outcome.CACHED
        if not any(map(_BUSY.match, lines)) or time.monotonic() > deadline:
            raise StageFailedError(stage, _exit_code(code, lines), list(lines))
        log(f"another dvc process is at work: trying again in {SECONDS_BETWEEN_TRIES:g} s")
        time.sleep(SECONDS_BETWEEN_TRIES)


def call(
    arguments: Sequence[str],
    log: Callable[[str], None],
    env: Mapping[str, str],
    root: Path,
    kept: Sequence[int] = (),
) -> tuple[int, list[str]]:
    """Run any ``dvc`` command; whatever ends this call, no process of it is left.

    Args:
        arguments: of the command.
        log: takes each line as it is printed.
        env: variables that it sees besides those of this process.
        root: the project's folder.
        kept: see ``processes.group``.

    Returns:
        The exit code, that of the stage where one failed, and the last lines since the last stage began.
    """
    code, lines, _ = _run([sys.executable, "-m", "dvc", *arguments], log, _environment(env), root, "", kept)
    return _exit_code(code, lines), list(lines)


def write_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Change settings in a file of parameters, as ``dvc exp run -S`` does: no other line of it changes.

    Args:
        path: of the file.
        settings: dotted name -> value.

    Raises:
        ConfigError: the file has no such setting.
    """
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import apply_overrides

    try:
        apply_overrides(path, [f"{key}={json.dumps(value)}" for key, value in settings.items()])
    except DvcException as error:
        raise ConfigError(f"{path}: {error.__cause__ or error}") from error


def _environment(env: Mapping[str, str]) -> dict[str, str]:
    """The variables of a stage: a user's own settings win over the defaults, and ``env`` over both."""
    outer = {name: value for name, value in os.environ.items() if name not in _OWN_TO_A_RUN}
    defaults = environment() | {"GOMP_SPINCOUNT": "1000", "MPLBACKEND": "Agg"}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**defaults, **outer, "PATH": path, "PYTHONUNBUFFERED": "1", **env}


def _run(
    command: list[str],
    log: Callable[[str], None],
    env: Mapping[str, str],
    root: Path,
    name: str,
    kept: Sequence[int] = (),
) -> tuple[int, deque[str], bool]:
    """Run to the end: the exit code, the last lines, and whether dvc ran the stage's command.

    What a full disk left of DVC's own files is put right before, and once more where DVC stumbles over it.
    """
    healing.heal(root, log)
    env = {**env, **site_cache.environment(_dvc_folder(root))}
    code, last, ran = _run_once(command, log, env, root, name, kept)
    site = env.get("DVC_SITE_CACHE_DIR")
    torn = any(sign in line for line in last for sign in healing.DATABASE_SIGNS)
    if code and site and torn and healing.heal_databases(Path(site), root, log):
        return _run_once(command, log, env, root, name, kept)
    return code, last, ran


def _run_once(
    command: list[str],
    log: Callable[[str], None],
    env: Mapping[str, str],
    root: Path,
    name: str,
    kept: Sequence[int],
) -> tuple[int, deque[str], bool]:
    last: deque[str] = deque(maxlen=LAST_LINES)
    ran = False
    with processes.group(command, env, root, kept=kept) as process:
        for line in processes.lines(process.stdout):
            if line.startswith(f"Running stage '{name}"):
                ran = True
                last.clear()  # what dvc said before is not what made the stage fail
            last.append(line)
            log(line)
        return process.wait(), last, ran


def _exit_code(code: int, lines: deque[str]) -> int:
    """The stage's own exit code, which dvc only tells in words: dvc itself always ends with 255."""
    return next((int(found[1]) for line in reversed(lines) if (found := _EXITED.match(line))), code)

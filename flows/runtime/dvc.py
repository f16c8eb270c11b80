"""The one door to the ``dvc`` command: one stage reproduced, or any other command.

The command runs as a subprocess with the interpreter of this process, whatever ``PATH`` says, in a process group of its
own: a TERM to ``dvc`` alone would leave the stage working and writing.
"""

import json
import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from enum import Enum
from pathlib import Path
from typing import Any

from flows.runtime import healing, processes, site_cache, working_copy
from flows.runtime.graph import Stage
from flows.runtime.heartbeat import heartbeat
from pipeline.base.errors import ConfigError, FlowsculptError
from pipeline.tracking import environment

SECONDS_FOR_LOCK, SECONDS_BETWEEN_TRIES = 600.0, 1.0
LAST_LINES = 20
OF_THE_SHELL = {"GOMP_SPINCOUNT": "1000", "MPLBACKEND": "Agg", "PYTHONUNBUFFERED": "1"}  # as dvc.yaml says, too
SHELL = "${shell} "  # the variables that dvc.yaml puts before each command; they say nothing of a failure

_BUSY = re.compile(r"^ERROR: .*(Unable to acquire lock|is busy, it is being blocked by)")
_EXITED = re.compile(r"^ERROR: .*exited with (-?\d+)")
_NOISE = re.compile(  # what DVC says around each stage, of git, a remote, and outputs that no run has made yet
    r"^(WARNING: No file hash info found for .* It won't be created\."
    r"|To track the changes with git, run:|To enable auto staging, run:|Use `dvc push` to send .*"
    r"|\s+git add dvc\.lock|\s+dvc config core\.autostage true|\s*)$"
)
_OWN_TO_A_RUN = ("DVC_ROOT", "DVC_STAGE", "MLFLOW_RUN_ID")


class Outcome(Enum):
    """What DVC did with a stage."""

    RAN = "ran"
    CACHED = "cached"


class StageFailedError(FlowsculptError):
    """A stage that ended with an error.

    Args:
        stage: which.
        code: the exit code of its command, or that of dvc where no command was run.
        lines: the last lines that it printed.
    """

    has_lines = True

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


def stage_environment() -> dict[str, str]:
    """The variables of a stage as ``dvc.yaml`` starts it, but for those that DVC and a flow give to each."""
    return {**_environment({}), **OF_THE_SHELL}


def _environment(env: Mapping[str, str]) -> dict[str, str]:
    """The variables of a stage: a user's own settings win over the defaults, and ``env`` over both."""
    outer = {name: value for name, value in os.environ.items() if name not in _OWN_TO_A_RUN}
    defaults = environment() | OF_THE_SHELL
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
    env = {**env, **site_cache.environment(working_copy.dvc_folder(root))}
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
    alive = heartbeat(name) if name else nullcontext(lambda: None)
    with processes.group(command, env, root, kept=kept) as process, alive as spoken:
        for line in processes.lines(process.stdout):
            spoken()
            if line.startswith(f"Running stage '{name}"):
                ran = True
                last.clear()  # what dvc said before is not what made the stage fail
            if not _NOISE.match(line):
                last.append(line)
                log(line)
        return process.wait(), last, ran


def _exit_code(code: int, lines: deque[str]) -> int:
    """The stage's own exit code, which dvc only tells in words: dvc itself always ends with 255."""
    return next((int(found[1]) for line in reversed(lines) if (found := _EXITED.match(line))), code)

"""The clone that a run works in: where DVC keeps its files, whether it can work there, and one run at a time."""

import fcntl
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TextIO

from flows.runtime import graph, site_cache
from pipeline.base.errors import ConfigError, FlowsculptError

SECONDS_BETWEEN_TRIES = 1.0
LOCK = "flowsculpt.lock"

WhenBusy = Literal["wait", "refuse"]

_NO_SCM = re.compile(r"^\s*no_scm\s*=\s*true\s*$", re.MULTILINE | re.IGNORECASE)


class BusyError(FlowsculptError):
    """Another run works in the same clone; ``str`` names it."""


def check(root: Path) -> None:
    """Refuse a folder in which DVC cannot work safely, or whose ``dvc.yaml`` is not a graph of stages.

    Raises:
        ConfigError: with what to do about it.
    """
    folder = dvc_folder(root)
    refuse_without_git(folder)
    site_cache.prepare(folder)
    graph.stages(root)


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
    path = dvc_folder(root) / "tmp" / LOCK
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


def refuse_without_git(folder: Path) -> None:
    """Refuse a ``.dvc`` that is set up for git and lies in no git repository.

    Raises:
        ConfigError: with the command that makes one.
    """
    root = folder.parent.resolve()
    if _NO_SCM.search(read_settings(folder)) or any((each / ".git").exists() for each in (root, *root.parents)):
        return
    raise ConfigError(
        f"{root}: is no git repository, and DVC does not work without one: it compares settings and code with those of "
        "the last commit; run `git init && git add --all && git commit --message start` here, and try again"
    )


def read_settings(folder: Path) -> str:
    """The settings of DVC in a folder ``.dvc``, those of the project first."""
    paths = (folder / "config", folder / "config.local")
    return "\n".join(path.read_text(encoding="utf-8") for path in paths if path.is_file())


def dvc_folder(root: Path) -> Path:
    """The folder ``.dvc`` that DVC works with in ``root``.

    Raises:
        ConfigError: DVC is not initialised here.
    """
    for folder in (root, *root.resolve().parents):
        if (folder / ".dvc").is_dir():
            return folder / ".dvc"
    raise ConfigError(
        f"{root}: DVC is not initialised here; run `{sys.executable} -m dvc init` in the project's folder"
    )

"""More processes for one grid, so that it uses all GPUs of its machine at once.

Each of them is the same command, and runs cells that no other one runs; see ``flows.grid.experiments.held``. On further
machines the same command does the same, in a clone on a disk that they share.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL

from flows.grid.experiments import COPIES
from flows.runtime import access, processes

HELPER: Final = "FLOWSCULPT_GRID_HELPER"


def is_helper() -> bool:
    """Whether this process only runs cells, for the one that writes the table."""
    return HELPER in os.environ


def places(devices: int, number: int) -> int:
    """How many cells run at once that need ``number`` devices each; on the CPU one."""
    return max(1, devices // max(1, number))


@contextmanager
def helpers(number: int, command: Sequence[str], root: Path) -> Iterator[None]:
    """Run a command ``number`` times; whatever ends this context, none of them is left.

    Args:
        number: how many; a helper starts none, and without a server that all of them reach there are none either.
        command: the program and its arguments.
        root: the project's folder, below which each writes a log.
    """
    with ExitStack() as held:
        for each in range(number if PREFECT_API_URL.value() and not is_helper() else 0):
            log = root / COPIES / f"helper-{each + 1}.log"
            log.parent.mkdir(parents=True, exist_ok=True)
            output = held.enter_context(log.open("wb"))
            held.enter_context(processes.group(command, _environment(), root, output))
        yield


def _environment() -> dict[str, str]:
    login = PREFECT_API_AUTH_STRING.value()
    server = {"PREFECT_API_URL": str(PREFECT_API_URL.value()), **({access.PREFECT_CLIENT: str(login)} if login else {})}
    return {**os.environ, **server, HELPER: "1"}

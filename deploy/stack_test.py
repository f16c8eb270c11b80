"""What ``make stack-test`` runs: the life of a model on the stack, then rounds of faults; a table says what held.

::

    python -m deploy.stack_test [--folder build/stack-test] [--away 60] [--life] [--only REGEX]

The folder is made anew. The exit code is 1 where something did not hold, or a process was left.
"""

import argparse
import os
import shutil
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from deploy import disks, faults, life, parts, secrets
from deploy.composition import LOCAL
from deploy.receiver import notified, receiving
from deploy.stack import Stack
from deploy.tried import Table, require
from flows.runtime import processes, program, servers
from pipeline.artifacts.files import write_bytes
from pipeline.base.errors import FlowsculptError

FOLDER: Final = Path("build") / "stack-test"
DISK: Final = 1500  # megabytes of the disk that the clone of the watch has


def main(given: Sequence[str] | None = None) -> int:
    """Try all of it; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.stack_test", description="The life of a model, and faults.")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="is made anew")
    parser.add_argument("--away", type=float, default=60.0, help="seconds for which the S3 store does not answer")
    parser.add_argument("--life", action="store_true", help="no faults")
    parser.add_argument("--only", default="", metavar="REGEX", help="try only what has this in its name")
    chosen = parser.parse_args(given)
    table = Table(only=chosen.only)
    try:
        with program.heeding(program.terminate, [2, 15]):
            attempted(chosen, table)
    except FlowsculptError as error:
        print(f"stack-test: {error}", file=sys.stderr)
        return 1
    print(f"\n{table}", flush=True)
    return int(table.failed > 0)


def attempted(chosen: argparse.Namespace, table: Table) -> None:
    """Bring the stack up, try everything, and see that nothing of it is left.

    Raises:
        FlowsculptError: it does not come up.
    """
    with suppress(FileNotFoundError):
        shutil.rmtree(chosen.folder)
    stack = Stack(chosen.folder, servers.free_port(), life.QUICK)
    with ExitStack() as held:
        receiver, sink = held.enter_context(receiving()), held.enter_context(notified())
        parts.make_passable(stack.folders)
        small = held.enter_context(disks.small_disk(stack, "desk", DISK))
        secrets.make(stack.folders.secrets)
        write_bytes(stack.folders.secrets / "notify-webhook", f"{sink.address}\n".encode())
        with ExitStack() as running:
            up = table.attempt(
                "the stack comes up from nothing", lambda: _up(stack, running, life.settings(receiver)), True
            )
            if up:
                lived = life.Life(stack, receiver, sink, table)
                lived.live()
                if not chosen.life:
                    faults.Faults(lived, table, chosen.away, small).bear()
        table.attempt("it ends, and no process is left", lambda: _gone(stack), True)


def _up(stack: Stack, running: ExitStack, settings: dict[str, str]) -> str:
    stack.up(running, settings)
    return f"{len(stack.kept)} services, {len(stack.processes())} processes, {_memory(stack):.1f} GB"


def _memory(stack: Stack) -> float:
    """What all processes have in memory that is their own, in GB."""
    return sum(each.memory_full_info().uss for each in stack.processes()) / 1e9


def _gone(stack: Stack) -> str:
    require(not stack.processes(), f"left: {stack.processes()}")
    for name, port in stack.ports.items():
        with socket.socket() as probe:
            require(probe.connect_ex((LOCAL, port)), f"somebody still listens at the port of {name}")
    return "nobody listens at its ports"


if __name__ == "__main__":
    os.umask(processes.PRIVATE)  # nobody else reads what this makes
    sys.exit(main())

"""A sign of life for whoever waits: a line for every four seconds in which a step says nothing itself.

::

    python -P flows/runtime/heartbeat.py installing COMMAND...

Run as a program it does this for a command. It needs nothing but Python, so that ``make`` can install with it.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

SECONDS = 4.0
WORKERS_RUN = "PREFECT__FLOW_RUN_ID"  # set where a worker runs a flow: nobody waits there, and logs stay short


@contextmanager
def heartbeat(step: str, seconds: float = SECONDS) -> Iterator[Callable[[], None]]:
    """Print on standard error how long a step has been going on, whenever it has been silent for a while.

    Args:
        step: what the line calls it.
        seconds: of silence before each line.

    Yields:
        What to call when the step has said something.
    """
    if WORKERS_RUN in os.environ:
        yield lambda: None
        return
    spoken, ended, started = threading.Event(), threading.Event(), time.monotonic()

    def beat() -> None:
        while not ended.is_set():
            if not spoken.wait(seconds):
                print(f"  {step} … {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
            spoken.clear()

    thread = threading.Thread(target=beat, name=f"heartbeat of {step}", daemon=True)
    thread.start()
    try:
        yield spoken.set
    finally:
        ended.set()
        spoken.set()
        thread.join()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command with a heartbeat; returns its exit code."""
    step, *command = sys.argv[1:] if arguments is None else arguments
    with heartbeat(step):
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

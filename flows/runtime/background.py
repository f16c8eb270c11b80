"""A command that runs in the background when there is something for it to do, and gives way to everything else.

It has the lowest priority and a process of its own, so it keeps nobody waiting who has work to do here. It ends with
whoever started it, see ``processes``; what it had not done then is asked for again by the next one.
"""

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from flows.runtime import processes

LOWEST: Final = 19  # priority
PAUSE: Final = 0.2  # seconds between two looks
LAST: Final = 60.0  # seconds that a run may take at the end, at most


class Background:
    """Runs a command, one run at a time.

    Args:
        command: the program and its arguments.
        seconds: between the end of a run and the start of the next one, at least.
        done: called after a run that ended well.
        failed: gets the last line of a run that did not; it is run again.
    """

    def __init__(
        self, command: Sequence[str], seconds: float, done: Callable[[], None], failed: Callable[[str], None]
    ) -> None:
        self._command, self._seconds, self._done, self._failed = command, seconds, done, failed
        self._wanted, self._over = threading.Event(), threading.Event()

    def ask(self) -> None:
        """There is something to do."""
        self._wanted.set()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run it whenever somebody asks, until the block ends; then once more, if somebody has asked since."""
        thread = threading.Thread(target=self._follow, name="background", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()
            if self._wanted.is_set():
                self._run()

    def _follow(self) -> None:
        due = 0.0
        while not self._over.wait(PAUSE):
            if self._wanted.is_set() and time.monotonic() >= due:
                self._run()
                due = time.monotonic() + self._seconds

    def _run(self) -> None:
        self._wanted.clear()  # who asks while it runs asks for one more
        with tempfile.TemporaryFile() as said:
            with processes.group(self._command, os.environ, Path.cwd(), said) as process:
                os.setpriority(os.PRIO_PROCESS, process.pid, LOWEST)  # before the guard has started the command
                code = self._ended(process.poll)
            said.seek(0)
            lines = said.read().decode(errors="replace").splitlines()
        if code == 0:
            self._done()
        else:
            self._wanted.set()
            self._failed("it took too long" if code is None else lines[-1] if lines else f"it ended with {code}")

    def _ended(self, poll: Callable[[], int | None]) -> int | None:
        """The exit code; None where it takes too long after the block has ended."""
        end = 0.0
        while (code := poll()) is None:
            if self._over.is_set():
                end = end or time.monotonic() + LAST
                if time.monotonic() > end:
                    return None
            time.sleep(PAUSE)
        return code

"""The warm process of a flow: started early, it loads libraries while the flow does other things; see ``base.warm``."""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.runtime import dvc, processes
from pipeline.base import warm

SECONDS_BETWEEN_LOOKS = 0.01
LONGEST = 107  # bytes of the name of a socket


@contextmanager
def stages(root: Path) -> Iterator[None]:
    """Let the stages of a project start from a warm process while this lasts; on Linux alone.

    A fork of a process with loaded libraries is not safe on macOS. Where a flow further out has a warm process, that
    one is used.

    Args:
        root: the project's folder.
    """
    if sys.platform != "linux" or warm.VARIABLE in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="flowsculpt.") as folder:
        address = str(Path(folder) / "warm")
        if len(os.fsencode(address)) > LONGEST:
            yield
            return
        command = [sys.executable, "-m", "pipeline.warm", address]
        with processes.group(command, dvc.stage_environment(), root, output=None) as process:
            while not Path(address).exists() and process.poll() is None:
                time.sleep(SECONDS_BETWEEN_LOOKS)
            os.environ[warm.VARIABLE] = address
            try:
                yield
            finally:
                os.environ.pop(warm.VARIABLE, None)

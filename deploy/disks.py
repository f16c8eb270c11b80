"""A disk that is full, and a small one for a volume."""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from deploy.stack import Stack
from deploy.tried import require

MEGABYTE: Final = b"\0" * 1_000_000


@contextmanager
def filled(path: Path) -> Iterator[None]:
    """A file that takes all room of its disk, for as long as the context lasts."""
    try:
        with path.open("wb") as file:
            try:
                while True:
                    file.write(MEGABYTE)
                    file.flush()
            except OSError as error:
                require(error.errno == errno.ENOSPC, str(error))
        yield
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def small_disk(stack: Stack, name: str, megabytes: int) -> Iterator[bool]:
    """A disk of its own in memory for a volume, if this user may mount one; gives whether it is there."""
    folder = stack.folders.volume(name)
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=False)

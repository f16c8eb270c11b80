"""Which servers run on this machine, without Prefect: its import takes seconds and makes its home."""

import fcntl
import shlex
import urllib.request
from pathlib import Path
from typing import TextIO

LOCAL = "127.0.0.1"
LOOPBACK = (LOCAL, "localhost", "::1")
SHELL_FILE = "env"


def answers(address: str) -> bool:
    """Whether a server is up and well, by the address of its health check."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(address, timeout=1) as response:
            return bool(response.read().strip().lower() in (b"true", b"ok"))
    except OSError:
        return False


def served(home: Path) -> dict[str, str]:
    """What ``make serve`` wrote about its servers while it runs in a project; else nothing.

    Args:
        home: Prefect's home in that project.
    """
    try:
        with (home / SHELL_FILE).open(encoding="utf-8") as file:
            if not is_locked(file):
                return {}
            words = shlex.split(file.read())
    except FileNotFoundError:
        return {}
    pairs = (word.partition("=") for word in words if word != "export")
    return {name: value for name, _, value in pairs}


def is_locked(file: TextIO) -> bool:
    """Whether a living process holds a lock on an open file; the one that asks is let go at once."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(file, fcntl.LOCK_UN)
    return False

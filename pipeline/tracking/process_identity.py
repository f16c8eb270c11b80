"""Which pipeline run a process belongs to: the dvc process above it, named so that it is never mistaken for another."""

import socket
import subprocess
from pathlib import Path

import psutil


def owner() -> psutil.Process:
    """The nearest dvc process above this one, else this process."""
    me = psutil.Process()
    return next((process for process in me.parents() if is_dvc(process)), me)


def is_dvc(process: psutil.Process) -> bool:
    """Whether a process is ``dvc repro``, ``dvc exp run`` or ``python -m dvc ...``: by its command line."""
    try:
        words = [Path(word).name for word in process.cmdline()]
    except psutil.Error:
        return False
    command = words[words.index("dvc") + 1 :] if "dvc" in words else []
    return any(word in ("repro", "exp", "experiments") for word in command)


def identity(process: psutil.Process) -> str:
    """A process id comes back after a while; with the machine and the start it does not."""
    return f"{socket.gethostname()}:{process.pid}:{process.create_time():.2f}"


def is_here(process: str) -> bool:
    """Whether the process of this identity runs on this machine."""
    return _of_this_machine(process) and _alive(process)


def is_gone(process: str) -> bool:
    """Whether the process of this identity ran on this machine and has ended."""
    return _of_this_machine(process) and not _alive(process)


def commit() -> str | None:
    """The git commit of the working folder, where there is one."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _of_this_machine(process: str) -> bool:
    return process.startswith(f"{socket.gethostname()}:")


def _alive(process: str) -> bool:
    try:
        found = psutil.Process(int(process.split(":")[1]))
        return identity(found) == process and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

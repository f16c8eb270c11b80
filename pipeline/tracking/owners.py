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


def commit() -> str | None:
    """The git commit of the working folder, where there is one."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def alive(process: str) -> bool:
    """Whether a process of this machine, its identity without the machine, is still there."""
    pid, _, _ = process.partition(":")
    try:
        return identity(psutil.Process(int(pid))).endswith(f":{process}")
    except psutil.NoSuchProcess:
        return False

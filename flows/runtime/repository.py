"""The ``git`` command, in a folder."""

import subprocess
from pathlib import Path

from pipeline.base.errors import ConfigError, FlowsculptError

IDENTITY = ("-c", "user.name=flowsculpt", "-c", "user.email=flowsculpt@localhost")


class GitError(FlowsculptError):
    """A git command that failed; ``str`` says what it printed."""


def git(folder: Path, *arguments: str) -> str:
    """What a git command prints.

    Raises:
        GitError: it fails.
        ConfigError: git is not installed.
    """
    return output(folder, *arguments).decode(errors="replace").strip()


def output(folder: Path, *arguments: str, given: bytes = b"") -> bytes:
    """The bytes that a git command prints.

    Args:
        folder: where it runs.
        arguments: of the command.
        given: what it reads.

    Raises:
        GitError: it fails.
        ConfigError: git is not installed.
    """
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, input=given, capture_output=True, check=False)
    except FileNotFoundError:
        raise ConfigError("git is not installed; install it first") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise GitError(f"`git {' '.join(arguments)}`: {said}")
    return done.stdout

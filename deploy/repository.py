"""The repository that the clones of the stack are made of: the last commit, a trusted key, and other settings."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from deploy.composition import Folders
from pipeline.artifacts.files import write_bytes
from pipeline.base.errors import FlowsculptError

TRUSTED: Final = Path("data") / "trusted_keys.json"
KEY: Final = "stack"
_WHO: Final = {
    "GIT_AUTHOR_NAME": "stack",
    "GIT_AUTHOR_EMAIL": "stack@localhost",
    "GIT_COMMITTER_NAME": "stack",
    "GIT_COMMITTER_EMAIL": "stack@localhost",
}


def prepare(root: Path, folders: Folders, env: Mapping[str, str], settings: Mapping[str, str]) -> None:
    """Make a bare repository and the checkout that the servers run, each once.

    Args:
        root: the clone whose last commit is taken.
        folders: of the stack.
        env: the variables of the programs that are called.
        settings: files that are to be other than in that commit: name -> content.

    Raises:
        FlowsculptError: git or the making of the trusted key fails.
    """
    if not folders.repository.exists():
        git(folders.home, env, "clone", "--quiet", "--bare", str(root), str(folders.repository))
    if not folders.app.exists():
        git(folders.home, env, "clone", "--quiet", str(folders.repository), str(folders.app))
    for name, content in settings.items():
        write_bytes(folders.app / name, content.encode())
    if not (folders.app / TRUSTED).is_file():
        key = (folders.secrets / "signing").read_text(encoding="utf-8")
        own = {**env, "FLOWSCULPT_SIGNING_KEY": key}
        call(folders.app, own, "python", "-m", "flows.keys", "init", "--name", KEY)
    push(folders.app, env, "the key that this stack trusts, and its settings")


def push(clone: Path, env: Mapping[str, str], why: str) -> None:
    """Commit what has changed in a clone and push it.

    Raises:
        FlowsculptError: git fails.
    """
    git(clone, env, "add", "--all")
    if git(clone, env, "status", "--porcelain"):
        git(clone, env, "commit", "--quiet", "--message", why)
    git(clone, env, "push", "--quiet", "origin", "HEAD")


def git(folder: Path, env: Mapping[str, str], *words: str) -> str:
    """What git prints.

    Raises:
        FlowsculptError: it fails.
    """
    return call(folder, {**env, **_WHO}, "git", *words)


def call(folder: Path, env: Mapping[str, str], *command: str) -> str:
    """What a command prints, stdout and stderr together.

    Raises:
        FlowsculptError: it fails.
    """
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(command, cwd=folder, env=dict(env), text=True, check=False, **pipes)  # type: ignore[call-overload]
    if done.returncode:
        raise FlowsculptError(f"`{' '.join(command)}` ended with code {done.returncode}:\n{done.stdout[-3000:]}")
    return str(done.stdout)

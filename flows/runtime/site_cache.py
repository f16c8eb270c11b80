"""A folder of the project's own for what DVC unpickles, run as a program by ``make install``.

::

    python -m flows.runtime.site_cache

DVC keeps pickled data in a folder for all users of a machine, which it makes so that everybody may write there. Whoever
writes there runs code as the next user of DVC. This program makes ``.dvc/site-cache`` for its owner alone, and names it
in ``.dvc/config.local`` as an absolute path: DVC would read a relative one from the current folder. Its experiments in
temporary folders copy that file. The flows do the same before each DVC command, so a clone is safe without ``make``.
"""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

from flows.runtime.heartbeat import heartbeat
from pipeline.base.errors import ConfigError, FlowsculptError

VARIABLE, OPTION = "DVC_SITE_CACHE_DIR", "core.site_cache_dir"
FOLDER = "site-cache"

_SET = re.compile(r"^\s*site_cache_dir\s*=\s*(.+?)\s*$", re.MULTILINE)


def environment(dvc_folder: Path) -> dict[str, str]:
    """The variable that names the folder to DVC.

    Args:
        dvc_folder: ``.dvc`` of a clone.

    Raises:
        ConfigError: others can write to the folder.
    """
    return {VARIABLE: str(prepare(dvc_folder))}


def prepare(dvc_folder: Path) -> Path:
    """Make the folder, closed to other users, and name it to DVC in ``config.local``.

    A folder that the user chose, by the variable or in ``config.local``, is kept, and checked as well.

    Args:
        dvc_folder: ``.dvc`` of a clone.

    Returns:
        The folder as an absolute path.

    Raises:
        ConfigError: others can write to the folder, or its path is relative.
        FlowsculptError: DVC refuses the setting.
    """
    known, given = configured(dvc_folder), os.environ.get(VARIABLE)
    folder = Path(given or known or dvc_folder.resolve() / FOLDER)
    if not folder.is_absolute():
        named = VARIABLE if given else f"{dvc_folder / 'config.local'}: {OPTION}"
        raise ConfigError(f"{named} = {folder}: needs an absolute path; DVC reads this one from the current folder")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    refuse_shared(folder)
    if not known:
        _configure(dvc_folder, folder)
    return folder


def configured(dvc_folder: Path) -> str:
    """The folder that ``config.local`` names; empty where it names none."""
    try:
        found = _SET.search((dvc_folder / "config.local").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ""
    return found[1] if found else ""


def _configure(dvc_folder: Path, folder: Path) -> None:
    command = [sys.executable, "-m", "dvc", "config", "--local", OPTION, str(folder)]
    env = os.environ | {VARIABLE: str(folder), "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(command, cwd=dvc_folder.parent, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FlowsculptError(f"{dvc_folder / 'config.local'}: DVC refuses {OPTION} = {folder}: {done.stderr.strip()}")


def refuse_shared(folder: Path) -> None:
    """DVC makes folders in it that everybody may write, so nobody else may even enter it."""
    found = folder.stat()
    mode = stat.S_IMODE(found.st_mode)
    remedy = f"delete it (it holds nothing but a cache), or set {VARIABLE} to a folder that is yours alone"
    if found.st_uid != os.getuid():
        raise ConfigError(f"{folder}: belongs to another user, and DVC runs what is pickled in it; {remedy}")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(
            f"{folder}: has mode {mode:o}, so other users can get in, and DVC runs what is pickled in it; needs mode "
            f"700; {remedy}"
        )


def main() -> int:
    """Prepare the clone that this is run in; returns the exit code."""
    try:
        with heartbeat("preparing DVC"):
            prepare(Path.cwd() / ".dvc")
    except FlowsculptError as error:
        print(f"site_cache: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

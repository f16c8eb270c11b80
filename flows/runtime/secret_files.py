"""Runs a command whose secrets lie in files, as containers are given them.

::

    MLFLOW_TRACKING_PASSWORD_FILE=/run/secrets/mlflow python -m flows.runtime.secret_files python -m flows.worker

For each variable of ``SECRETS`` and ``OPTIONAL``, ``NAME_FILE`` names a file whose content becomes the value of
``NAME``. One of ``OPTIONAL`` may be empty, and is not set then. The command takes the place of this process.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pipeline.base.errors import ConfigError

SECRETS: Final = (
    "FLOWSCULPT_SIGNING_KEY",
    "FLOWSCULPT_TRIAGE_SECRET",
    "FLOWSCULPT_WEBHOOK_SECRET",
    "MLFLOW_FLASK_SERVER_SECRET_KEY",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "PREFECT_API_AUTH_STRING",
    "PREFECT_API_KEY",
    "PREFECT_SERVER_API_AUTH_STRING",
)
OPTIONAL: Final = (  # one for each channel of notifications, see ``runtime.channels``
    "FLOWSCULPT_NOTIFY_EMAIL_SECRET",
    "FLOWSCULPT_NOTIFY_SLACK_SECRET",
    "FLOWSCULPT_NOTIFY_WEBHOOK_SECRET",
)
FILE: Final = "_FILE"


def read(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables whose values lie in files, with these values.

    Args:
        environ: names the files.

    Raises:
        ConfigError: a file cannot be read or is empty and must not be, or the variable itself is set as well.
    """
    given = {name: environ[name + FILE] for name in (*SECRETS, *OPTIONAL) if environ.get(name + FILE)}
    if both := [name for name in given if environ.get(name)]:
        raise ConfigError(f"{both[0]} and {both[0]}{FILE} are both set; unset one of them")
    return {name: text for name, path in given.items() if (text := _content(name, Path(path)))}


def _content(name: str, path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}{FILE}: {path}: cannot be read ({error})") from error
    if not text and name not in OPTIONAL:
        raise ConfigError(f"{name}{FILE}: {path}: is empty")
    return text


def main(given: Sequence[str] | None = None) -> int:
    """Become the command; returns the exit code where that cannot be."""
    command = list(sys.argv[1:] if given is None else given)
    if not command:
        print("usage: python -m flows.runtime.secret_files COMMAND ...", file=sys.stderr)
        return 2
    try:
        os.execvpe(command[0], command, {**os.environ, **read(os.environ)})  # noqa: S606 (the command is the point)
    except ConfigError as error:
        print(f"secret_files: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"secret_files: {command[0]}: {error.strerror}", file=sys.stderr)
        return 127


if __name__ == "__main__":
    sys.exit(main())

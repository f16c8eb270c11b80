"""The command ``backup``: copies what of a project can be made again from nothing else.

::

    flowsculpt backup FOLDER [--with-keys]

A backup holds the stores of MLflow and Prefect, registered versions, the log of promotions, labels, trusted keys,
scored files, quarantine and settings. Servers may run meanwhile. Private keys, secrets and the logins of people are in
it with ``--with-keys`` alone.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from flows import arguments
from flows.runtime import program
from pipeline.tracking import quiet_tools


def main(given: Sequence[str] | None = None) -> int:
    """Back up from the command line; returns the exit code."""
    chosen = arguments.parse("backup", given)
    quiet_tools()
    return program.run("backup", lambda: made(Path(chosen.folder), chosen.with_keys))


def made(folder: Path, with_keys: bool) -> str:
    """Back up the project of the working folder; returns what was done.

    Raises:
        FlowsculptError: it is refused, with the reason.
    """
    from flows.runtime import backups

    return "\n".join(backups.back_up(Path.cwd(), folder, with_keys))


if __name__ == "__main__":
    sys.exit(main())

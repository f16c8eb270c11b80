"""The commands ``backup`` and ``restore``: what of a project can be made again from nothing else.

::

    flowsculpt backup FOLDER [--with-keys]
    flowsculpt restore FOLDER [--replace]

A backup holds the stores of MLflow and Prefect, registered versions, the log of promotions, labels, trusted keys,
scored files, quarantine and settings. Servers may run meanwhile. Private keys and secrets are in it with
``--with-keys`` alone.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from flows import arguments
from flows.runtime import program
from pipeline.tracking import quiet_tools


def main(given: Sequence[str] | None = None) -> int:
    """Back up or restore from the command line; returns the exit code."""
    chosen = arguments.parse("backup", given)
    quiet_tools()
    return program.run("backup", lambda: "\n".join(done(chosen)))


def done(chosen: Namespace) -> list[str]:
    """Do what was asked for; returns what was done, in sentences.

    Raises:
        FlowsculptError: it is refused, with the reason.
    """
    from flows.runtime import backups

    if chosen.action == "restore":
        return backups.restore(Path.cwd(), Path(chosen.folder), chosen.replace)
    return backups.back_up(Path.cwd(), Path(chosen.folder), chosen.with_keys)


if __name__ == "__main__":
    sys.exit(main())

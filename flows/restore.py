"""The command ``restore``: puts a backup into a project; see ``flows.backup``.

::

    flowsculpt restore FOLDER [--replace]

What the project has already, and not as in the backup, stays. With ``--replace`` it is put aside.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from flows import arguments
from flows.runtime import program
from pipeline.tracking import quiet_tools


def main(given: Sequence[str] | None = None) -> int:
    """Restore from the command line; returns the exit code."""
    chosen = arguments.parse("restore", given)
    quiet_tools()
    return program.run("restore", lambda: restored(Path(chosen.folder), chosen.replace))


def restored(folder: Path, replace: bool) -> str:
    """Put a backup into the project of the working folder; returns what was done.

    Raises:
        FlowsculptError: it is refused, with the reason.
    """
    from flows.runtime import backups

    return "\n".join(backups.restore(Path.cwd(), folder, replace))


if __name__ == "__main__":
    sys.exit(main())

"""The command ``people``: who may use the MLflow server besides the project itself.

::

    flowsculpt people add NAME [--role reader|trainer]    a new password is printed once, and kept nowhere
    flowsculpt people remove NAME

A reader sees the runs and the models of this project. A trainer also logs runs and registers versions. Neither can let
a version serve: that takes a key that promotes, see ``flows.keys``.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence

from flows import arguments
from flows.runtime import program
from pipeline.tracking import quiet_tools


def main(given: Sequence[str] | None = None) -> int:
    """Manage people from the command line; returns the exit code."""
    chosen = arguments.parse("people", given)
    quiet_tools()
    return program.run("people", lambda: done(chosen))


def done(chosen: Namespace) -> str:
    """Do what was asked for; returns what was done.

    Raises:
        FlowsculptError: there is no server, or it refuses.
    """
    from pipeline.tracking import people

    if chosen.action == "remove":
        people.remove(chosen.name)
        return f"{chosen.name} can no longer log in"
    password = people.add(chosen.name, chosen.role)
    said = f"{chosen.name} is a {chosen.role} of this project now"
    return f"{said}; password, shown once: {password}" if password else said


if __name__ == "__main__":
    sys.exit(main())

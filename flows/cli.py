"""The command ``flowsculpt``: one word for each program.

::

    flowsculpt train --promote
    flowsculpt score data/incoming
    flowsculpt train --help         what a program takes

A program is imported when it is called, and after its arguments were read, so that ``--help`` answers at once. What
follows the word goes to the program as it is.
"""

import importlib
import sys
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import typer

from flows import arguments


class Program(NamedTuple):
    """A module of ``flows`` with a ``main``, what the help says, what it is always given, and what it needs."""

    module: str
    about: str
    given: tuple[str, ...] = ()
    needs_packages: bool = True


PROGRAMS: Final = {
    "train": Program("training", "Run the seven stages, register the model, and promote it with --promote."),
    "score": Program("score", "Score files, or a folder, of new records with the champion; files need no server."),
    "watch": Program("watch", "Judge records as they come: a folder, a log that grows, or standard input."),
    "read": Program("read", "Describe files of records."),
    "adopt": Program("adopt", "Give a network a model of its own, from a first stretch of its own traffic."),
    "explain": Program("explain", "Say why the strongest alerts of a file are alerts."),
    "incidents": Program("incidents", "Show what the alerts of scored files come to: one line for each incident."),
    "deliver": Program("deliver", "Deliver the alerts that wait for a sink; say where each sink stands."),
    "label": Program("label", "Say which alerts were attacks and which were not; the next training learns it."),
    "triage": Program("triage", "Serve the page on which people work through incidents and mark alerts."),
    "promote": Program("promotion", "Let the candidate take the champion's place, if it passes the gate."),
    "rollback": Program("promotion", "Make the previous version the champion again.", ("--rollback",)),
    "verify": Program("verify", "Say whether a version is what was signed, and whether it may serve."),
    "keys": Program("keys", "Show, make and retire the keys that sign; sign a champion from before."),
    "drift": Program("drift_check", "Check whether recent traffic is still what the champion was calibrated on."),
    "lineage": Program("lineage", "Go from an alert, a version or a run back to its data and its code."),
    "reproduce": Program("reproduce", "Make a version again from its commit, settings and input, and compare both."),
    "prune": Program("prune", "Say what is older than the settings keep; remove it with --apply."),
    "serve": Program("serve", "Start the servers, the schedules and one worker."),
    "people": Program("people", "Say who else may read the MLflow server, or train with it."),
    "automations": Program(
        "automations", "Have the Prefect server send notifications: failed runs, silence, drift, refusals."
    ),
    "deploy": Program("deploy", "Put the deployments of prefect.yaml on a Prefect server."),
    "doctor": Program(
        "doctor", "Say what keeps the project from running here, and what to do about it.", needs_packages=False
    ),
    "backup": Program("backup", "Copy stores, models, logs and labels into a new folder."),
    "restore": Program("restore", "Put a backup into this project."),
    "benchmark": Program("benchmark", "Run the evaluation protocol: designs, configurations and seeds."),
    "preset": Program("preset", "Write a published system's settings into params.yaml; without a name, list them."),
}
PASSED_ON: Final[dict[str, Any]] = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
app = typer.Typer(help="Calibrated alarms on network attacks that no label has described.", no_args_is_help=True)


def _command(program: Program) -> Callable[[typer.Context], None]:
    def run(context: typer.Context) -> None:
        given = [*program.given, *context.args]
        if program.module in arguments.PROGRAMS:  # before the program is imported, which takes seconds
            arguments.parse(program.module, given, context.command_path)
        sys.exit(_called(program, given))

    return run


def _called(program: Program, given: list[str]) -> int:
    """Import and call a program; one that takes a library of an extra that is not installed says which."""
    if not program.needs_packages:
        return _main(program, given)
    from flows.runtime import program as programs
    from pipeline.tracking import quiet_tools

    quiet_tools()
    return programs.guarded(program.module, lambda: _main(program, given))


def _main(program: Program, given: list[str]) -> int:
    return int(importlib.import_module(f"flows.{program.module}").main(given))


for name, program in PROGRAMS.items():
    app.command(name, help=program.about, context_settings=PASSED_ON)(_command(program))

if __name__ == "__main__":
    app()

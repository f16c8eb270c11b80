"""The command ``flowsculpt``: one word for each program.

::

    flowsculpt train --promote
    flowsculpt score data/incoming
    flowsculpt train --help         what a program takes

A program is imported when it is called, so that ``flowsculpt --help`` answers at once. What follows the word goes to
the program as it is.
"""

import importlib
import os
import sys
from typing import Any

import typer

app = typer.Typer(
    help="Calibrated alarms on network attacks that no label has described.", no_args_is_help=True, add_completion=True
)
PASSED_ON: dict[str, Any] = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def _run(program: str, arguments: list[str]) -> None:
    """Run ``python -m flows.PROGRAM`` with these arguments, in this process."""
    from pipeline.tracking import environment

    os.environ.update({name: value for name, value in environment().items() if name not in os.environ})
    sys.exit(importlib.import_module(f"flows.{program}").main(arguments))


@app.command(context_settings=PASSED_ON)
def train(context: typer.Context) -> None:
    """Run the seven stages, register the model, and promote it with --promote."""
    _run("training", context.args)


@app.command(context_settings=PASSED_ON)
def score(context: typer.Context) -> None:
    """Score a file or a folder of new records with the champion."""
    _run("scoring", context.args)


@app.command(context_settings=PASSED_ON)
def promote(context: typer.Context) -> None:
    """Let the candidate take the champion's place, if it passes the gate."""
    _run("promotion", context.args)


@app.command(context_settings=PASSED_ON)
def rollback(context: typer.Context) -> None:
    """Make the previous version the champion again."""
    _run("promotion", ["--rollback", *context.args])


@app.command(context_settings=PASSED_ON)
def drift(context: typer.Context) -> None:
    """Check whether recent traffic is still what the champion was calibrated on."""
    _run("drift_check", context.args)


@app.command(context_settings=PASSED_ON)
def lineage(context: typer.Context) -> None:
    """Go from an alert, a version or a run back to its data and its code."""
    _run("lineage", context.args)


@app.command(context_settings=PASSED_ON)
def serve(context: typer.Context) -> None:
    """Start the servers, the schedules and one worker."""
    _run("serve", context.args)


@app.command(context_settings=PASSED_ON)
def benchmark(context: typer.Context) -> None:
    """Run the evaluation protocol: designs, configurations and seeds."""
    _run("benchmark", context.args)


@app.command(context_settings=PASSED_ON)
def preset(context: typer.Context) -> None:
    """Write the settings of a published system into params.yaml; without a name, list them."""
    _run("preset", context.args)


if __name__ == "__main__":
    app()

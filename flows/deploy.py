"""Puts the deployments of this project on the Prefect server, under the names of this project.

::

    python -m flows.deploy [prefect.yaml]

It also puts the notifications there, where the section ``notify`` of params.yaml names a channel.

Where the model has the shipped name, this is ``prefect deploy --all``. Any other name stands behind that of each
deployment and pool, and among the tags: so two networks do not replace each other's deployments, see
``runtime.own_names``. The server is the one that PREFECT_API_URL names, else that of ``make serve``.
"""

from flows import arguments
from pipeline.tracking import quiet_tools

if __name__ == "__main__":
    quiet_tools()
    arguments.parse("deploy")  # help, and what is misspelt, before the imports below, which take seconds

import os
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from prefect.exceptions import PrefectException

from flows import automations, worker
from flows.runtime import dvc, processes, program
from flows.runtime.own_names import own
from pipeline import config, tracking
from pipeline.artifacts.files import write_bytes
from pipeline.base.errors import ConfigError, FlowsculptError
from pipeline.base.escaping import printable
from pipeline.base.secrets import hidden
from pipeline.settings.notify import Notify
from pipeline.settings.tracking import SHIPPED


def notify() -> list[str]:
    """Put the notifications on the server, where ``notify.channels`` names any; what fails is a warning.

    Deployments are of use without notifications, so nothing is stopped.

    Returns:
        What was done, one line for each thing.
    """
    try:
        told = config.PARAMS.is_file() and Notify.section in config.read()  # it may be older than the section
        if not (told and config.load(Notify).channels):
            return []
        return automations.done(Namespace(action="apply")).splitlines()
    except (FlowsculptError, PrefectException) as error:
        said = printable(hidden(str(error)))
        return [f"warning: no notifications: {said}; mend it, then run `flowsculpt automations apply`"]


def put(file: Path) -> None:
    """Deploy all that a file names, and print which schedules are on.

    Args:
        file: in the form of ``prefect.yaml``.

    Raises:
        ConfigError: there is no such file.
        FlowsculptError: Prefect refuses one.
    """
    with _named(file) as renamed:
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(renamed)]
        with processes.group(command, os.environ, Path.cwd()) as process:
            said = list(processes.lines(process.stdout))
            if process.wait():
                raise FlowsculptError("\n".join(["the deployments were refused:", *said[-dvc.LAST_LINES :]]))
        print("\n".join(schedules(yaml.safe_load(renamed.read_bytes()), file)), flush=True)


def schedules(settings: Mapping[str, Any], file: Path) -> list[str]:
    """Which deployments start by themselves and which do not, as lines.

    Args:
        settings: the content of ``prefect.yaml``.
        file: where it stands, for the line that says how a schedule is switched on.
    """
    found = [(each["name"], rule) for each in settings["deployments"] for rule in each.get("schedules") or ()]
    lines = [f"schedule {_state(rule)}: {name}, {_when(rule)}" for name, rule in found]
    if any(_state(rule) == "off" for _, rule in found):
        lines.append(f"What is off starts by hand alone. To switch it on, set active: true in {file} and deploy again.")
    return lines


def _state(rule: Mapping[str, Any]) -> str:
    return "on" if rule.get("active", True) else "off"


def _when(rule: Mapping[str, Any]) -> str:
    if "interval" in rule:
        return f"every {rule['interval']} s"
    return f"{rule.get('cron') or rule.get('rrule')} {rule.get('timezone', 'UTC')}"


@contextmanager
def _named(file: Path) -> Iterator[Path]:
    """The file itself, or a copy with the names of this project."""
    if not file.is_file():
        raise ConfigError(f"{file}: no such file; one in the form of {arguments.DEPLOYMENTS} is expected")
    if tracking.project_names().model == SHIPPED:
        yield file
        return
    with TemporaryDirectory() as folder:
        copy = Path(folder) / file.name
        write_bytes(copy, yaml.safe_dump(named(yaml.safe_load(file.read_bytes())), sort_keys=False).encode())
        yield copy


def named(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The content of ``prefect.yaml`` with the names of this project."""
    return {**settings, "deployments": [_one(each) for each in settings["deployments"]]}


def _one(deployment: Mapping[str, Any]) -> dict[str, Any]:
    pool = deployment["work_pool"]
    tags = list(dict.fromkeys([*deployment["tags"], tracking.project_names().model]))
    return {
        **deployment,
        "name": own(deployment["name"]),
        "tags": tags,
        "work_pool": {**pool, "name": own(pool["name"])},
    }


# The program.


def main(options: Sequence[str] | None = None) -> int:
    """Deploy from the command line; returns the exit code."""
    given = arguments.parse("deploy", options)
    return program.run("deploy", lambda: _deployed(Path(given.file)))


def _deployed(file: Path) -> str:
    with worker.connected():
        worker.prepare(_pools(file))  # no worker may have been there yet
        put(file)
    return "\n".join([f"{file}: all deployments are on the server", *notify()])


def _pools(file: Path) -> list[str]:
    """The pools of the deployments, under the names of this project."""
    if not file.is_file():
        return []
    deployments = yaml.safe_load(file.read_bytes())["deployments"]
    return [own(name) for name in dict.fromkeys(each["work_pool"]["name"] for each in deployments)]


if __name__ == "__main__":
    sys.exit(main())

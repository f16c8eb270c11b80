"""The command ``automations``: has the Prefect server send notifications.

::

    flowsculpt automations apply      put the notifications of params.yaml on the server; twice changes nothing
    flowsculpt automations test       send a test through each channel, by way of the server
    flowsculpt automations remove     take them off the server

The section ``notify`` of params.yaml names the channels. Their addresses are secrets, see ``runtime.channels``.
``runtime.notices`` lists the notifications. The server is the one that PREFECT_API_URL names, else that of
``make serve``.
"""

from flows import arguments
from pipeline.tracking import quiet_tools

if __name__ == "__main__":
    quiet_tools()
    arguments.parse("automations")  # help, and what is misspelt, before the imports below, which take seconds

import sys
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter

from flows import worker
from flows.runtime import events, notifying, program
from flows.runtime.notices import TEST
from pipeline import config
from pipeline.base.errors import ConfigError, FlowsculptError
from pipeline.base.escaping import printable
from pipeline.base.secrets import hidden
from pipeline.settings.notify import Notify

EXECUTED, FAILED = (f"prefect.automation.action.{end}" for end in ("executed", "failed"))
POLL = 0.5  # seconds


class UndeliveredError(FlowsculptError):
    """A notification that did not arrive."""


def main(options: Sequence[str] | None = None) -> int:
    """Manage automations from the command line; returns the exit code."""
    given = arguments.parse("automations", options)
    return program.run("automations", lambda: done(given))


def done(given: Namespace) -> str:
    """Do what was asked for; returns what was done.

    Raises:
        FlowsculptError: there is no server, a setting or secret is wrong, or a test did not arrive.
    """
    with worker.connected(), get_client(sync_client=True) as client:
        try:
            if given.action == "test":
                return "\n".join(tested(client, given.seconds))
            settings = config.load(Notify)
            return "\n".join(notifying.apply(client, settings) if given.action == "apply" else notifying.remove(client))
        except httpx.HTTPError as error:
            raise FlowsculptError(f"the Prefect server does not answer, or refuses: {hidden(str(error))}") from error


def tested(client: SyncPrefectClient, seconds: float) -> list[str]:
    """Send a test through each channel, and wait for what the server says of it.

    Raises:
        ConfigError: nothing was applied.
        UndeliveredError: a channel did not take it, or the server says nothing.
    """
    automation = notifying.find(client, TEST)
    if automation is None:
        raise ConfigError(f"there is no automation {notifying.name_of(TEST)}; run `flowsculpt automations apply` first")
    names = [notifying.name_of_block(channel) for channel in dict.fromkeys(config.load(Notify).channels)]
    sent = events.announce(events.TEST, "This is a test: nothing has happened.")
    if sent is None:
        raise UndeliveredError("the Prefect server takes no events")
    deadline = time.monotonic() + seconds
    answers: Mapping[int, str] = {}
    while len(answers) < len(automation.actions) and time.monotonic() < deadline:
        time.sleep(POLL)
        answers = _answers(client, f"prefect.automation.{automation.id}", str(sent.id))
    lines = [
        f"{name}: {answers.get(place, f'not taken in {seconds:g} s; the log of the Prefect server says why')}"
        for place, name in enumerate(names)
    ]
    if any(not line.endswith(": delivered") for line in lines):
        raise UndeliveredError("; ".join(lines))
    return lines


def _answers(client: SyncPrefectClient, resource: str, event: str) -> Mapping[int, str]:
    """Number of an action -> what became of it, for the actions that this event has set off."""
    wanted = EventFilter(
        event=EventNameFilter(name=[EXECUTED, FAILED]),
        resource=EventResourceFilter(id=[resource]),
    )
    found = [each for each in client.read_events(wanted, limit=50).events if _follows(each, event)]
    return {int(each.payload["action_index"]): _outcome(each) for each in found}


def _follows(answer: Any, event: str) -> bool:
    return any(related.id == f"prefect.event.{event}" for related in answer.related)


def _outcome(answer: Any) -> str:
    return "delivered" if answer.event == EXECUTED else printable(hidden(str(answer.payload.get("reason", "failed"))))


if __name__ == "__main__":
    sys.exit(main())

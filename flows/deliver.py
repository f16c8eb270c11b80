"""The command ``deliver``: alerts that wait for a sink, incidents, and where each sink stands.

::

    flowsculpt deliver                deliver what waits, and the incidents that are new or whose severity changed
    flowsculpt deliver --status       say what waits, and why
    flowsculpt deliver --stored       hand over every stored alert, as to a sink that is new
    flowsculpt deliver --incidents    hand over incidents alone, and deliver nothing: the watch does it for its own
    flowsculpt deliver --refused      offer again what receivers refused
    flowsculpt deliver --give-up      forget what receivers refused, and what is lost

The exit code is 0 when each sink has everything, and 1 when a message waits, was refused or is lost.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flows import arguments
from flows.runtime import program
from pipeline.base.errors import FlowsculptError

if TYPE_CHECKING:
    from pipeline.serving.alerts.delivery import Delivered
    from pipeline.settings.alerts import Alerts


class UndeliveredError(FlowsculptError):
    """A sink does not have everything."""

    has_lines = True


def main(given: Sequence[str] | None = None) -> int:
    """Deliver from the command line; returns the exit code."""
    chosen = arguments.parse("deliver", given)
    return program.run("deliver", lambda: delivered(chosen))


def delivered(chosen: Namespace) -> str:
    """Deliver what waits; returns the lines that say where each sink stands.

    Raises:
        ConfigError: a setting of a sink is not allowed.
        ArtifactError: a spool or a table of alerts cannot be read or written.
        UndeliveredError: a sink does not have everything; the lines are its message.
    """
    from pipeline import config
    from pipeline.serving.alerts import delivery, stored
    from pipeline.settings.alerts import Alerts

    alerts = config.load(Alerts)
    rules = alerts.sinks
    if not rules.active and not rules.incidents:
        return "no sink is active; name some in alerts.sinks.active or alerts.sinks.incidents of params.yaml"
    if chosen.refused:
        delivery.ask_again(rules)
    if chosen.give_up:
        delivery.give_up(rules)
    if chosen.stored:
        for path in stored.tables():
            delivery.hand_over_table(path, rules)
    if rules.incidents and not chosen.status:
        _hand_over_incidents(alerts)
    if chosen.incidents:
        return "incidents are in the spools; nothing was delivered"
    found = delivery.states(rules) if chosen.status else delivery.flush(rules, chosen.seconds, is_patient=False)
    text = "\n".join(map(_line, found))
    if all(each.is_clear for each in found):
        return text
    raise UndeliveredError(f"a sink does not have everything\n{text}")


def _hand_over_incidents(alerts: "Alerts") -> None:
    """Those of all alerts that are stored; what has no room now comes with the next call."""
    from pipeline.serving.alerts import delivery, incident_store, suppression
    from pipeline.serving.alerts.spool import SpoolFullError

    with suppress(SpoolFullError):
        delivery.hand_over_incidents(incident_store.read(alerts.incidents, suppression.read()), alerts.sinks)


def _line(found: "Delivered") -> str:
    """Where a sink stands."""
    state = found.state
    total = f"; {state.delivered:,} in all"
    due = f"; next try at {datetime.fromtimestamp(state.ask_at, UTC):%H:%M:%S} UTC" if state.ask_at else ""
    return f"{found.sentence}{total}{due}"


if __name__ == "__main__":
    sys.exit(main())

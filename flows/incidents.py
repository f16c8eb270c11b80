"""The command ``incidents``: what the alerts that were scored come to, as a table.

::

    flowsculpt incidents [--version N] [--since 24h] [--all] [--json]

An incident is alerts that belong together: of one host or pair, close in time. The worst come first. Those with too
little evidence are ``low``, and are shown with ``--all``, as are those that a rule of ``data/suppressions.toml`` hides.
Nothing is written, and no server is needed.
"""

import json
import re
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from flows import arguments
from flows.reports.tables import columns
from flows.runtime import program
from pipeline.base.errors import ConfigError
from pipeline.base.escaping import printable
from pipeline.serving.counts import counted

if TYPE_CHECKING:
    from pipeline.serving.alerts.incidents import Incident
    from pipeline.serving.alerts.suppression import Rule

UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
LEAST: Final = 0.001  # false incidents per million; smaller numbers tell nobody anything
LONGEST: Final = 60  # characters of a reason


def main(given: Sequence[str] | None = None) -> int:
    """Print the incidents; returns the exit code."""
    chosen = arguments.parse("incidents", given)
    return program.run("incidents", lambda: told(chosen))


def told(chosen: Namespace) -> str:
    """The table, or JSON.

    Raises:
        ConfigError: ``--since`` is no time, or the settings or the rules of suppression are not allowed.
        ArtifactError: a table cannot be read.
    """
    from pipeline import config
    from pipeline.serving.alerts import incident_store, suppression
    from pipeline.serving.alerts.incidents import SEVERITIES
    from pipeline.settings.alerts import Alerts

    since = None if chosen.since is None else moment(chosen.since, datetime.now(UTC).replace(tzinfo=None))
    rules = suppression.read()
    found = incident_store.read(config.load(Alerts).incidents, rules, chosen.version)
    found = [each for each in found if since is None or each.last is None or each.last >= since]
    shown = [each for each in found if chosen.all or (each.severity != "low" and each.suppressed_by is None)]
    shown.sort(key=lambda each: (SEVERITIES.index(each.severity), -(each.evidence or 0.0), -each.alerts, each.incident))
    if chosen.json:
        return json.dumps([_plain(each) for each in shown], default=str, indent=1)
    return "\n".join([*_table(shown), *map(printable, [*_rest(found, shown), *_rules(found, rules)])])


def moment(text: str, now: datetime) -> datetime:
    """A day, a time or a span such as 24h, as a time in UTC.

    Raises:
        ConfigError: it is none of them.
    """
    try:
        if span := re.fullmatch(r"(\d+)([mhdw])", text):
            return now - timedelta(**{UNITS[span[2]]: int(span[1])})
        given = datetime.fromisoformat(text)
    except (OverflowError, ValueError) as error:
        raise ConfigError(
            f"--since: must be a span such as 30m, 24h, 7d or 2w, or a time such as 2026-12-31T08:00, given {text!r}"
        ) from error
    return given.astimezone(UTC).replace(tzinfo=None) if given.tzinfo else given


def _table(shown: "Sequence[Incident]") -> list[str]:
    rows = [
        {
            "severity": each.severity + " (hidden)" * (each.suppressed_by is not None),
            "first": "-" if each.first is None else f"{each.first:%Y-%m-%d %H:%M:%S}",
            "lasts": _span(each),
            "alerts": each.alerts,
            "who": who(each),
            "false/million": _bound(each.false_per_million),
            "why": _short(each.reason or each.kind or ""),
            "incident": each.incident,
        }
        for each in shown
    ]
    return [columns(rows)] if rows else ["no incidents"]


def _bound(false_per_million: float | None) -> str:
    if false_per_million is None:
        return "-"
    if false_per_million >= 1000:
        return f"{false_per_million:,.0f}"
    return f"{false_per_million:.3g}" if false_per_million >= LEAST else f"<{LEAST}"


def who(incident: "Incident") -> str:
    """Who talked to whom, and to which port."""
    if not incident.source_count and not incident.destination_count:
        return incident.file
    source, destination = (
        counts[0][0] if n == 1 else f"{n:,} hosts" if n else "?"
        for n, counts in (
            (incident.source_count, incident.sources),
            (incident.destination_count, incident.destinations),
        )
    )
    if not incident.port_count:
        return f"{source} -> {destination}"
    port = f"port {incident.ports[0][0]}" if incident.port_count == 1 else f"{incident.port_count:,} ports"
    return f"{source} -> {destination} {port}"


def _span(incident: "Incident") -> str:
    if incident.first is None or incident.last is None:
        return "-"
    seconds = (incident.last - incident.first).total_seconds()
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _rest(found: "Sequence[Incident]", shown: "Sequence[Incident]") -> list[str]:
    """What is not shown for lack of evidence."""
    low = [each for each in found if each.severity == "low" and each.suppressed_by is None]
    if not low or any(each.severity == "low" for each in shown):
        return []
    alerts = sum(each.alerts for each in low)
    many = f"{counted(alerts, 'alert')} in {counted(len(low), 'group')}"
    return [f"too little evidence to be incidents: {many}; --all shows them"]


def _rules(found: "Sequence[Incident]", rules: "Sequence[Rule]") -> list[str]:
    """What the rules hide, and which have expired."""
    from pipeline.serving.alerts.suppression import expired

    hidden, alerts = Counter[str](), Counter[str]()
    for each in found:
        if each.suppressed_by is not None:
            hidden[each.suppressed_by] += 1
            alerts[each.suppressed_by] += each.alerts
    said = [
        f"rule {each.name!r} of {each.by} hides {counted(alerts[each.name], 'alert')} "
        f"({counted(hidden[each.name], 'group')}): {each.why}"
        for each in rules
    ]
    late = expired(rules, datetime.now(UTC).date())
    return [*said, *(f"rule {rule.name!r} of {rule.by} expired on {rule.until}" for rule in late)]


def _plain(incident: "Incident") -> dict[str, Any]:
    return {**asdict(incident), "false_per_million": incident.false_per_million}


if __name__ == "__main__":
    sys.exit(main())

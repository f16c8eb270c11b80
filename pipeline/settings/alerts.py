"""Which records become alerts, what an alert says, and who gets it."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pipeline.settings.base import (
    OPTIONAL,
    Bounds,
    Count,
    CountOrZero,
    Names,
    Positive,
    Section,
    Shape,
    Threshold,
    WithPlugins,
)

Addresses = Literal["whole", "network", "hidden"]
Chance = Annotated[float, Bounds(ge=0, lt=0.05)]


@dataclass(frozen=True)
class IncidentRules(Shape):
    """How alerts become incidents, and how severe these are; see ``pipeline.serving.alerts.incidents``.

    Attributes:
        gap: seconds without an alert that end an incident.
        many: sources from which on their alerts at one destination are one incident.
        medium: an incident of such strength arises at most so often per million benign records, if these keep to the
            promise of the model and are independent; a weaker one is ``low``.
        high: the same of severity ``high``.
        critical: the same of severity ``critical``.
        keys: alerts that an incident names, at most.
        remembered: alerts that are remembered while they come, at most.
    """

    gap: Positive
    many: Count
    medium: Positive
    high: Positive
    critical: Positive
    keys: Count
    remembered: Count

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.medium >= self.high >= self.critical:
            given = f"{self.medium:g}, {self.high:g}, {self.critical:g}"
            raise ValueError(f"IncidentRules: medium, high and critical must not grow, given {given}")


@dataclass(frozen=True)
class Silence(Shape):
    """What becomes of a model that falls silent; see ``serving.canary_check`` and ``serving.silence``.

    Attributes:
        action: ``refuse``: a model that no longer finds its canaries, or is silent, scores nothing more. ``warn``: it
            goes on, and this is said once. ``off``: nothing is checked.
        chance: a model is silent if its promise makes it less probable than this that none of the last records is an
            alert; 0: never.
        alike: so many records count as one, as records come in bursts that are alike.
    """

    action: Literal["refuse", "warn", "off"]
    chance: Chance
    alike: Count


@dataclass(frozen=True)
class Sinks(WithPlugins):
    """Who gets each alert and each incident; the plug-ins are the sinks.

    Attributes:
        active: names of the sinks that get each alert.
        incidents: names of the sinks that get each incident, but for those that lack evidence or that a rule hides; all
            but parquet take them. An incident comes again when its severity is another one.
        most_waiting: messages that wait for one sink at most. What comes later stays in the table of its alerts, and
            follows from there when the others are delivered.
        remember: days for which a sink is known to have a message, so that it does not get it again.
        seconds: that scoring spends on each sink at most after each file; the rest goes with the next file, or by
            `flowsculpt deliver`.
        addresses: how hosts are named in what sinks get, and on the page of a promotion: ``whole``; ``network``: the
            first 24 bits of an IPv4 address, and 48 of an IPv6 address; ``hidden``: not at all. Tables below ``data``
            keep whole addresses.
    """

    active: Names
    incidents: Names
    most_waiting: Count
    remember: Count
    seconds: Positive
    addresses: Addresses = field(default="whole", metadata=OPTIONAL)  # params.yaml of an older project lacks it


@dataclass(frozen=True)
class Alerts(Section):
    """Which records become alerts, what an alert says, and who gets it.

    Attributes:
        level: a record that exceeds this threshold of the model is an alert. A model without such a threshold takes the
            lowest that it has.
        sensor: name of what saw the records, which stands in each alert; "" for none.
        explained: alerts of a file that get reasons at most, the strongest of each part of it. An attack can make every
            record of a file an alert, and then the first ones say enough.
        incidents: how alerts become incidents.
        sinks: who gets each alert.
        silence: what becomes of a model that raises none.
    """

    section: ClassVar[str] = "alerts"
    level: Threshold
    sensor: str
    explained: CountOrZero
    incidents: IncidentRules
    sinks: Sinks
    silence: Silence

"""Which records become alerts, what an alert says, and who gets it."""

from dataclasses import dataclass
from typing import ClassVar, Final

from pipeline.settings.base import Count, Names, Positive, Section, Threshold, WithPlugins


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
    """

    active: Names
    incidents: Names
    most_waiting: Count
    remember: Count
    seconds: Positive


NO_SINKS: Final = Sinks((), (), 1_000_000, 400, 10.0, plugins={})


@dataclass(frozen=True)
class Alerts(Section):
    """Which records become alerts, what an alert says, and who gets it.

    Attributes:
        level: a record that exceeds this threshold of the model is an alert. A model without such a threshold takes the
            lowest that it has.
        sensor: name of what saw the records, which stands in each alert; "" for none.
        sinks: who gets each alert.
    """

    section: ClassVar[str] = "alerts"
    level: Threshold
    sensor: str
    sinks: Sinks

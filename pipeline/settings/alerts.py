"""Which records become alerts, and what an alert says."""

from dataclasses import dataclass
from typing import ClassVar

from pipeline.settings.base import Count, CountOrZero, Positive, Section, Shape, Threshold


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
class Alerts(Section):
    """Which records become alerts, and what an alert says.

    Attributes:
        level: a record that exceeds this threshold of the model is an alert. A model without such a threshold takes the
            lowest that it has.
        sensor: name of what saw the records, which stands in each alert; "" for none.
        explained: alerts of a file that get reasons at most, the strongest of each part of it. An attack can make every
            record of a file an alert, and then the first ones say enough.
        incidents: how alerts become incidents.
    """

    section: ClassVar[str] = "alerts"
    level: Threshold
    sensor: str
    explained: CountOrZero
    incidents: IncidentRules

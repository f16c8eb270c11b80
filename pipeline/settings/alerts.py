"""Which records become alerts, and what an alert says."""

from dataclasses import dataclass
from typing import ClassVar

from pipeline.settings.base import Section, Threshold


@dataclass(frozen=True)
class Alerts(Section):
    """Which records become alerts, and what an alert says.

    Attributes:
        level: a record that exceeds this threshold of the model is an alert. A model without such a threshold takes the
            lowest that it has.
        sensor: name of what saw the records, which stands in each alert; "" for none.
    """

    section: ClassVar[str] = "alerts"
    level: Threshold
    sensor: str

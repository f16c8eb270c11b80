"""Which records become alerts, and what an alert says."""

from dataclasses import dataclass
from typing import ClassVar

from pipeline.settings.base import CountOrZero, Section, Threshold


@dataclass(frozen=True)
class Alerts(Section):
    """Which records become alerts, and what an alert says.

    Attributes:
        level: a record that exceeds this threshold of the model is an alert. A model without such a threshold takes the
            lowest that it has.
        sensor: name of what saw the records, which stands in each alert; "" for none.
        explained: alerts of a file that get reasons at most, the strongest of each part of it. An attack can make every
            record of a file an alert, and then the first ones say enough.
    """

    section: ClassVar[str] = "alerts"
    level: Threshold
    sensor: str
    explained: CountOrZero

"""What the formats of other tools say of a message: one view of alerts and incidents, with texts that are safe.

Names of files, sensors and attacks come from people and from other machines. A line break in one could forge a line of
a log, and half a surrogate cannot be encoded. Such characters become escapes, and a long text is cut.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from pipeline.base.errors import printable
from pipeline.serving.alerts.sinks.base import Message

Severity = Literal["low", "medium", "high", "critical"]
LONGEST: Final = 1_024  # characters of a text; Elasticsearch does not index a longer keyword
PRODUCT: Final = "flowsculpt"

_RAREST: Final[tuple[tuple[float, Severity], ...]] = ((1e-4, "critical"), (1e-3, "high"), (1e-2, "medium"))
_PROTOCOLS: Final = {1: "ICMP", 2: "IGMP", 6: "TCP", 17: "UDP", 41: "IPv6", 47: "GRE", 50: "ESP", 51: "AH"} | {
    58: "IPv6-ICMP",
    132: "SCTP",
}


@dataclass(frozen=True)
class Notice:
    """A message as people read it.

    Attributes:
        key: of the message.
        about: what it is.
        time: when it happened, or when it was handed over if the record has no time; in UTC.
        seen: when it was handed over; in UTC.
        severity: of an alert by its p-value: critical up to 0.0001, high up to 0.001, medium up to 0.01, else low.
        title: few words, the same for all of one kind.
        text: one sentence.
        content: of the message, with texts that are safe and without numbers that are not finite.
    """

    key: str
    about: str
    time: datetime
    seen: datetime
    severity: Severity
    title: str
    text: str
    content: Mapping[str, Any]

    @property
    def protocol(self) -> str | None:
        """The name of the protocol, such as TCP; its number with three digits where it has none here."""
        number = self.content.get("protocol")
        return None if number is None else _PROTOCOLS.get(number, f"{number:03d}")


def notice_of(message: Message) -> Notice:
    """A message as people read it."""
    content = clean(message.content)
    time = content.get("time")
    when = message.seen if time is None else datetime.fromisoformat(str(time))
    kind = content.get("kind") or "anomalous record"
    return Notice(
        clean(message.key),
        message.about,
        when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC),
        message.seen.astimezone(UTC),
        severity_of(content.get("p_value")),
        str(clean(f"{PRODUCT} {kind}")),
        _sentence(content),
        content,
    )


def severity_of(p_value: float | None) -> Severity:
    """How rare a record is, in a word."""
    return next((word for most, word in _RAREST if p_value is not None and p_value <= most), "low")


def clean(value: Any) -> Any:
    """A value without what could break a line or an encoding, in texts, lists and mappings alike."""
    if isinstance(value, str):
        safe = printable(value[:LONGEST])
        return safe if len(safe) <= LONGEST and len(value) <= LONGEST else f"{safe[: LONGEST - 1]}…"
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {clean(str(name)): clean(each) for name, each in value.items()}
    return [clean(each) for each in value] if isinstance(value, list | tuple) else value


def _sentence(content: Mapping[str, Any]) -> str:
    """The reasons, or else how unlikely the record is."""
    reasons = "; ".join(str(each["text"]) for each in content.get("reasons") or ())
    found = reasons or f"a record with p-value {content.get('p_value')} exceeds {content.get('level')}"
    return str(clean(found))

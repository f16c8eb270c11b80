"""What the formats of other tools say of a message: one view of alerts and incidents, with texts that are safe.

Names of files, sensors and attacks come from people and from other machines. A line break in one could forge a line of
a log, and half a surrogate cannot be encoded. Such characters become escapes, and a long text is cut.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from pipeline.base.escaping import printable
from pipeline.serving.alerts.sinks.base import Message
from pipeline.serving.counts import counted

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
        time: when it happened or began, or when it was handed over if that is not known; in UTC.
        seen: when it was handed over; in UTC.
        severity: that of an incident; of an alert by its p-value: critical up to 0.0001, high up to 0.001, medium up to
            0.01, else low.
        title: few words, the same for all of one kind.
        text: one sentence.
        content: of the message, with texts that are safe and without numbers that are not finite. An incident that has
            one source, destination or port has it where an alert does.
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

    @property
    def is_incident(self) -> bool:
        """Whether it is of an incident."""
        return self.about == "incident"


def notice_of(message: Message) -> Notice:
    """A message as people read it."""
    content = clean(message.content)
    is_incident = message.about == "incident"
    kind = content.get("kind") or ("alerts that belong together" if is_incident else "anomalous record")
    title = f"{PRODUCT} incident: {kind}" if is_incident else f"{PRODUCT} {kind}"
    return Notice(
        clean(message.key),
        message.about,
        moment(content.get("first" if is_incident else "time")) or message.seen.astimezone(UTC),
        message.seen.astimezone(UTC),
        content["severity"] if is_incident else severity_of(content.get("p_value")),
        str(clean(title)),
        str(clean(_of_incident(content) if is_incident else _of_alert(content))),
        content | _ends(content) if is_incident else content,
    )


def moment(time: Any) -> datetime | None:
    """A time of a message, which has no zone and is in UTC; None for none."""
    if time is None:
        return None
    when = datetime.fromisoformat(str(time))
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def severity_of(p_value: float | None) -> Severity:
    """How rare a record is, in a word."""
    return next((word for most, word in _RAREST if p_value is not None and p_value <= most), "low")


def clean(value: Any) -> Any:
    """A value without what could break a line or an encoding, in texts, lists and mappings alike."""
    if isinstance(value, str):
        if len(value) <= LONGEST and value.isprintable():  # as most are
            return value
        safe = printable(value[:LONGEST])
        return safe if len(safe) <= LONGEST and len(value) <= LONGEST else f"{safe[: LONGEST - 1]}…"
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {clean(str(name)): clean(each) for name, each in value.items()}
    return [clean(each) for each in value] if isinstance(value, list | tuple) else value


def _of_alert(content: Mapping[str, Any]) -> str:
    """The reasons, or else how unlikely the record is."""
    reasons = "; ".join(str(each["text"]) for each in content.get("reasons") or ())
    return reasons or f"a record with p-value {content.get('p_value')} exceeds {content.get('level')}"


def _of_incident(content: Mapping[str, Any]) -> str:
    """How many alerts, of whom, and the strongest reason, such as ``43 alerts from 10.0.0.5 to 3 hosts: ...``."""
    ends = f"{_who(content, 'from', 'source')}{_who(content, 'to', 'destination')}"
    found = f"{counted(content['alerts'], 'alert')}{ends}"
    return f"{found}: {content['reason']}" if content.get("reason") else found


def _who(content: Mapping[str, Any], word: str, end: str) -> str:
    named = content.get(f"{end}s") or []
    count = content.get(f"{end}_count", len(named))
    if not count:
        return ""
    return f" {word} {named[0][0]}" if count == 1 and named else f" {word} {counted(count, 'host')}"


def _ends(content: Mapping[str, Any]) -> dict[str, Any]:
    """The one source, the one destination and the one port of an incident, as far as there is one."""
    found: dict[str, Any] = {}
    for name, end in (("src_ip", "source"), ("dst_ip", "destination"), ("dst_port", "port")):
        named = content.get(f"{end}s") or []
        if named and content.get(f"{end}_count", len(named)) == 1:
            found[name] = int(named[0][0]) if end == "port" else named[0][0]
    return found

"""Alerts as a scoring makes them, and messages of them."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from pipeline.serving.alerts.schema import Alert, Reason, key_of
from pipeline.serving.alerts.sinks.base import Message

START = datetime(2026, 3, 1, 23, 59, 0)
SYN = Reason("syn_flag_count", 43.0, None, "packets", 0.0, 3.0, "0 to 3", 0.7, "43 SYN in 2 s: 99 of 100 at most 3")
PORT = Reason("dst_port", None, "telnet", "", None, None, "https, dns", 0.3, "port telnet: usual are https, dns")
ALERT = Alert(
    alert=key_of(0xFEDCBA9876543210, "d" * 64),
    record_id=0xFEDCBA9876543210,
    time=START,
    protocol=6,
    src_ip="10.0.0.5",
    src_port=50_000,
    dst_ip="2001:db8::7",
    dst_port=23,
    flow_id="10.0.0.5-7",
    sensor="edge",
    source_file="monday.csv",
    row=17,
    source_sha256="a" * 64,
    model="flowsculpt",
    model_version=3,
    model_digest="d" * 64,
    score=7.25,
    p_value=0.0004,
    level="p99.9",
    promise=0.001,
    verdict="anomalous",
    group="",
    driver="detector",
    kind="port scan",
    family="portscan",
    family_probability=0.9,
    reasons=(SYN, PORT),
    similar_benign=12,
    similar_attack=None,
    similar_attack_name=None,
)
ENDS = ("protocol", "src_ip", "src_port", "dst_ip", "dst_port", "flow_id")
BARE = dict.fromkeys(
    ("time", *ENDS, "sensor", "promise", "driver", "kind", "family", "family_probability", "similar_benign")
)
EVIL = 'a\n<133>1 forged\r\0\x1b[31m\x85\u2028\u202e\ud800 \udfff\ufeff " ] \\ }{ é𝄞 ' + "x" * 100_000


def alert(number: int = 0, **changes: object) -> Alert:
    """An alert of its own for each number, a second after the one before."""
    mine = {"alert": key_of(number, "d" * 64), "record_id": number, "time": START + timedelta(seconds=number)}
    return replace(ALERT, **(mine | {"row": number} | changes))  # type: ignore[arg-type]


def bare(number: int = 0) -> Alert:
    """An alert on a record that has neither time nor addresses, and was not explained."""
    return alert(number, reasons=(), **BARE)


def evil(number: int = 0) -> Alert:
    """An alert on a record that somebody made to break what reads it; its numbers are not finite."""
    words = dict.fromkeys(["flow_id", "src_ip", "dst_ip", "sensor", "source_file", "kind", "family", "group"], EVIL)
    reason = replace(SYN, feature=EVIL, text=EVIL, usual=EVIL, word=EVIL, value=float("inf"))
    return alert(number, reasons=(reason, reason), score=float("inf"), promise=float("nan"), **words)


@dataclass(frozen=True)
class Incident:
    """What an incident has."""

    incident: str = "0123456789abcdef"
    view: str = "source"
    record_id: int = 7
    first: datetime | None = START
    last: datetime | None = START + timedelta(seconds=90)
    alerts: int = 43
    keys: tuple[str, ...] = (ALERT.alert,)
    sources: tuple[tuple[str, int], ...] = (("10.0.0.5", 43),)
    destinations: tuple[tuple[str, int], ...] = (("10.0.0.7", 40), ("10.0.0.8", 3))
    ports: tuple[tuple[str, int], ...] = (("23", 43),)
    source_count: int = 1
    destination_count: int = 41
    port_count: int = 1
    file: str = "monday.csv"
    kind: str | None = "port scan"
    family: str | None = None
    reason: str = SYN.text
    level: str = "p99.9"
    score: float = 7.25
    severity: str = "high"
    evidence: float | None = 6.5
    suppressed_by: str | None = None
    merged_into: str | None = None


def evil_incident() -> Incident:
    """An incident whose texts somebody made to break what reads them."""
    ends = ((EVIL, 2),)
    return Incident(sources=ends, destinations=ends, file=EVIL, kind=EVIL, reason=EVIL, evidence=float("inf"))


def bare_incident() -> Incident:
    """An incident without times, addresses or reasons."""
    none = {"first": None, "last": None, "kind": None, "evidence": None, "reason": "", "alerts": 1}
    ends = {"sources": (), "destinations": (), "ports": (), "source_count": 0, "destination_count": 0, "port_count": 0}
    return Incident(**none, **ends)


def incidents(*found: Incident) -> list[Message]:
    """What a sink gets of incidents: through the text that a spool keeps."""
    made = [Message.of_incident(each) for each in found]
    return [Message.from_json(each.key, each.to_json()) for each in made]


def messages(*alerts: Alert) -> list[Message]:
    """What a sink gets of alerts: through the text that a spool keeps."""
    made = [Message(each.alert, "alert", datetime(2026, 3, 2, tzinfo=UTC), Message.of(each).content) for each in alerts]
    return [Message.from_json(each.key, each.to_json()) for each in made]


def of(*numbers: int) -> list[Message]:
    """Messages of the alerts with these numbers."""
    return messages(*map(alert, numbers))

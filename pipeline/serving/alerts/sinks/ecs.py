"""A log in the Elastic Common Schema: a line of JSON for each alert.

Source: Elastic Common Schema (ECS) Reference, field sets event, source, destination, network, observer, rule, related.
What ECS has no field for stands below ``flowsculpt``, as ECS asks for custom fields.
"""

from datetime import datetime
from ipaddress import ip_address
from typing import Any, Final

from pipeline.serving.alerts.sinks.community_id import community_id
from pipeline.serving.alerts.sinks.log_file import LogFile
from pipeline.serving.alerts.sinks.notice import PRODUCT, Notice, moment

VERSION: Final = "9.3.0"
_SEVERITY: Final = {"critical": 99, "high": 73, "medium": 47, "low": 21}  # as the rules of Elastic Security have them
_OF_INCIDENT: Final = ("incident", "view", "alerts", "keys", "sources", "destinations", "ports", "evidence")
_OWN: Final = ("row", "verdict", "level", "promise", "group", "driver", "family", "family_probability", "reasons")


class Ecs(LogFile):
    """Appends to a log in the Elastic Common Schema.

    Args:
        file: the log.
    """

    def line(self, notice: Notice) -> dict[str, Any]:
        """A document of kind alert."""
        content = notice.content
        ends = {"source": _end(content, "src"), "destination": _end(content, "dst")}
        said = {
            "@timestamp": _time(notice.time),
            "ecs": {"version": VERSION},
            "message": notice.text,
            "event": _event(notice),
            **ends,
            "network": _network(notice),
            "observer": {"vendor": PRODUCT, "product": PRODUCT, "type": "ids", "name": content.get("sensor")},
            "rule": _rule(notice),
            "related": {"ip": _addresses(content)},
            "log": {"file": {"path": content.get("source_file")}},
            PRODUCT: _own(notice),
        }
        return {name: found for name, value in said.items() if (found := _filled(value))}

    def key_of(self, line: dict[str, Any]) -> str | None:
        """``event.id``."""
        event = line.get("event")
        key = event.get("id") if isinstance(event, dict) else None
        return key if isinstance(key, str) else None


def _event(notice: Notice) -> dict[str, Any]:
    p_value = notice.content.get("p_value")
    return {
        "id": notice.key,
        "kind": "alert",
        "category": ["intrusion_detection", "network"],
        "type": ["info"],
        "start": _time(moment(notice.content.get("first"))),
        "end": _time(moment(notice.content.get("last"))),
        "module": PRODUCT,
        "dataset": f"{PRODUCT}.{notice.about}",
        "created": _time(notice.seen),
        "severity": _SEVERITY[notice.severity],
        "risk_score": notice.content.get("score"),
        "risk_score_norm": None if p_value is None else 100 * (1 - p_value),
        "reason": notice.text,
    }


def _rule(notice: Notice) -> dict[str, Any]:
    content = notice.content
    version = content.get("model_version")
    return {
        "name": notice.title,
        "category": content.get("kind"),
        "ruleset": content.get("model"),
        "version": None if version is None else str(version),
        "uuid": content.get("model_digest"),
    }


def _network(notice: Notice) -> dict[str, Any]:
    number, name = notice.content.get("protocol"), notice.protocol
    version = next((_ip(notice.content.get(end)) for end in ("src_ip", "dst_ip")), None)
    return {
        "community_id": community_id(notice.content),
        "iana_number": None if number is None else str(number),
        "transport": None if name is None else name.lower(),
        "type": None if version is None else f"ipv{ip_address(version).version}",
    }


def _end(content: Any, end: str) -> dict[str, Any]:
    address, port = content.get(f"{end}_ip"), content.get(f"{end}_port")
    found = {"address": address, "ip": _ip(address), "port": port}
    return {name: value for name, value in found.items() if value is not None}


def _ip(address: Any) -> str | None:
    """The address where it is one; records may have names of hosts in its place."""
    try:
        return None if address is None else str(ip_address(str(address).partition("%")[0]))
    except ValueError:
        return None


def _addresses(content: Any) -> list[str]:
    """All addresses that are named."""
    of_incident = [name for end in ("sources", "destinations") for name, _ in content.get(end) or ()]
    found = [_ip(each) for each in (content.get("src_ip"), content.get("dst_ip"), *of_incident)]
    return [*dict.fromkeys(each for each in found if each is not None)]


def _own(notice: Notice) -> dict[str, Any]:
    content = notice.content
    if notice.is_incident:
        lists = ("sources", "destinations", "ports")
        named = {name: [{"name": each, "alerts": count} for each, count in content.get(name) or ()] for name in lists}
        return {name: content.get(name) for name in _OF_INCIDENT} | named
    own = {name: content.get(name) for name in _OWN}
    ids = {name: content.get(name) for name in ("record_id", "similar_benign", "similar_attack")}
    texts = {name: None if number is None else f"{number:016x}" for name, number in ids.items()}
    return {**texts, **own, "p_value": content.get("p_value"), "source_sha256": content.get("source_sha256")}


def _filled(value: Any) -> Any:
    """A mapping without what is null or empty."""
    if not isinstance(value, dict):
        return value
    return {name: found for name, each in value.items() if (found := _filled(each)) not in (None, {}, [])}


def _time(time: datetime | None) -> str | None:
    return None if time is None else f"{time:%Y-%m-%dT%H:%M:%S.%f}Z"

"""The log of Suricata: a line of EVE JSON for each alert, which Filebeat, Logstash, Splunk, Wazuh and others read.

Source: the Suricata User Guide, chapter EVE JSON Format, and the schema that Suricata ships (``etc/schema.json``).
"""

import zlib
from typing import Any, Final

from pipeline.serving.alerts.sinks.community_id import community_id
from pipeline.serving.alerts.sinks.log_file import LogFile
from pipeline.serving.alerts.sinks.notice import Notice

GENERATOR: Final = 7_531  # tells our alerts from those of Suricata's rules, which have 1
_SEVERITY: Final = {"critical": 1, "high": 1, "medium": 2, "low": 3}
_ET_SEVERITY: Final = {"critical": "Critical", "high": "Major", "medium": "Minor", "low": "Informational"}
_KEY: Final = "key="
_TAGS: Final = ("record_id", "p_value", "level", "verdict", "model", "model_version", "sensor", "family", "source_file")
_TAGS_OF_INCIDENT: Final = ("alerts", "evidence", "level", "last", "source_count", "destination_count", "port_count")


class Eve(LogFile):
    """Appends to a log in the format EVE of Suricata.

    Args:
        file: the log; Suricata itself must not write it.
    """

    def line(self, notice: Notice) -> dict[str, Any]:
        """An event of type alert; what EVE has no field for stands in the tags of its metadata."""
        content = notice.content
        return {
            "timestamp": notice.time.strftime("%Y-%m-%dT%H:%M:%S.%f+0000"),
            "flow_id": _flow_id(notice),
            "event_type": "alert",
            "src_ip": content.get("src_ip"),
            "src_port": content.get("src_port"),
            "dest_ip": content.get("dst_ip"),
            "dest_port": content.get("dst_port"),
            "proto": notice.protocol,
            "community_id": community_id(content),
            "alert": {
                "action": "allowed",
                "gid": GENERATOR,
                "signature_id": 1 + zlib.crc32(notice.title.encode()) % 999_999_999,
                "rev": content.get("model_version") or 1,
                "signature": notice.title,
                "category": "Potentially Bad Traffic",
                "severity": _SEVERITY[notice.severity],
                "metadata": {"signature_severity": [_ET_SEVERITY[notice.severity]], "tag": _tags(notice)},
            },
        }

    def key_of(self, line: dict[str, Any]) -> str | None:
        """What stands in the first tag."""
        try:
            tag = line["alert"]["metadata"]["tag"][0]
        except (KeyError, TypeError, IndexError):
            return None
        return tag.removeprefix(_KEY) if isinstance(tag, str) and tag.startswith(_KEY) else None


def _tags(notice: Notice) -> list[str]:
    names = _TAGS_OF_INCIDENT if notice.is_incident else _TAGS
    said = [f"{name}={notice.content[name]}" for name in names if notice.content.get(name) is not None]
    return [f"{_KEY}{notice.key}", f"about={notice.about}", *said, f"reason={notice.text}"]


def _flow_id(notice: Notice) -> int | None:
    """That of Suricata where the records are its own; else 53 bits of the record id, which JavaScript can hold too."""
    flow, record = notice.content.get("flow_id"), notice.content.get("record_id")
    if isinstance(flow, str) and flow.isascii() and flow.isdigit() and int(flow) < 2**63:
        return int(flow)
    return None if record is None or notice.is_incident else int(record) >> 11

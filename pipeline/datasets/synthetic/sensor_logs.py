"""Simulated connections as Suricata and nfstream would log them.

Sources: "Eve JSON Format", Suricata user guide (docs.suricata.io); ``NFlow`` of nfstream (Aouini, Pekar, Computer
Networks 204, 2022), without its statistics of packets. Both count whole frames, so 14 bytes of Ethernet come on top of
each IP packet.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pipeline.base import durable

ETHERNET: Final = 14  # bytes
FLAGS: Final = {"s": 0x02, "h": 0x12, "a": 0x10, "d": 0x18, "f": 0x11, "r": 0x04}  # by the letters of Zeek's history
ENDED: Final = ("SF", "RSTO", "RSTR", "REJ", "RSTOS0", "RSTRH")
HALF_OPEN: Final = ("S0", "SH", "SHR", "OTH")
APPLICATIONS: Final = {"ssl": "TLS", "ftp": "FTP_CONTROL"}  # Zeek's word -> nfstream's, where they differ
CATEGORIES: Final = {
    "HTTP": "Web", "TLS": "Web", "DNS": "Network", "SSH": "RemoteAccess", "FTP_CONTROL": "Download", "SMTP": "Email",
    "NTP": "System", "SMB": "System",
}  # fmt: skip
Row = Mapping[str, Any]  # a connection as Zeek logs it in JSON


def write_events(path: Path, rows: Sequence[Row]) -> None:
    """Write events of type ``flow``, one in each line."""
    lines = [f"{json.dumps(event(row, number))}\n" for number, row in enumerate(rows)]
    with durable.atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(lines)


def write_flows(path: Path, rows: Sequence[Row]) -> None:
    """Write the CSV of nfstream."""
    flows = [flow(row) for row in rows]
    with durable.atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(flows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(flows)


def event(row: Row, number: int = 0) -> dict[str, Any]:
    """The event that Suricata would write of a connection; ``number`` becomes its flow id."""
    tcp, duration, state = row["proto"] == "tcp", row.get("duration") or 0.0, _state(row)
    forward, backward = (_flags(row["history"], upper) for upper in (True, False))
    flags = {"tcp_flags": forward | backward, "tcp_flags_ts": forward, "tcp_flags_tc": backward}
    return {
        "timestamp": _moment(row["ts"] + duration), "flow_id": number, "event_type": "flow",
        "src_ip": row["id.orig_h"], "src_port": row["id.orig_p"],
        "dest_ip": row["id.resp_h"], "dest_port": row["id.resp_p"],
        "proto": row["proto"].upper(), "app_proto": row.get("service") or "failed",
        "flow": {
            "pkts_toserver": row["orig_pkts"], "bytes_toserver": _frames(row, "orig"),
            "pkts_toclient": row["resp_pkts"], "bytes_toclient": _frames(row, "resp"),
            "start": _moment(row["ts"]), "end": _moment(row["ts"] + duration), "age": int(duration),
            "state": state, "reason": "timeout", "alerted": False,
        },
        **({"tcp": _bits(flags) | {"state": _tcp_state(state)}} if tcp else {}),
    }  # fmt: skip


def flow(row: Row) -> dict[str, Any]:
    """The row that nfstream would write of a connection."""
    start, duration = int(row["ts"] * 1e3), int((row.get("duration") or 0.0) * 1e3)
    service = (row.get("service") or "").split(",")[0]
    application = APPLICATIONS.get(service, service.upper()) or "Unknown"
    return {
        "id": row["uid"],
        "src_ip": row["id.orig_h"], "src_port": row["id.orig_p"],
        "dst_ip": row["id.resp_h"], "dst_port": row["id.resp_p"], "protocol": 6 if row["proto"] == "tcp" else 17,
        "bidirectional_first_seen_ms": start, "bidirectional_duration_ms": duration,
        "src2dst_duration_ms": duration if row["orig_pkts"] > 1 else 0,
        "dst2src_duration_ms": duration if row["resp_pkts"] > 1 else 0,
        "src2dst_packets": row["orig_pkts"], "src2dst_bytes": _frames(row, "orig"),
        "dst2src_packets": row["resp_pkts"], "dst2src_bytes": _frames(row, "resp"),
        "application_name": application, "application_category_name": CATEGORIES.get(application, "Unspecified"),
    }  # fmt: skip


def _frames(row: Row, side: str) -> int:
    return int(row[f"{side}_ip_bytes"] + ETHERNET * row[f"{side}_pkts"])


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f+0000")


def _flags(history: str, upper: bool) -> int:
    """The TCP flags of one side, of which the history has letters in upper case for the client."""
    bits = 0
    for letter in history:
        if letter.isupper() == upper:
            bits |= FLAGS.get(letter.lower(), 0)
    return bits


def _bits(flags: Mapping[str, int]) -> dict[str, str]:
    return {name: f"{bits:02x}" for name, bits in flags.items()}


def _state(row: Row) -> str:
    if row["conn_state"] in HALF_OPEN:
        return "new"
    return "closed" if row["proto"] == "tcp" and row["conn_state"] in ENDED else "established"


def _tcp_state(state: str) -> str:
    return "syn_sent" if state == "new" else state

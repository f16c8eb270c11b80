"""Logs of Zeek for tests, from connections that are given as dictionaries of what its fields hold."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

FIELDS = (
    "ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto", "service", "duration", "orig_bytes",
    "resp_bytes", "conn_state", "local_orig", "local_resp", "missed_bytes", "history", "orig_pkts", "orig_ip_bytes",
    "resp_pkts", "resp_ip_bytes", "tunnel_parents",
)  # fmt: skip

TLS: Mapping[str, Any] = {
    "ts": 1700000000.25, "uid": "CTLS1", "id.orig_h": "10.0.0.7", "id.orig_p": 50123, "id.resp_h": "203.0.113.9",
    "id.resp_p": 443, "proto": "tcp", "service": "ssl", "duration": 2.5, "orig_bytes": 800, "resp_bytes": 4000,
    "conn_state": "SF", "local_orig": True, "local_resp": False, "missed_bytes": 0, "history": "ShADadFf",
    "orig_pkts": 9, "orig_ip_bytes": 1200, "resp_pkts": 7, "resp_ip_bytes": 4400,
}  # fmt: skip
SCAN: Mapping[str, Any] = {
    "ts": 1700000001.0, "uid": "CSCAN", "id.orig_h": "10.0.0.8", "id.orig_p": 40000, "id.resp_h": "203.0.113.9",
    "id.resp_p": 22, "proto": "tcp", "conn_state": "S0", "missed_bytes": 0, "history": "S", "orig_pkts": 1,
    "orig_ip_bytes": 60, "resp_pkts": 0, "resp_ip_bytes": 0,
}  # fmt: skip


def header(fields: Iterable[str] = FIELDS, path: str = "conn") -> str:
    lines = ["#separator \\x09", "#set_separator\t,", "#empty_field\t(empty)", "#unset_field\t-", f"#path\t{path}"]
    lines += ["#open\t2023-11-14-22-13-20", "\t".join(["#fields", *fields])]
    return "\n".join([*lines, "#types\ttime"]) + "\n"


def line(connection: Mapping[str, Any], fields: Iterable[str] = FIELDS) -> str:
    return "\t".join(cell(connection.get(name)) for name in fields) + "\n"


def cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "T" if value else "F"
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def tsv(path: Path, connections: Iterable[Mapping[str, Any]], fields: Iterable[str] = FIELDS) -> Path:
    fields = tuple(fields)
    text = header(fields) + "".join(line(each, fields) for each in connections)
    path.write_text(text + "#close\t2023-11-14-23-00-00\n")
    return path


def json_lines(path: Path, objects: Iterable[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in objects))
    return path

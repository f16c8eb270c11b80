"""Alerts that nobody raised: a busy network with a few attacks, in the form in which scoring stores them.

The triage page is measured, tested and photographed with them. They say nothing about detection.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.artifacts.files import write_json
from pipeline.artifacts.tables import TableWriter
from pipeline.serving import own_model
from pipeline.serving.alerts.schema import SCHEMA, key_of
from pipeline.serving.scored import SCHEMA as SCORED
from pipeline.serving.scored import summary_path, table_path

START = datetime(2026, 3, 2, 7, 30)
DIGEST = "5e5c0c9d3b0f4e7a" * 4
PER_FILE = 10_000


@dataclass(frozen=True)
class Scene:
    """Alerts of one kind: who, whom, how many of a thousand, and why."""

    kind: str
    share: int
    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    ports: tuple[int, int]
    minutes: tuple[int, int]
    reasons: tuple[tuple[str, float, str, float, float, str], ...]  # feature, value, unit, low, high, sentence
    family: str | None = None


SCENES = (
    Scene(
        "new destinations", 300, ("172.16.0.23",), ("192.168.10.50",), (1, 8000), (95, 103),
        (
            ("distinct_ports", 412, "ports", 1, 6, "412 ports of one host in 10 s; 98 of 100 records: 1 to 6"),
            ("syn_flag_count", 43, "packets", 0, 3, "43 SYN in 2 s; 98 of 100 records: at most 3"),
            ("flow_duration", 41, "us", 310, 1.2e8, "ends after 41 us; 98 of 100 records: 310 us to 2 min"),
        ),
        "port_scan",
    ),
    Scene(
        "many tries", 120, ("203.0.113.77",), ("192.168.10.12",), (22, 22), (210, 245),
        (
            ("records_of_pair", 96, "records", 1, 9, "96 records to the same port in a minute; 98 of 100: 1 to 9"),
            ("bwd_packet_length_mean", 88, "B", 60, 1290, "answers of 88 B; 98 of 100 records: 60 to 1,290 B"),
            ("flow_iat_std", 1.1e3, "us", 2e3, 9e6, "very even in time: 1.1 ms; 98 of 100 records: 2 ms to 9 s"),
        ),
        "brute_force",
    ),
    Scene(
        "many sources", 90, tuple(f"198.51.100.{n}" for n in range(2, 90)), ("192.168.10.50",), (80, 80), (300, 312),
        (
            ("sources_of_host", 88, "hosts", 1, 12, "88 sources in 10 s; 98 of 100 records: 1 to 12"),
            ("flow_packets_s", 9.1e4, "1/s", 0.2, 3.1e3, "91,000 packets/s; 98 of 100 records: 0.2 to 3,100"),
        ),
        "ddos",
    ),
    Scene(
        "even in time", 40, ("192.168.10.15",), ("205.174.165.73",), (8080, 8080), (0, 470),
        (
            ("gap_deviation", 0.02, "", 0.3, 4.0, "returns each 60 s to 2 %; 98 of 100 records: 30 % to 400 %"),
            ("fwd_segment_size_min", 20, "B", 20, 32, "smallest segment 20 B, which is usual"),
        ),
        "bot",
    ),
    Scene(
        "new service", 2, ("192.168.11.40",), ("192.168.10.9",), (445, 445), (120, 140),
        (("new_port_of_host", 1, "", 0, 0, "never spoke to port 445 before; 98 of 100 records: to known ports"),),
    ),
    Scene(
        "volume", 1, ("192.168.12.77",), ("185.220.101.4",), (443, 443), (400, 420),
        (("total_fwd_bytes", 4.1e8, "B", 40, 2.2e6, "sent 410 MB; 98 of 100 records: 40 B to 2.2 MB"),),
    ),
)  # fmt: skip
FEATURES = (
    "flow_duration",
    "total_fwd_packets",
    "flow_bytes_s",
    "fwd_segment_size_min",
    "packet_length_std",
    "idle_mean",
)


def write(alerts: int, seed: int = 0, records: int = 5_000, first: int = 0) -> list[str]:
    """Write alerts of a day into ``data/scored``; returns the keys of the files.

    Args:
        alerts: how many.
        seed: of all that is drawn.
        records: whose raw columns are kept of each file.
        first: number of the first file.
    """
    drawn, keys = np.random.default_rng(seed), []
    for number in range(-(-alerts // PER_FILE)):
        rows = [*_rows(drawn, min(PER_FILE, alerts - number * PER_FILE), f"day-{first + number:02}.pcap")]
        keys.append(_store(rows, drawn, records, first + number))
    return keys


def _rows(drawn: np.random.Generator, n: int, file: str) -> Iterator[dict[str, Any]]:
    for number in range(n):
        pick, at = drawn.integers(1000), 0
        for scene in SCENES:
            at += scene.share
            if pick < at:
                yield _of_scene(drawn, scene, file, number)
                break
        else:
            yield _lone(drawn, file, number)


def _of_scene(drawn: np.random.Generator, scene: Scene, file: str, number: int) -> dict[str, Any]:
    minute = drawn.uniform(*scene.minutes)
    reasons = [
        _reason(name, value * drawn.uniform(0.9, 1.1), unit, low, high, text, share)
        for (name, value, unit, low, high, text), share in zip(scene.reasons, (0.61, 0.2, 0.11), strict=False)
    ]
    p_value = 10 ** drawn.uniform(-5, -3.2)
    source, destination = (str(drawn.choice(ends)) for ends in (scene.sources, scene.destinations))
    port = int(drawn.integers(scene.ports[0], scene.ports[1] + 1))
    made = _row(file, number, drawn, minute, source, destination, port, p_value)
    about = {"kind": scene.kind, "family": scene.family, "family_probability": float(drawn.uniform(0.7, 0.99))}
    return made | about | {"driver": "context", "reasons": reasons}


def _lone(drawn: np.random.Generator, file: str, number: int) -> dict[str, Any]:
    text = "1.9 MB/s to one host; 98 of 100 records: 40 B/s to 1.1 MB/s"
    reason = _reason("flow_bytes_s", 1.9e6 * drawn.uniform(0.8, 3), "B/s", 40, 1.1e6, text, 0.7)
    source = f"192.168.{drawn.integers(10, 14)}.{drawn.integers(5, 250)}"
    destination = f"93.184.{drawn.integers(1, 250)}.{drawn.integers(1, 250)}"
    p_value = 10 ** drawn.uniform(-3, -2)
    made = _row(
        file, number, drawn, drawn.uniform(0, 480), source, destination, int(drawn.choice((443, 53, 80))), p_value
    )
    return made | {"kind": "volume", "driver": "detector", "reasons": [reason]}


def _reason(feature: str, value: float, unit: str, low: float, high: float, text: str, share: float) -> dict[str, Any]:
    usual = f"{low:g} to {high:g} {unit}".strip()
    return {
        **{"feature": feature, "value": value, "word": None, "unit": unit, "low": low, "high": high},
        **{"usual": usual, "share": share, "text": text},
    }


def _row(
    file: str, number: int, drawn: np.random.Generator, minute: float, source: str, destination: str, port: int,
    p_value: float,
) -> dict[str, Any]:  # fmt: skip
    record = _id(drawn)
    return dict.fromkeys(SCHEMA.names) | {
        "alert": key_of(record, DIGEST),
        "record_id": record,
        "time": START + timedelta(minutes=float(minute)),
        "protocol": 6,
        "src_ip": source,
        "src_port": int(drawn.integers(1024, 65535)),
        "dst_ip": destination,
        "dst_port": port,
        "sensor": "core-1",
        "source_file": file,
        "row": number + 1,
        "source_sha256": "0" * 64,
        "model": "flowsculpt",
        "model_version": 3,
        "model_digest": DIGEST,
        "score": float(-np.log10(p_value)),
        "p_value": float(p_value),
        "level": "p99.9" if p_value < 1e-3 else "p99",
        "promise": 0.001 if p_value < 1e-3 else 0.01,
        "verdict": "anomalous",
        "group": "",
    }


def _store(rows: list[dict[str, Any]], drawn: np.random.Generator, kept: int, number: int) -> str:
    rows.sort(key=lambda row: row["time"])
    key = f"day-{number:02}.pcap-{number:064x}-v3"
    with TableWriter(table_path(key, "alerts"), SCHEMA) as writer:
        writer.write(pa.Table.from_pylist(rows, schema=SCHEMA))
    strongest = sorted(rows, key=lambda row: row["p_value"])[:kept]
    raw = {name: drawn.lognormal(8, 2, len(strongest)) for name in FEATURES}
    who = {name: [row[name] for row in strongest] for name in ("source_file", "row", "score")}
    ids = pa.array([row["record_id"] for row in strongest], pa.uint64())
    path = table_path(key, "records")
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"record_id": ids, **who, **raw}), path)
    _scored(key, rows, drawn)
    _summary(key, rows, number)
    return key


def _scored(key: str, rows: list[dict[str, Any]], drawn: np.random.Generator) -> None:
    """The table of all records: the alerts, and twice as many that raised none."""
    quiet = [_quiet(row, drawn) for row in (*rows, *rows)]
    every = [{name: row.get(name) for name in SCORED.names} | {"timestamp": row["time"]} for row in (*rows, *quiet)]
    with TableWriter(table_path(key), SCORED) as writer:
        writer.write(pa.Table.from_pylist(every, schema=SCORED))


def _quiet(row: dict[str, Any], drawn: np.random.Generator) -> dict[str, Any]:
    """A benign record of another host at about the same time."""
    who = {"src_ip": f"192.168.20.{drawn.integers(2, 250)}", "dst_ip": f"192.168.30.{drawn.integers(2, 250)}"}
    what = {"p_value": float(drawn.uniform(0.01, 1)), "score": 0.0, "verdict": "benign", "record_id": _id(drawn)}
    return row | who | what


def _id(drawn: np.random.Generator) -> int:
    return int(drawn.integers(0, 2**63))


def _summary(key: str, rows: list[dict[str, Any]], number: int) -> None:
    n = 180_000
    alarms = {"p99": (len(rows), 0.01), "p99.9": (sum(row["level"] == "p99.9" for row in rows), 0.001)}
    write_json(
        summary_path(key),
        {
            "source": f"day-{number:02}.pcap",
            "source_sha256": f"{number:064x}",
            "version": 3,
            "time": f"2026-03-02T16:{number % 60:02}:00+00:00",
            "records": n,
            "rejected": 0,
            "alarms": {
                name: {
                    "alarms": count,
                    "promised": share,
                    "calibrated_on": 20_000,
                    "expected": n * share,
                    "low": 0,
                    "high": 0,
                }
                for name, (count, share) in alarms.items()
            },
            "tables": {},
        },
    )


def project(folder: Path) -> None:
    """Make a folder where these alerts can lie: settings, and an empty log of labels."""
    settings = Path(__file__).parents[1] / "params.yaml"
    (folder / "params.yaml").write_text(settings.read_text("utf-8"), "utf-8")
    assert own_model.name()

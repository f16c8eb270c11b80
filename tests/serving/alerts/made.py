"""Alerts and scored records that tests make from the schemas."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline import config
from pipeline.serving.alerts.schema import SCHEMA, Alert, alerts_of, key_of
from pipeline.serving.alerts.traces import Tracer
from pipeline.serving.scored import SCHEMA as SCORED
from pipeline.settings.alerts import Alerts

GROUPED = config.load(Alerts, Path(__file__).parents[3] / "params.yaml").incidents
BEGIN = datetime(2026, 1, 5, 9)


def scored(rows):
    """Scored records of rows: second or None, source, destination, port, p-value, and a file name, if any."""
    made = []
    for number, (second, source, destination, port, p_value, *file) in enumerate(rows):
        time = None if second is None else BEGIN + timedelta(seconds=second)
        made.append(
            dict.fromkeys(SCORED.names)
            | {
                "record_id": 1000 + number,
                "source_file": file[0] if file else "a.csv",
                "row": number,
                "timestamp": time,
            }
            | {"protocol": 6, "src_ip": source, "src_port": 20_000 + number, "dst_ip": destination, "dst_port": port}
            | {
                "p_value": p_value,
                "score": -float(np.log(p_value)),
                "verdict": "benign",
                "group": "",
                "model_version": 1,
            }
        )
    return pa.Table.from_pylist(made, schema=SCORED)


def alerts(table, level=0.01, version=1, **columns) -> pa.Table:
    """The alerts among scored records."""
    digest = f"{version:02x}"
    made = []
    for row in table.to_pylist():
        if row["p_value"] > level:
            continue
        same = {name: row.get(name) for name in SCHEMA.names if name in row}
        made.append(
            dict.fromkeys(SCHEMA.names)
            | same
            | {"alert": key_of(row["record_id"], digest), "time": row["timestamp"], "source_sha256": "00", "model": "m"}
            | {"model_version": version, "model_digest": digest, "level": "p99.9" if row["p_value"] <= 0.001 else "p99"}
            | {"verdict": "anomalous", "promise": 0.01}
            | columns
        )
    return pa.Table.from_pylist(made, schema=SCHEMA)


def known(rows, **columns) -> tuple[list[Alert], dict]:
    """Alerts of scored records, and their traces."""
    table = scored(rows)
    found = alerts(table, **columns)
    return alerts_of(found), Tracer(GROUPED.gap).add(table, found.column("record_id").to_numpy())

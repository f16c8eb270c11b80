"""How long it takes to group many alerts: what ``python -m benchmarks.incidents speed`` measures."""

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.incident_weeks import HOUR, item
from pipeline.alarms.project import SHIPPED
from pipeline.serving.alerts import incident_store
from pipeline.serving.alerts.incident import Incident
from pipeline.serving.alerts.incidents import Grouping
from pipeline.serving.alerts.schema import SCHEMA, key_of
from pipeline.serving.alerts.stretches import Item
from pipeline.serving.alerts.traces import Sum, Trace
from pipeline.serving.scored import SCHEMA as SCORED
from pipeline.settings.alerts import IncidentRules


def speed(alerts: int, records: int, rules: IncidentRules) -> str:
    """How long ``flowsculpt incidents`` needs for so many stored alerts among so many stored records of ten files."""
    import os

    random, inside = np.random.default_rng(0), Path.cwd()
    with TemporaryDirectory() as work:
        try:
            os.chdir(work)
            Path("params.yaml").write_bytes(SHIPPED.read_bytes())
            for day in range(10):
                _store(day, records // 10, alerts / records, random)
            before = time.process_time()
            found: list[Incident] = incident_store.read(rules)
            spent = time.process_time() - before
        finally:
            os.chdir(inside)
    return f"{alerts:,} alerts among {records:,} records: {len(found):,} groups in {spent:.1f} CPU-seconds"


def stream(rules: IncidentRules, alerts: int = 100, parts: int = 20) -> str:
    """How long it takes to add a few alerts to an incident that has as many as are remembered."""
    nothing = Sum(1000, 0, 0)
    row = {"src_ip": "a", "dst_ip": "b", "dst_port": 80, "source_file": "", "p_value": 0.001, "score": 1.0, "p99.9": 0}

    def some(begin: int, n: int) -> list[Item]:
        numbers = range(begin, begin + n)
        traces = {number: Trace(number, nothing, nothing, nothing, nothing) for number in numbers}
        return [item({**row, "row": number, "record_id": number}, 1000 * number, traces) for number in numbers]

    grouping, full = Grouping(rules), int(0.95 * rules.remembered)
    grouping.add(some(0, full))
    taken = [some(full + alerts * part, alerts) for part in range(parts)]
    before = time.process_time()
    for part in taken:
        grouping.add(part)
    spent = (time.process_time() - before) / parts
    return f"{alerts} alerts more of an incident of {full:,}: {spent:.2f} CPU-seconds"


def _store(day: int, n: int, share: float, random: np.random.Generator) -> None:
    """A day of one scanner and 1,000 benign hosts."""
    is_scan = random.random(n) < share * 0.5
    hosts = np.array([f"10.0.{each // 250}.{each % 250}" for each in range(1000)])
    columns: dict[str, Any] = {
        "record_id": np.arange(n, dtype=np.uint64) + day * n,
        "source_file": np.full(n, f"{day}.csv").tolist(),
        "row": np.arange(n),
        "timestamp": pa.array(np.sort(random.integers(day * 24 * HOUR, (day + 1) * 24 * HOUR, n))).cast(
            pa.timestamp("us")
        ),
        "protocol": np.full(n, 6),
        "src_ip": np.where(is_scan, "10.9.9.9", hosts[random.integers(0, 1000, n)]).tolist(),
        "src_port": random.integers(1024, 60_000, n),
        "dst_ip": hosts[random.integers(0, 1000, n)].tolist(),
        "dst_port": random.integers(1, 1024, n),
        "p_value": np.where(is_scan, 0.0005, random.random(n)),
        "score": random.random(n),
        "model_version": np.ones(n, np.int32),
    }
    table = pa.table(
        {name: columns.get(name, pa.nulls(n, kind.type)) for name, kind in zip(SCORED.names, SCORED, strict=True)}
    )
    flagged = table.filter(pa.array(is_scan | (columns["p_value"] < share * 0.5)))
    same = {name: flagged.column(name) for name in SCHEMA.names if name in flagged.column_names}
    m = len(flagged)
    given = {
        "alert": [key_of(each, "00") for each in flagged.column("record_id").to_pylist()],
        "time": flagged.column("timestamp"),
    }
    given |= {
        name: [text] * m for name, text in {"level": "p99", "verdict": "anomalous", "group": "", "model": "m"}.items()
    }
    given |= {name: ["00"] * m for name in ("source_sha256", "model_digest")}
    whole = {name: pa.nulls(m, SCHEMA.field(name).type) for name in SCHEMA.names} | same | given
    for room, rows in ((".", table.cast(SCORED)), ("alerts", pa.table(whole).select(SCHEMA.names).cast(SCHEMA))):
        folder = Path("data/scored") / room
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, folder / f"{day}.parquet")

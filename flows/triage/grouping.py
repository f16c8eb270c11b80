"""Which alerts belong to which incident."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.serving.alerts.schema import alerts_of

MOST_HOSTS = 20


@dataclass(frozen=True)
class Incident:
    """Alerts that belong together."""

    incident: str
    first: datetime | None
    last: datetime | None
    alerts: int
    keys: tuple[str, ...]
    sources: tuple[tuple[str, int], ...]
    destinations: tuple[tuple[str, int], ...]
    ports: tuple[tuple[str, int], ...]
    source_count: int
    destination_count: int
    port_count: int
    file: str
    kind: str | None
    family: str | None
    reason: str
    severity: str
    evidence: float | None
    suppressed_by: str | None


class Grouped(NamedTuple):
    """Incidents, and (n,) the place of the incident of each alert among them; -1 for none."""

    incidents: Sequence[Incident]
    of: NDArray[np.int64]


def grouped(alerts: pa.Table) -> Grouped:
    """The incidents of n alerts."""
    places: dict[tuple[str, str], int] = {}
    names = zip(*(alerts.column(name).to_pylist() for name in ("src_ip", "source_file", "kind")), strict=True)
    keys = [(source or file, kind or "") for source, file, kind in names]
    of = np.array([places.setdefault(key, len(places)) for key in keys], dtype=np.int64)
    order = np.argsort(of, kind="stable")
    ends = np.searchsorted(of[order], np.arange(len(places) + 1))
    few = ("alert", "time", "src_ip", "dst_ip", "dst_port", "kind", "p_value", "source_file")
    columns = alerts.select(few)
    made = [
        _incident("|".join(key), columns, alerts, order[ends[place] : ends[place + 1]]) for key, place in places.items()
    ]
    return Grouped(made, of)


def _incident(name: str, columns: pa.Table, alerts: pa.Table, rows: NDArray[np.intp]) -> Incident:
    own = columns.take(pa.array(rows)).to_pydict()
    times = [each for each in own["time"] if each is not None]
    strongest = int(np.argmin(own["p_value"]))
    (top,) = alerts_of(alerts.slice(int(rows[strongest]), 1))
    n = len(rows)
    severity = "critical" if n >= 200 else "high" if n >= 50 else "medium" if n >= 5 else "low"
    counts = [Counter(str(each) for each in own[end] if each is not None) for end in ("src_ip", "dst_ip", "dst_port")]
    most = [tuple(each.most_common(MOST_HOSTS)) for each in counts]
    return Incident(
        incident=hashlib.sha256(name.encode()).hexdigest()[:16],
        first=min(times, default=None),
        last=max(times, default=None),
        alerts=n,
        keys=tuple(own["alert"][:MOST_HOSTS]),
        sources=most[0],
        destinations=most[1],
        ports=most[2],
        source_count=len(counts[0]),
        destination_count=len(counts[1]),
        port_count=len(counts[2]),
        file=own["source_file"][0],
        kind=top.kind,
        family=top.family,
        reason=top.reasons[0].text if top.reasons else "",
        severity=severity,
        evidence=None,
        suppressed_by=None,
    )

"""Hand-made records that keep every rule, and a way to find one verdict among many."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.datasets.base import record_schema
from pipeline.datasets.schema import ENDPOINTS, FEATURES
from pipeline.validation import Finding, Findings

# One exchange of 3 + 2 packets in 4 ms, as CICFlowMeter writes it; what is not named is 0.
RECORD = {
    "flow_duration": 4000,
    "total_fwd_packets": 3,
    "total_bwd_packets": 2,
    "total_length_fwd_packets": 60,
    "total_length_bwd_packets": 40,
    "fwd_packet_length_max": 30,
    "fwd_packet_length_min": 10,
    "fwd_packet_length_mean": 20,
    "fwd_packet_length_std": 10,
    "bwd_packet_length_max": 20,
    "bwd_packet_length_min": 20,
    "bwd_packet_length_mean": 20,
    "flow_bytes_per_s": 25000,
    "flow_packets_per_s": 1250,
    "flow_iat_mean": 1000,
    "flow_iat_max": 1000,
    "flow_iat_min": 1000,
    "fwd_iat_total": 4000,
    "fwd_iat_mean": 2000,
    "fwd_iat_max": 2000,
    "fwd_iat_min": 2000,
    "bwd_iat_total": 2000,
    "bwd_iat_mean": 2000,
    "bwd_iat_max": 2000,
    "bwd_iat_min": 2000,
    "fwd_header_length": 60,
    "fwd_header_length_repeated": 60,
    "bwd_header_length": 40,
    "fwd_packets_per_s": 750,
    "bwd_packets_per_s": 500,
    "packet_length_min": 10,
    "packet_length_max": 30,
    "packet_length_mean": 20,
    "packet_length_std": 7,
    "packet_length_variance": 49,
    "psh_flag_count": 2,
    "ack_flag_count": 5,
    "down_up_ratio": 2 / 3,
    "packet_size_mean": 20,
    "fwd_segment_size_mean": 20,
    "bwd_segment_size_mean": 20,
    "subflow_fwd_packets": 3,
    "subflow_bwd_packets": 2,
    "subflow_fwd_bytes": 60,
    "subflow_bwd_bytes": 40,
    "init_win_bytes_fwd": 8192,
    "init_win_bytes_bwd": -1,
    "fwd_data_packets": 2,
    "fwd_segment_size_min": 20,
}


def records(rows: int = 20, columns: tuple[Any, ...] = FEATURES, **changed: dict[int, Any]) -> pa.Table:
    """``rows`` different records, every other one an attack; ``changed`` gives columns values at some rows."""
    attacks = [("ddos", "ddos") if row % 2 else ("benign", "benign") for row in range(rows)]
    values: dict[str, list[Any]] = {
        "record_id": list(range(1000, 1000 + rows)),
        "source_file": ["a.csv" if row < 12 else "b.csv" for row in range(rows)],
        "row": [row + 1 for row in range(rows)],
        "y": [row % 2 for row in range(rows)],
        "attack": [attack for attack, _ in attacks],
        "family": [family for _, family in attacks],
        "day": ["monday"] * rows,
    }
    for name in ("attempted", *ENDPOINTS):
        values[name] = [None] * rows
    for column in columns:
        values[column.name] = [float(RECORD.get(column.name, 0))] * rows
    values["destination_port"] = [float(row) for row in range(rows)]
    for name, cells in changed.items():
        for row, value in cells.items():
            values[name][row] = value
    return pa.table({field.name: pa.array(values[field.name], field.type) for field in record_schema(columns)})


def verdict(findings: Findings, text: str, *columns: str) -> Finding:
    """The finding with this text on these columns."""
    found = [f for f in findings.results if f.text == text and (not columns or f.columns == columns)]
    assert len(found) == 1, f"{text} on {columns}: {len(found)} findings"
    return found[0]


def features(*names: str) -> tuple[Any, ...]:
    """The columns with these names, and the port that tells records apart."""
    wanted = {"destination_port", *names}
    return tuple(column for column in FEATURES if column.name in wanted)


@pytest.fixture(scope="session")
def make() -> Callable[..., pa.Table]:
    return records


@pytest.fixture(scope="session")
def rule() -> Callable[..., Finding]:
    return verdict


@pytest.fixture(scope="session")
def only() -> Callable[..., tuple[Any, ...]]:
    return features


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)

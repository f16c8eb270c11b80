"""Addresses, ports and times travel with each record; an odd one costs no record."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.datasets.cicids2017 import CICIDS2017
from pipeline.datasets.schema import ENDPOINTS, FEATURES
from pipeline.datasets.synthetic.files import write


@pytest.fixture
def named(tmp_path):
    """A published file with endpoints in front of its features; the third row has a port that is none."""
    write(tmp_path / "made", 600, seed=1)
    source = next((tmp_path / "made").glob("Monday*"))
    head, *rows = source.read_text().splitlines()
    ends = ["192.168.0.7,50123,10.0.0.9", "10.0.0.9,7,192.168.0.8", "10.0.0.9,none,192.168.0.8"]
    lines = [f"Source IP,Source Port,Destination IP,{head}"]
    lines += [f"{ends[min(place, 2)]},{row}" for place, row in enumerate(rows)]
    path = tmp_path / "named.csv"
    path.write_text("\n".join(lines) + "\n")
    return path, source


def read(path: Path) -> pa.Table:
    return pa.concat_tables([chunk.records for chunk in CICIDS2017(path).read()])


def test_endpoints_travel_with_the_record(named):
    records = read(named[0])
    assert records.column("src_ip").to_pylist()[:3] == ["192.168.0.7", "10.0.0.9", "10.0.0.9"]
    assert records.column("src_port").to_pylist()[:3] == [50123, 7, None]
    assert records.column("dst_ip").to_pylist()[:2] == ["10.0.0.9", "192.168.0.8"]
    assert np.array_equal(records.column("dst_port"), records.column("destination_port"))


def test_they_are_no_features_and_change_none(named):
    path, plain = named
    assert not {*ENDPOINTS} & {column.name for column in FEATURES}
    features = [column.name for column in FEATURES]
    assert read(path).select(features).equals(read(plain).select(features))


def test_a_file_without_them_has_nulls(named):
    records = read(named[1])
    assert all(records.column(name).null_count == records.num_rows for name in ("src_ip", "src_port", "dst_ip"))

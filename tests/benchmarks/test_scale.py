"""The captures that costs are measured on: read without a rejected row, mostly no copies, and the same each time."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import scale
from benchmarks.many_records import write
from pipeline.datasets.cicids2017 import CICIDS2017
from pipeline.datasets.synthetic.files import write as simulate


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    simulate(folder, 500, seed=0)
    return folder


def read(folder):
    chunks = list(CICIDS2017(path=folder).read())
    assert sum(chunk.rejected.num_rows for chunk in chunks) == 0
    return pd.concat([chunk.records.to_pandas() for chunk in chunks], ignore_index=True)


def test_a_capture_has_as_many_records_as_are_asked_for_and_few_copies(base, tmp_path):
    write(base, tmp_path / "many", 5_000)
    records = read(tmp_path / "many")
    assert len(records) == pytest.approx(5_000, abs=10)
    features = records.drop(columns=["record_id", "source_file", "row"])
    assert features.duplicated().mean() < 0.2  # there are 500 records to draw from
    shares = records["attack"].value_counts(normalize=True)
    assert shares["benign"] == pytest.approx(2_273_097 / 2_830_743, abs=0.02)
    assert shares["dos_hulk"] == pytest.approx(231_073 / 2_830_743, abs=0.01)


def test_times_and_rates_of_a_record_still_fit_each_other(base, tmp_path):
    write(base, tmp_path / "many", 2_000)
    records = read(tmp_path / "many")
    lasting = records[(records["flow_duration"] > 0) & np.isfinite(records["flow_packets_per_s"])]
    packets = lasting["total_fwd_packets"] + lasting["total_bwd_packets"]
    rate = packets / lasting["flow_duration"] * 1e6
    np.testing.assert_allclose(lasting["flow_packets_per_s"], rate, rtol=1e-3)
    for low, mean, high in (("flow_iat_min", "flow_iat_mean", "flow_iat_max"), ("idle_min", "idle_mean", "idle_max")):
        assert (records[low] <= records[mean] + 1e-3).all()
        assert (records[mean] <= records[high] + 1e-3).all()


def test_the_same_arguments_give_the_same_bytes(base, tmp_path):
    for name in ("one", "two"):
        write(base, tmp_path / name, 1_000)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_the_growth_of_a_cost_is_told_for_a_record_more():
    few, many = scale.Cost(1.0, 2.0, 100.0, 10.0), scale.Cost(4.0, 9.0, 300.0, 30.0)
    line = list(scale.growth([1_000, 3_000], [{"ingest": few}, {"ingest": many}]))[-1]
    assert line == "| 1,000 | 3,000 | ingest | 1.26 | 1,500 | 100,000 | 10,000 |"

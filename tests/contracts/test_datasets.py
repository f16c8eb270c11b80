"""What every data set in the registry keeps to."""

from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from pipeline.datasets import DATASETS
from pipeline.datasets.base import REJECTED_SCHEMA, record_schema
from pipeline.datasets.synthetic.files import write
from pipeline.registry import build

PARAMS = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())["ingest"]
SMALL = {"synthetic": {"records": 600}}


@pytest.fixture(params=DATASETS)
def read(request, tmp_path):
    """Reads the records of one data set afresh."""
    write(tmp_path, 600, seed=0)
    settings = PARAMS[request.param] | SMALL.get(request.param, {})
    return lambda: list(build(DATASETS, request.param, path=tmp_path, **settings).read())


def test_chunks_have_the_promised_columns(read):
    chunks = read()
    assert chunks
    for chunk in chunks:
        assert chunk.records.schema.equals(record_schema(next(iter(DATASETS.values())).columns))
        assert chunk.rejected.schema.equals(REJECTED_SCHEMA)


def test_records_are_the_same_each_time_and_known_by_their_id(read):
    first, second = (pa.concat_tables([chunk.records for chunk in read()]) for _ in range(2))
    assert first.equals(second)
    assert len(set(first["record_id"].to_pylist())) == first.num_rows > 0


def test_labels_agree_with_each_other(read):
    for chunk in read():
        for row in chunk.records.select(["y", "attack", "family"]).to_pylist():
            assert (row["y"] == 0) == (row["attack"] == "benign") == (row["family"] == "benign")

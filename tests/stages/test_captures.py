"""Captures through every stage, and a model of them that reads new captures as ingest read the old ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json
from pipeline.artifacts.tables import read_table
from pipeline.datasets.synthetic.captures import write_captures
from pipeline.serving import arrivals, reading
from pipeline.serving.bundle import Bundle

STAGES = ("ingest", "validate", "preprocess", "stage1", "stage2", "calibrate", "evaluate")


@pytest.fixture
def captures(project: Any) -> Any:
    """A project over two simulated days, read with a timeout of its own."""
    write_captures(Path("captures"), 1_500, 2, 0, attacks=True)
    project.set("ingest.dataset", "pcap")
    project.set("ingest.path", "captures")
    project.set("ingest.pcap.flow_timeout", 30.0)
    return project


def test_captures_run_through_every_stage_and_are_scored_as_they_were_read(captures: Any) -> None:
    captures.run(*STAGES)
    assert read_json(paths.METRICS)["seen"]["auroc"] > 0.8
    assert read_json(paths.SOURCE)["extraction"]["flow_timeout"] == 30.0
    records = read_table(paths.RECORDS)
    bundle = Bundle.of_project()
    assert bundle.extraction["flow_timeout"] == 30.0
    found = arrivals.find(Path("captures"))
    assert [file.name for file in found] == ["2017-07-03-monday.pcap", "2017-07-04-tuesday.pcap"]
    tables = [chunk.records for file in found for chunk in reading.chunks(file, bundle)]
    scored = pa.concat_tables(tables).unify_dictionaries()
    assert scored["record_id"].to_pylist() == records["record_id"].to_pylist()
    one, other = (bundle.predict(table) for table in (records, scored))
    np.testing.assert_array_equal(one.score, other.score)


def test_other_data_sets_store_no_settings_of_extraction(project: Any) -> None:
    project.run("ingest")
    assert "extraction" not in read_json(paths.SOURCE)

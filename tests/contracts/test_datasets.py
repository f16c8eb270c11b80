"""What every data set in the registry keeps to."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml

from pipeline.base.registry import build
from pipeline.datasets.base import REJECTED_SCHEMA, record_schema
from pipeline.datasets.registry import DATASETS
from pipeline.datasets.schema import PROVENANCE
from pipeline.datasets.synthetic.files import write
from pipeline.datasets.vocabulary import VOCABULARY
from tests.datasets.sensors.logs import FIELDS, SCAN, TLS, json_lines, tsv
from tests.datasets.sensors.test_nfstream import PLAIN, STATISTICS
from tests.datasets.sensors.test_nfstream import write as write_flows
from tests.datasets.sensors.test_suricata import ALERT, FLOW, PING
from tests.datasets.wire import ethernet, ipv4, pcap, udp

PARAMS = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())["ingest"]
SMALL = {"synthetic": {"records": 600}, "table": {"categorical": ["colour"]}}


def connections(folder):
    """Made-up files in the format of NSL-KDD."""
    for name, attacks in (("KDDTrain+.txt", ["normal", "neptune"]), ("KDDTest+.txt", ["normal", "mscan"])):
        cells = ",".join(["0", "tcp", "http", "SF", *["1"] * 37])
        (folder / name).write_text("".join(f"{cells},{attack},21\n" for attack in attacks * 20))


def numbers(folder):
    """A made-up table with a column of words."""
    random = np.random.default_rng(0)
    cells = [f"{x:.3f},{random.choice(['red', 'blue'])},{int(x > 1)}\n" for x in random.normal(size=200)]
    (folder / "table.csv").write_text("size,colour,label\n" + "".join(cells))


def zeek(folder):
    """A log of Zeek, labelled in part."""
    fields = (*FIELDS, "label")
    labels = ["benign", "scan", None]
    tsv(folder / "conn.log", [{**made, "label": label} for made in (TLS, SCAN) for label in labels * 20], fields)


def suricata(folder):
    """Events of Suricata, labelled in part."""
    labels = ["benign", "scan", None]
    json_lines(folder / "eve.json", [{**made, "label": label} for made in (FLOW, PING, ALERT) for label in labels * 20])


def nfstream(folder):
    """A file of nfstream with a few statistics."""
    write_flows(folder / "flows.csv", *[{**PLAIN, **STATISTICS, "label": label} for label in ["benign", "scan"] * 20])


def capture(folder):
    """A made-up capture of questions and answers."""
    frames = [(at, ethernet(ipv4("10.0.0.1", "10.0.0.2", 17, udp(1_024 + at // 2, 53, b"?")))) for at in range(40)]
    (folder / "some.pcap").write_bytes(pcap(frames))


FILES = {
    "nslkdd": connections,
    "table": numbers,
    "pcap": capture,
    "zeek": zeek,
    "suricata": suricata,
    "nfstream": nfstream,
}


@pytest.fixture(params=DATASETS)
def made(request, tmp_path):
    """Builds one data set afresh."""
    FILES.get(request.param, lambda folder: write(folder, 600, seed=0))(tmp_path)
    settings = PARAMS[request.param] | SMALL.get(request.param, {})
    return lambda: build(DATASETS, request.param, path=tmp_path, **settings)


def test_chunks_have_the_promised_columns(made):
    dataset = made()
    chunks = list(dataset.read())
    assert chunks
    for chunk in chunks:
        assert chunk.records.schema.equals(record_schema(dataset.columns))
        assert chunk.rejected.schema.equals(REJECTED_SCHEMA)
        for column in dataset.columns:
            assert chunk.records[column.name].null_count == 0


def test_columns_are_known_before_a_record_is_read_and_bear_names_of_their_own(made):
    names = [column.name for column in made().columns]
    assert len(set(names)) == len(names) > 0
    assert not set(names) & {*PROVENANCE, "confidence", "balanced"}


def test_records_are_the_same_each_time_and_known_by_their_id(made):
    first, second = (pa.concat_tables([chunk.records for chunk in made().read()]) for _ in range(2))
    assert first.equals(second)
    assert len(set(first["record_id"].to_pylist())) == first.num_rows > 0


def test_labels_agree_with_each_other_and_with_the_vocabulary(made):
    dataset = made()
    for chunk in dataset.read():
        for row in chunk.records.select(["y", "attack", "family"]).to_pylist():
            assert (row["y"] == 0) == (row["attack"] == "benign") == (row["family"] == "benign")
            assert (row["y"] is None) == (row["attack"] == "unlabelled")
            assert dataset.families is None or dataset.families[row["attack"]] == row["family"]


def test_every_known_attack_may_be_named_in_settings(made):
    assert set(made().families or ()) <= VOCABULARY

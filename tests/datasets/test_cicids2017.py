"""The published shapes, however they are packed, give the same canonical records."""

import gzip
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.datasets import sources
from pipeline.datasets.cicids2017 import CICIDS2017
from pipeline.datasets.labels import canonical
from pipeline.datasets.schema import ATTACKS, FEATURE_NAMES, PROVENANCE
from pipeline.datasets.synthetic.files import write

REAL = Path(__file__).parents[3] / "shared" / "data"


def read(path, **settings):
    return pa.concat_tables([chunk.records for chunk in CICIDS2017(path, **settings).read()])


def rejected(path):
    return pa.concat_tables([chunk.rejected for chunk in CICIDS2017(path).read()]).to_pylist()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("published")
    write(made, 800, seed=1)
    return made


@pytest.fixture
def one(folder, tmp_path):
    """A copy of one published file, to be spoilt."""
    return Path(shutil.copy(folder / "Monday-WorkingHours.pcap_ISCX.csv", tmp_path))


def lines_of(path):
    return path.read_bytes().splitlines(keepends=True)


def test_the_packing_does_not_matter(folder, tmp_path):
    plain = read(folder)
    zipped = tmp_path / "MachineLearningCSV.zip"
    (tmp_path / "gz").mkdir()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in folder.iterdir():
            archive.write(file, f"MachineLearningCVE/{file.name}")
            (tmp_path / "gz" / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    assert read(zipped).equals(plain)
    assert read(tmp_path / "gz").equals(plain)


def test_every_record_says_who_it_is(folder):
    records = read(folder)
    assert records.column_names == [*PROVENANCE, *FEATURE_NAMES]
    assert len(set(records["record_id"].to_pylist())) == records.num_rows == 800
    assert set(records["attack"].to_pylist()) <= set(ATTACKS)
    assert [y == 1 for y in records["y"].to_pylist()] == [a != "benign" for a in records["attack"].to_pylist()]
    assert set(records["day"].to_pylist()) == {"monday", "tuesday", "wednesday", "thursday", "friday"}


@settings(max_examples=8, deadline=None)
@given(size=st.integers(300, 60_000))
def test_where_a_block_ends_does_not_matter(folder, size):
    source = sources.sources(folder / "Tuesday-WorkingHours.pcap_ISCX.csv")[0]
    whole = b"".join(sources.blocks(source))
    parts = list(sources.blocks(source, size))
    assert b"".join(parts) == whole
    assert all(part.endswith(b"\n") for part in parts)


def test_small_blocks_give_the_same_records(folder, monkeypatch):
    whole = read(folder).to_pandas()
    monkeypatch.setattr(sources.blocks, "__defaults__", (4096,))
    pd.testing.assert_frame_equal(read(folder).to_pandas(), whole, check_categorical=False)


def test_line_ends_and_a_byte_order_mark_do_not_matter(one):
    expected = read(one)
    one.write_bytes(b"\xef\xbb\xbf" + one.read_bytes().replace(b"\n", b"\r\n"))
    assert read(one).equals(expected)


def test_a_spoilt_row_is_rejected_with_its_reason_and_the_others_keep_their_ids(one):
    expected = read(one).to_pylist()
    lines = lines_of(one)
    lines[3] = b",".join(lines[3].split(b",")[:40]) + b"\n"
    lines[5] = lines[5].replace(b",", b",many,", 1).replace(b",many,", b",many", 1)
    lines.insert(8, b"," * 78 + b"\n")
    one.write_bytes(b"".join(lines))
    faults = {row["row"]: row for row in rejected(one)}
    assert list(faults) == [3, 5, 8]
    assert faults[3]["reason"] == "40 fields where the header has 79"
    assert "is not a number" in faults[5]["reason"]
    assert faults[5]["column"] == "Flow Duration"
    assert faults[8]["reason"] == "blank row"
    kept = [row["record_id"] for row in read(one).to_pylist() if row["row"] < 8]
    assert kept == [row["record_id"] for row in expected if row["row"] < 8 and row["row"] not in {3, 5}]


def test_undefined_rates_are_kept_as_the_source_wrote_them(one):
    lines = lines_of(one)
    fields = lines[1].split(b",")
    fields[14], fields[15] = b"NaN", b"Infinity"
    lines[1] = b",".join(fields)
    one.write_bytes(b"".join(lines))
    first = read(one).slice(0, 1).to_pylist()[0]
    assert np.isnan(first["flow_bytes_per_s"])
    assert first["flow_packets_per_s"] == np.inf


@pytest.mark.parametrize("dash", ["-", "\N{EN DASH}", "\N{REPLACEMENT CHARACTER}", "\x96"])
def test_a_dash_is_a_dash(dash):
    assert canonical(f"Web Attack {dash} Sql Injection").attack == "web_sql_injection"


@pytest.mark.parametrize(
    ("text", "attack", "attempted"),
    [
        ("BENIGN", "benign", False),
        ("DoS Hulk - Attempted", "dos_hulk", True),
        ("Infiltration - Portscan", "infiltration_port_scan", False),
        ("PortScan", "port_scan", False),
        ("Botnet", "bot", False),
    ],
)
def test_labels(text, attack, attempted):
    assert canonical(text)[::2] == (attack, attempted)


def test_an_unknown_label_is_refused_with_its_near_miss_or_kept():
    with pytest.raises(ValueError, match="did you mean 'DoS Hulk'"):
        canonical("DoS Hulq")
    assert canonical("New Thing 2", "keep") == ("new_thing_2", "new_thing_2", False)


REAL_COUNTS = {
    "cicids2017": (70_569, 53_830),
    "cicids2017_improved": (26_756, 3_749),
    "cicids2017_with_flow_ids": (2_400, 1_265),
}


@pytest.mark.parametrize("shape", REAL_COUNTS)
def test_the_published_shapes(shape):
    if not (REAL / shape).is_dir():
        pytest.skip(f"the real records are absent: {REAL / shape}")
    records = read(REAL / shape)
    benign = sum(attack == "benign" for attack in records["attack"].to_pylist())
    assert (records.num_rows, benign) == REAL_COUNTS[shape]
    assert len(set(records["record_id"].to_pylist())) == records.num_rows
    assert (records["timestamp"].null_count == 0) == (shape != "cicids2017")
    repeated = records["fwd_header_length_repeated"].to_numpy()
    assert np.array_equal(repeated, records["fwd_header_length"].to_numpy())


def test_memory_does_not_grow_with_the_file(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(sources.blocks, "__defaults__", (65_536,))
    lines = lines_of(folder / "Monday-WorkingHours.pcap_ISCX.csv")
    big = tmp_path / "Monday.csv"
    big.write_bytes(lines[0] + b"".join(lines[1:]) * 60)
    largest = max(chunk.records.nbytes for chunk in CICIDS2017(big).read())
    assert largest < read(big).nbytes / 20

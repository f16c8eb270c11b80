"""What a file leaves open is read in one way: in any script, in any order of its rows, for training and for scoring."""

import json
import zipfile
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline.base.errors import SourceError
from pipeline.datasets.base import REJECTED_SCHEMA
from pipeline.datasets.cicids2017 import CICIDS2017
from pipeline.datasets.findings import Findings
from pipeline.datasets.incoming import incoming
from pipeline.datasets.labels import canonical, says_nothing
from pipeline.datasets.reading import Reading
from pipeline.datasets.schema import FEATURES
from pipeline.datasets.synthetic.files import write
from pipeline.datasets.table import Table
from pipeline.datasets.words import nulled


def records(dataset):
    return pa.concat_tables([chunk.records for chunk in dataset.read()])


@pytest.fixture
def monday(tmp_path):
    """A published file with a column of times in front."""
    write(tmp_path / "made", 600, seed=1)
    frame = pd.read_csv(next((tmp_path / "made").glob("Monday*")))
    frame.insert(0, "Timestamp", "")
    return frame


@pytest.mark.parametrize("label", ["атака", "攻击", "επίθεση"])
def test_a_label_in_another_script_is_no_missing_label(tmp_path, label):
    assert not says_nothing(label)
    with pytest.raises(ValueError, match="unknown label"):
        canonical(label)
    assert canonical(label, "keep").attack == label
    (tmp_path / "t.csv").write_text(f"a,label\n1,0\n2,{label}\n", "utf-8")
    assert records(Table(tmp_path / "t.csv")).column("attack").to_pylist() == ["benign", label]
    (tmp_path / "t.csv").write_text(f"a,label\n1,{label}\n2,dos\n", "utf-8")
    assert records(Table(tmp_path / "t.csv", benign=(label,))).column("y").to_pylist() == [0, 1]


def test_a_date_of_another_shape_than_the_file_began_with_is_not_guessed(tmp_path, monday):
    many = pd.concat([monday] * (40_000 // len(monday) + 1), ignore_index=True)
    many["Timestamp"] = "2023-07-03 10:00:00"
    many.loc[many.index[-5:], "Timestamp"] = "07/08/2023 10:00:00"
    many.to_csv(tmp_path / "t.csv", index=False)
    read = records(CICIDS2017(tmp_path / "t.csv")).column("timestamp").to_pylist()
    assert set(read[:-5]) == {datetime(2023, 7, 3, 10)}
    assert set(read[-5:]) <= {None, datetime(2023, 8, 7, 10)}


@pytest.mark.parametrize(
    ("reading", "text", "time"),
    [
        (("%m/%d/%Y %H:%M:%S", "UTC", ()), "07/03/2023 18:00:00", datetime(2023, 7, 3, 18)),
        (("auto", "America/New_York", ()), "2023-07-03T22:00:00Z", datetime(2023, 7, 3, 18)),
    ],
)
def test_new_records_are_read_as_those_of_training(tmp_path, monday, reading, text, time):
    monday["Timestamp"] = text
    monday.to_csv(tmp_path / "t.csv", index=False)
    how = Reading.of(*reading)
    trained = records(CICIDS2017(tmp_path / "t.csv", reading=how))
    scored = records(incoming(tmp_path / "t.csv", "cicids2017", FEATURES, reading=how))
    assert set(trained.column("timestamp").to_pylist()) == {time}
    assert scored.column("timestamp").equals(trained.column("timestamp"))
    assert scored.column("day").to_pylist() == trained.column("day").to_pylist()


def test_the_unit_is_looked_for_beyond_rows_that_cannot_show_it(tmp_path, monday):
    quiet = monday.copy()
    quiet[" Flow Duration"] = 0
    slow = monday[monday[" Flow Duration"] > 0].copy()
    timed = [name for name in slow if "IAT" in name or "Active" in name or "Idle" in name or name == " Flow Duration"]
    slow[timed] = slow[timed].astype(float) / 1e6
    both = pd.concat([*[quiet] * (3_000 // len(quiet) + 1), *[slow] * 3], ignore_index=True)
    both.drop(columns="Timestamp").to_csv(tmp_path / "t.csv", index=False)
    read = records(CICIDS2017(tmp_path / "t.csv")).column("flow_duration").to_numpy()
    expected = monday.loc[monday[" Flow Duration"] > 0, " Flow Duration"].to_numpy()
    assert np.allclose(read[-len(expected) :], expected, rtol=1e-6, atol=1)


def test_a_comment_with_as_many_cells_as_a_record_is_a_comment(tmp_path):
    (tmp_path / "t.csv").write_text("proto,label\n6,0\n# exported 2023, v2\n17,1\n#N/A,0\n")
    chunk = next(iter(Table(tmp_path / "t.csv").read()))
    assert chunk.records.column("attack").to_pylist() == ["benign", "attack", "benign"]
    assert [(row["row"], row["reason"]) for row in chunk.rejected.to_pylist()] == [(2, "a comment")]


def test_keys_of_json_that_come_late_are_named(tmp_path):
    early = json.dumps({"a": 1, "label": 0}) + "\n"
    late = json.dumps({"a": 1, "label": 1, "errors": 3}) + "\n"
    (tmp_path / "t.jsonl").write_text(early * 20_000 + late * 5)
    findings = Findings()
    for chunk in Table(tmp_path / "t.jsonl").read():
        findings.add(chunk)
    assert findings.report()["t.jsonl"]["columns_not_read"] == ["errors"]


def test_a_deeply_nested_line_is_a_rejected_row(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"a": 1, "label": 0}\n' + "[" * 100_000 + '\n{"a": 2, "label": 1}\n')
    (chunk,) = Table(tmp_path / "t.jsonl").read()
    assert chunk.records.num_rows == 2
    assert chunk.rejected.schema == REJECTED_SCHEMA and chunk.rejected.column("row").to_pylist() == [2]


def test_a_damaged_member_of_a_zip_is_a_source_that_cannot_be_read(tmp_path):
    pd.DataFrame({"a": np.arange(5_000), "label": 0}).to_parquet(tmp_path / "t.parquet")
    with zipfile.ZipFile(tmp_path / "t.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "t.parquet", "t.parquet")
    content = bytearray((tmp_path / "t.zip").read_bytes())
    content[200:260] = bytes(60)
    (tmp_path / "t.zip").write_bytes(content)
    (tmp_path / "t.parquet").unlink()
    with pytest.raises(SourceError, match="cannot be read"):
        records(Table(tmp_path / "t.zip"))


def test_a_feature_called_label_is_scored_as_it_was_trained(tmp_path):
    (tmp_path / "t.csv").write_text("label,verdict\n1,0\n2,1\n")
    trained = Table(tmp_path / "t.csv", label="verdict")
    assert [column.name for column in trained.columns] == ["label_column"]
    scored = records(incoming(tmp_path / "t.csv", "table", trained.columns))
    assert scored.column("label_column").to_pylist() == [1.0, 2.0]


def test_words_that_mean_missing_become_null_however_many_there_are():
    words = [f"w{place}" for place in range(50_000)]
    column = pa.chunked_array([pa.array([*words, "NA", "?", None]).dictionary_encode()])
    found = nulled(column, ("NA", "?", ""))
    assert found.to_pylist() == [*words, None, None, None]

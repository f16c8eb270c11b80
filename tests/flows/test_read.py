"""``flowsculpt read``: what is understood of a file is printed, and nothing is written."""

import json
import shutil
from pathlib import Path

import pytest

from flows import read
from pipeline.datasets.synthetic.files import write

ROOT = Path(__file__).parents[2]


@pytest.fixture
def flows(tmp_path, monkeypatch):
    """A folder with settings, in which one file of flows lies."""
    write(tmp_path / "made", 600, seed=1)
    shutil.copy(next((tmp_path / "made").glob("Monday*")), tmp_path / "flows.csv")
    shutil.rmtree(tmp_path / "made")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "flows.csv"


def test_it_prints_sentences_and_writes_nothing(flows, capsys):
    before = sorted(path.name for path in flows.parent.iterdir())
    assert read.main([str(flows)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("flows.csv\n  ")
    assert "It has the names of CICFlowMeter of CIC-IDS-2017" in said
    assert "Durations are in microseconds" in said
    assert sorted(path.name for path in flows.parent.iterdir()) == before


def test_a_file_without_labels_or_with_unknown_ones_is_described_too(flows, capsys):
    head, *rows = flows.read_text().splitlines()
    flows.write_text("\n".join([head, *(row.rpartition(",")[0] + ",A New One" for row in rows)]) + "\n")
    assert read.main([str(flows), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["flows.csv"]["attacks"] == {"a_new_one": len(rows)}
    flows.write_text("\n".join(line.rpartition(",")[0] for line in [head, *rows]) + "\n")
    assert read.main([str(flows)]) == 0
    assert "There are no labels." in capsys.readouterr().out


def test_connections_and_tables_are_read_as_what_they_are(flows, capsys):
    connection = ",".join(["0", "tcp", "http", "SF", *["1"] * 37])
    (flows.parent / "KDDTrain.txt").write_text(f"{connection},neptune,21\n{connection},normal,21\n")
    assert read.main([str(flows.parent / "KDDTrain.txt"), "--dataset", "nslkdd"]) == 0
    assert "1 records are benign, 1 are attacks" in capsys.readouterr().out
    (flows.parent / "t.csv").write_text("a,label\n1,0\n2,dos\n")
    assert read.main([str(flows.parent / "t.csv"), "--dataset", "table"]) == 0
    assert "1 records are benign, 1 are attacks" in capsys.readouterr().out


def test_what_cannot_be_read_is_one_sentence(flows, capsys):
    assert read.main([str(flows.parent / "flow.csv")]) == 1
    assert "no such file or folder (did you mean 'flows.csv'?)" in capsys.readouterr().err

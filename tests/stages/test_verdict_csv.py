"""Verdicts are Parquet; a file of few records, or one for which it is asked, gets them as CSV, too."""

import csv
from argparse import Namespace

import pyarrow.parquet as pq
import pytest

from flows import score, scoring
from pipeline.artifacts import paths
from pipeline.serving import batch, scored, verdict_csv


@pytest.fixture
def file(store, folder, prepared):
    return next(path for path in folder.iterdir() if "DDos" in path.name)


def scores(file, form="auto"):
    given = Namespace(path=[str(file)], alias="champion", false_discovery=0.0, rescore=False, format=form)
    return score._scored(given)


def written():
    return sorted(path.name for path in (paths.SCORED / "csv").glob("*"))


def rows(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_csv_of_a_small_file_has_the_rows_and_columns_of_its_table(file, prepared):
    prepared.set("scoring.csv_records", read_records(file))
    scores(file)
    (key,) = scored.summaries()
    table, found = pq.read_table(scored.table_path(key)), rows(verdict_csv.path_of(key))
    assert [*found[0]] == table.column_names
    assert [row["record_id"] for row in found] == [f"{each:016x}" for each in table["record_id"].to_pylist()]
    assert [row["verdict"] for row in found] == table["verdict"].to_pylist()
    assert [float(row["score"]) for row in found] == table["score"].to_pylist()


def read_records(file):
    return file.read_text("utf-8").count("\n") - 1


def test_a_larger_file_has_none_unless_it_is_asked_for_also_later(file, prepared):
    prepared.set("scoring.csv_records", read_records(file) // 2)
    scores(file)
    assert written() == []
    said = scores(file, "csv")
    (name,) = written()
    assert f"verdicts as CSV: data/scored/csv/{name}" in said
    before = (paths.SCORED / "csv" / name).stat().st_mtime_ns
    scores(file, "csv")
    assert (paths.SCORED / "csv" / name).stat().st_mtime_ns == before


def test_a_kill_before_the_file_counts_as_scored_leaves_no_file_without_its_csv(file, monkeypatch):
    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(batch, "write_json", die)  # of the summary
        scores(file)
    assert not scored.summaries()
    scores(file)
    assert len(written()) == 1
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(score, "_as_csv", die)  # behind the summary
        scores(file.rename(file.with_name("another.csv")))
    assert {verdict_csv.path_of(key).exists() for key in scored.summaries()} == {True}


def test_parquet_alone_can_be_asked_for(file):
    scores(file, "parquet")
    assert written() == []
    assert scored.summaries()


def test_the_flow_writes_them_too(file, task):
    scoring.scoring.fn(str(file))
    assert len(written()) == 1
    scoring.scoring.fn(str(file), format="csv")
    assert len(written()) == 1

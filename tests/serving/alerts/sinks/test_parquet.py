"""The table of alerts: a folder for each day, each key once, parts of bounded size."""

import pyarrow.dataset
import pytest

from pipeline.artifacts.tables import read_table
from pipeline.serving.alerts.schema import SCHEMA, alerts_of
from pipeline.serving.alerts.sinks import parquet
from pipeline.serving.alerts.sinks.base import UnavailableError
from pipeline.serving.alerts.sinks.parquet import Parquet
from tests.serving.alerts.sinks import made


def held(folder):
    """The numbers of the records in each part, by the name of the part."""
    paths = sorted(folder.rglob("*.parquet"))
    return {str(path.relative_to(folder)): read_table(path).column("row").to_pylist() for path in paths}


def test_alerts_lie_in_the_folder_of_their_day(tmp_path):
    Parquet(folder=str(tmp_path)).send(made.of(0, 59, 60, 61), "")
    assert held(tmp_path) == {
        "day=2026-03-01/part-000000.parquet": [0, 59],
        "day=2026-03-02/part-000000.parquet": [60, 61],
    }


def test_a_part_grows_until_it_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "ROWS", 3)
    sink = Parquet(folder=str(tmp_path))
    for numbers in ([1, 2], [3], [4, 5, 6, 7]):
        sink.send(made.of(*numbers), "")
    assert [*held(tmp_path).values()] == [[1, 2, 3], [4, 5, 6], [7]]


def test_what_the_table_holds_is_not_added_again(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "ROWS", 3)
    sink = Parquet(folder=str(tmp_path))
    sink.send(made.of(1, 2, 3, 4), "")
    sink.send(made.of(2, 3, 4, 5), "")
    assert [*held(tmp_path).values()] == [[1, 2, 3], [4, 5]]


def test_it_is_read_as_one_table_with_the_schema_of_alerts(tmp_path):
    Parquet(folder=str(tmp_path)).send(made.messages(made.ALERT, made.bare(1), made.evil(2)), "")
    table = pyarrow.dataset.dataset(tmp_path, partitioning="hive").to_table()
    assert {*table.column_names} == {*SCHEMA.names, "day"}
    whole = {each.alert: each for each in alerts_of(table.select(SCHEMA.names))}
    assert whole[made.ALERT.alert] == made.ALERT
    assert whole[made.bare(1).alert].src_ip is None
    assert "\\ud800" in whole[made.evil(2).alert].source_file


def test_a_folder_that_cannot_be_written_makes_messages_wait(tmp_path):
    (tmp_path / "table").touch()
    with pytest.raises(UnavailableError, match="cannot be written"):
        Parquet(folder=str(tmp_path / "table")).send(made.of(1), "")

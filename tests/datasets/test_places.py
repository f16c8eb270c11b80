"""A list of paths is read as one folder is; what is wrong is said with its place in the list."""

import zipfile
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.base.errors import SourceError
from pipeline.datasets.base import Dataset
from pipeline.datasets.cicids2017 import CICIDS2017
from pipeline.datasets.packets.captures import Captures
from pipeline.datasets.places import sources_under, where_of
from pipeline.datasets.sensors.zeek import Zeek
from pipeline.datasets.sources import sources
from pipeline.datasets.synthetic.captures import write_captures
from pipeline.datasets.synthetic.files import write
from pipeline.datasets.synthetic.zeek_logs import write_logs
from pipeline.datasets.table import Table


def records(dataset: Dataset) -> pa.Table:
    return pa.concat_tables([chunk.records for chunk in dataset.read()])


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("week")
    write(folder, 600, 0)
    return sorted(folder.iterdir())[:3]


def test_two_files_give_the_records_of_the_two(week: list[Path]) -> None:
    one, other = (records(CICIDS2017(path)) for path in week[:2])
    both = records(CICIDS2017(tuple(week[:2])))
    assert both["record_id"].to_pylist() == one["record_id"].to_pylist() + other["record_id"].to_pylist()


def test_a_list_holds_files_folders_and_zips(week: list[Path], tmp_path: Path) -> None:
    (tmp_path / "monday").mkdir()
    (tmp_path / "monday" / week[0].name).write_bytes(week[0].read_bytes())
    with zipfile.ZipFile(tmp_path / "rest.zip", "w") as archive:
        archive.write(week[1], week[1].name)
    listed = (tmp_path / "monday", tmp_path / "rest.zip", week[2])
    assert set(records(CICIDS2017(listed))["record_id"].to_pylist()) == set(
        records(CICIDS2017(tuple(week)))["record_id"].to_pylist()
    )


def test_files_of_one_name_stay_apart_and_the_first_keeps_its_ids(tmp_path: Path) -> None:
    for day, value in (("monday", 1), ("tuesday", 2)):
        (tmp_path / day).mkdir()
        (tmp_path / day / "flows.csv").write_text(f"bytes,label\n{value},0\n7,1\n")
    first = records(Table(tmp_path / "monday"))
    both = records(Table((tmp_path / "monday", tmp_path / "tuesday")))
    assert both["record_id"].to_pylist()[:2] == first["record_id"].to_pylist()
    names = set(both["source_file"].to_pylist())
    assert names == {"flows.csv", f"{(tmp_path / 'tuesday').as_posix()}/flows.csv"}
    assert len(set(both["record_id"].to_pylist())) == 4


def test_an_absent_path_is_named_with_its_place_in_the_list(week: list[Path], tmp_path: Path) -> None:
    absent = tmp_path / "nothing.csv"
    with pytest.raises(SourceError, match=r"^ingest\.path, number 2 of 2: .*nothing\.csv: no such file or folder"):
        CICIDS2017((week[0], absent)).columns


def test_a_path_within_another_is_refused(week: list[Path]) -> None:
    for listed in ((week[0], week[0].parent), (week[0].parent, week[0]), (week[0], week[0])):
        with pytest.raises(SourceError, match=r"lies in .*name one"):
            sources_under(listed, sources)


def test_a_list_of_one_is_that_path(week: list[Path]) -> None:
    assert where_of([str(week[0])]) == week[0]


def test_captures_keep_the_rules_beside_them(tmp_path: Path) -> None:
    paths = write_captures(tmp_path, 60, 2, 0, attacks=True)
    whole, listed = (records(Captures(where)) for where in (tmp_path, tuple(paths)))
    assert listed.num_rows == whole.num_rows
    assert listed["attack"].to_pylist() == whole["attack"].to_pylist()


def test_logs_may_be_listed(tmp_path: Path) -> None:
    paths = write_logs(tmp_path, 60, 2, 0)
    assert records(Zeek(tuple(paths))).num_rows == records(Zeek(tmp_path)).num_rows


def test_archives_whose_members_have_one_name_lose_nothing(week: list[Path], tmp_path: Path) -> None:
    archives = []
    for number, path in enumerate(week):
        archives.append(tmp_path / f"day{number}.zip")
        with zipfile.ZipFile(archives[-1], "w") as archive:
            archive.write(path, "flows.csv")
    alone = sum(len(records(CICIDS2017(path))) for path in week)
    together = records(CICIDS2017(tuple(archives)))
    assert len(together) == alone
    assert len(set(together["record_id"].to_pylist())) == alone

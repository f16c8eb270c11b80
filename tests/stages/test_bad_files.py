"""Raw files that cannot be read or used: the message names the file, the row, the column and the remedy."""

import gzip
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json
from pipeline.artifacts.tables import read_table
from pipeline.base.errors import DataError, RejectedError, SchemaError, SourceError

MONDAY = "Monday-WorkingHours.pcap_ISCX.csv"
TUESDAY = "Tuesday-WorkingHours.pcap_ISCX.csv"


def rejected() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_table(paths.REJECTED).to_pylist()
    return rows


def counts() -> tuple[int, int]:
    source = read_json(paths.SOURCE)
    return source["records"], source["rejected"]


def test_a_truncated_gzip(project: Any) -> None:
    path = project.file("Monday")
    packed = gzip.compress(path.read_bytes())
    path.unlink()
    path.with_name(f"{MONDAY}.gz").write_bytes(packed[: len(packed) // 2])
    message = project.refusal("ingest", SourceError)
    assert MONDAY in message
    assert "cannot be read beyond byte" in message
    assert "fetch the file again" in message


def test_a_gzip_that_is_none(project: Any) -> None:
    path = project.file("Monday")
    path.rename(path.with_name(f"{MONDAY}.gz"))
    message = project.refusal("ingest", SourceError)
    assert f"{MONDAY}: cannot be read" in message
    assert "fetch the file again" in message


def test_a_truncated_zip(project: Any) -> None:
    archive = Path(shutil.make_archive("records", "zip", project.raw))
    archive.write_bytes(archive.read_bytes()[:-200])
    project.set("ingest.path", "records.zip")
    message = project.refusal("ingest", SourceError)
    assert "records.zip: is not a zip archive" in message
    assert "download it again" in message


def drop_column(cells: list[list[str]]) -> None:
    place = cells[0].index(" Flow Duration")
    for row in cells:
        del row[place]


def add_column(cells: list[list[str]]) -> None:
    for row in cells:
        row.insert(0, "7")
    cells[0][0] = "Flow Druation"


def rename_column(cells: list[list[str]]) -> None:
    cells[0][cells[0].index(" Flow Duration")] = " Flow Durations"


def repeat_column(cells: list[list[str]]) -> None:
    for row in cells:
        row.append(row[1])
    cells[0][-1] = "Dst Port"


def drop_label(cells: list[list[str]]) -> None:
    cells[0][-1] = " Lable"


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (drop_column, ["column 'Flow Duration' is missing"]),
        (add_column, ["column 'Flow Druation' (number 1) is unknown", "did you mean 'Flow Duration'"]),
        (rename_column, ["'Flow Duration' is missing (did you mean 'Flow Durations'?)", "rename"]),
        (repeat_column, ["two columns mean 'destination_port'"]),
        (drop_label, ["column 'Label' is missing (did you mean 'Lable'?)"]),
    ],
)
def test_a_missing_an_extra_and_a_renamed_column(
    project: Any, change: Callable[[list[list[str]]], None], parts: list[str]
) -> None:
    project.edit("Tuesday", change)
    message = project.refusal("ingest", SchemaError)
    for part in (TUESDAY, "ingest.cicids2017.", *parts):
        assert part in message


def test_an_extra_column_that_is_to_be_ignored(project: Any) -> None:
    project.edit("Tuesday", add_column)
    project.set("ingest.cicids2017.ignore_columns", ["Flow Druation"])
    project.run("ingest")
    assert counts() == (600, 0)


def cut_row(cells: list[list[str]]) -> None:
    del cells[7][40:]


def write_text(cells: list[list[str]]) -> None:
    cells[7][cells[0].index(" Flow Duration")] = "many"


@pytest.mark.parametrize(
    ("change", "column", "reason"),
    [(cut_row, "", "40 fields where the header has 79"), (write_text, "Flow Duration", "'many' is not a number")],
)
def test_a_row_that_cannot_be_read_is_kept_with_its_reason_and_counted(
    project: Any, change: Callable[[list[list[str]]], None], column: str, reason: str
) -> None:
    path = project.edit("Monday", change)
    project.set("ingest.max_rejected_share", 0.01)
    project.run("ingest")
    assert counts() == (599, 1)
    [row] = rejected()
    assert (row["source_file"], row["row"], row["column"], row["reason"]) == (MONDAY, 7, column, reason)
    assert row["text"] == path.read_text().splitlines()[7]
    kept = read_table(paths.RECORDS, ["source_file", "row"]).to_pylist()
    monday = [record["row"] for record in kept if record["source_file"] == MONDAY]
    assert monday == [number for number in range(1, 111) if number != 7]


def test_above_the_set_share_the_stage_fails_and_nothing_is_lost(project: Any) -> None:
    project.run("ingest")
    before = paths.RECORDS.read_bytes(), paths.SOURCE.read_bytes()
    for row in (3, 4, 9, 11):
        project.edit("Monday", lambda cells, row=row: cells[row].__setitem__(1, f"?{row}"))
    message = project.refusal("ingest", RejectedError)
    assert "4 of 600 rows cannot be read" in message
    assert "ingest.max_rejected_share" in message
    assert "0.001" in message
    for row in (3, 4, 9):
        assert f"{MONDAY}, row {row}, column 'Flow Duration': '?{row}' is not a number" in message
    assert "row 11" not in message
    assert str(paths.REJECTED) in message
    assert [row["row"] for row in rejected()] == [3, 4, 9, 11]
    assert (paths.RECORDS.read_bytes(), paths.SOURCE.read_bytes()) == before
    assert not list(paths.RECORDS.parent.glob(".*"))


def test_a_file_without_a_readable_row(project: Any) -> None:
    project.only("Monday")
    project.set("ingest.max_rejected_share", 1.0)
    project.edit("Monday", lambda cells: [row.__delitem__(slice(9, None)) for row in cells[1:]])
    message = project.refusal("ingest", RejectedError)
    assert "110 of 110 rows cannot be read" in message
    assert f"{MONDAY}, row 1" in message


@pytest.mark.parametrize(
    ("content", "reason"), [("", "is empty"), ("\n", "is empty"), ("header", "has a header and no records")]
)
def test_an_empty_file(project: Any, content: str, reason: str) -> None:
    path = project.file("Monday")
    path.write_text(path.read_text().splitlines()[0] + "\n" if content == "header" else content)
    message = project.refusal("ingest", SourceError)
    assert f"{MONDAY}: {reason}" in message
    assert "remove the file or fetch it" in message


def test_a_folder_with_no_files(project: Any) -> None:
    Path("nothing").mkdir()
    Path("nothing/readme.txt").write_text("no records here")
    project.set("ingest.path", "nothing")
    message = project.refusal("ingest", SourceError)
    assert "nothing: holds no .csv, " in message and ".parquet, " in message
    assert "set ingest.path" in message


def test_a_path_that_does_not_exist(project: Any) -> None:
    project.set("ingest.path", "data/row")
    message = project.refusal("ingest", SourceError)
    assert "data/row: no such file or folder (did you mean 'raw'?)" in message
    assert "set ingest.path" in message


def test_two_files_with_the_same_content(project: Any) -> None:
    path = project.file("Monday")
    project.raw.joinpath("another.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    message = project.refusal("ingest", SourceError)
    assert re.match(rf"another.csv(.gz)?: has the same content as {re.escape(MONDAY)}", message)
    assert "remove one of the two" in message


def test_a_file_beside_its_own_gzip(project: Any) -> None:
    path = project.file("Monday")
    path.with_name(f"{MONDAY}.gz").write_bytes(gzip.compress(path.read_bytes()))
    message = project.refusal("ingest", SourceError)
    assert MONDAY in message
    assert "remove one of the two" in message


def unknown_label(cells: list[list[str]]) -> None:
    cells[5][-1] = "Heartbled"


def test_an_unknown_label(project: Any) -> None:
    project.edit("Monday", unknown_label)
    message = project.refusal("ingest", DataError)
    assert f"{MONDAY}: row 5, column 'Label': unknown label 'Heartbled' (did you mean 'Heartbleed'?)" in message
    assert "ingest.cicids2017.unknown_labels" in message


def test_an_unknown_label_that_is_to_be_kept(project: Any) -> None:
    project.edit("Monday", unknown_label)
    project.set("ingest.cicids2017.unknown_labels", "keep")
    project.run("ingest")
    record = next(
        row
        for row in read_table(paths.RECORDS, ["attack", "family", "y", "row"]).to_pylist()
        if row["attack"] == "heartbled"
    )
    assert (record["family"], record["y"], record["row"]) == ("heartbled", 1, 5)


def test_a_refused_file_leaves_the_records_of_the_run_before(project: Any) -> None:
    project.run("ingest")
    before = paths.RECORDS.read_bytes()
    project.file("Wednesday").write_bytes(b"")  # is read after other files
    project.refusal("ingest", SourceError)
    assert paths.RECORDS.read_bytes() == before
    assert not list(paths.RECORDS.parent.glob(".*"))

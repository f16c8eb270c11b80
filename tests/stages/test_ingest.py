"""Ingest: raw files -> one table of records, and what later reports say of them."""

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json
from pipeline.artifacts.tables import read_table
from pipeline.base.errors import ConfigError
from pipeline.datasets import sources
from pipeline.datasets.base import record_schema
from pipeline.datasets.schema import FEATURE_NAMES, FEATURES

REAL = Path(__file__).parents[3] / "shared" / "data"


def report() -> dict[str, Any]:
    return json.loads((paths.REPORTS / "ingest" / "ingest.json").read_text())  # type: ignore[no-any-return]


def test_records_and_counts(project: Any) -> None:
    project.run("ingest")
    records = read_table(paths.RECORDS)
    assert records.schema.names == record_schema(FEATURES).names
    source = read_json(paths.SOURCE)
    assert source == report()
    assert [column["name"] for column in source["columns"]] == list(FEATURE_NAMES)
    assert source["columns"][0] == {"name": "destination_port", "unit": "port", "high": 65535}
    assert source["families"]["dos_hulk"] == "dos"
    assert (source["dataset"], source["synthetic"], source["records"], source["rejected"]) == (
        "cicids2017",
        False,
        600,
        0,
    )
    assert list(source["files"]) == sorted(path.name for path in project.raw.iterdir())
    for name, file in source["files"].items():
        rows = records.filter([each == name for each in records["source_file"].to_pylist()])
        attacks = rows["attack"].to_pylist()
        assert file["records"] == len(attacks)
        assert file["attacks"] == {attack: attacks.count(attack) for attack in set(attacks)}
    assert (paths.REPORTS / "ingest" / "class_counts.svg").read_bytes().startswith(b"<?xml")


def test_every_artefact_that_is_declared_is_written_and_nothing_else(project: Any) -> None:
    project.run("ingest")
    assert all(path.exists() for path in paths.OUTPUTS["ingest"])
    assert {path.name for path in Path("data").iterdir()} == {"raw", "interim", "reports"}
    assert len(list(paths.RECORDS.parent.iterdir())) == 3


def test_the_reading_report_says_what_was_understood(project: Any) -> None:
    path = project.file("Monday")
    head, first, *rows = path.read_text().splitlines()
    path.write_text("\n".join([head, first.rpartition(",")[0] + ",<No Label>", *rows]) + "\n")
    project.run("ingest")
    found = read_json(paths.REPORTS / "ingest" / "reading.json")
    source = read_json(paths.SOURCE)
    assert found.keys() == source["files"].keys()
    assert found[path.name]["attacks"]["unlabelled"] == 1
    assert source["extractors"] == [{"tool": "cicflowmeter_2017", "first_packet": "twice"}]
    assert source["files"][path.name]["units"]["duration"] == "us"
    page = (paths.REPORTS / "ingest" / "reading.html").read_text()
    assert "It has the names of CICFlowMeter of CIC-IDS-2017" in page
    assert "&lt;No Label&gt;" in page
    assert "<No Label>" not in page


def test_synthetic_records_say_so(project: Any) -> None:
    project.set("ingest.dataset", "synthetic")
    project.set("ingest.path", "nowhere")
    project.params["ingest"]["synthetic"]["records"] = 600
    project.set("ingest.synthetic.seed", 7)
    project.run("ingest")
    assert report()["synthetic"] is True
    assert report()["records"] == 600


def test_the_packing_does_not_change_the_table(project: Any) -> None:
    project.run("ingest")
    plain = paths.RECORDS.read_bytes()
    shutil.make_archive("records", "zip", project.raw)
    project.set("ingest.path", "records.zip")
    project.run("ingest")
    assert paths.RECORDS.read_bytes() == plain
    for path in list(project.raw.iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    project.set("ingest.path", str(project.raw))
    project.run("ingest")
    assert paths.RECORDS.read_bytes() == plain


def test_blank_rows_are_kept_and_counted_apart(project: Any) -> None:
    path = project.file("Monday")
    path.write_bytes(path.read_bytes() + (b"," * 78 + b"\n") * 900)
    project.run("ingest")  # more of them than max_rejected_share would allow
    source = read_json(paths.SOURCE)
    assert (source["records"], source["blank"], source["rejected"]) == (600, 900, 0)
    assert read_table(paths.REJECTED)["reason"].to_pylist() == ["blank row"] * 900


def test_a_few_rejected_rows_are_reported_per_file(project: Any) -> None:
    project.set("ingest.max_rejected_share", 0.01)
    project.edit("Friday-WorkingHours-Morning", lambda cells: cells[3].pop())
    project.run("ingest")
    files = report()["files"]
    assert {name: file["rejected"] for name, file in files.items() if file["rejected"]} == {
        project.file("Friday-WorkingHours-Morning").name: 1
    }


def test_memory_is_bounded_by_the_blocks_not_by_the_files(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes of blocks that are read and not yet given up."""
    held = {"now": 0, "most": 0, "all": 0}

    class Counted(bytes):
        def __del__(self) -> None:
            held["now"] -= len(self)

    cut = sources.blocks

    def counting(source: sources.Source, _size: int = 0) -> Iterator[bytes]:
        for block in cut(source, 16_384):
            held["now"] += len(block)
            held["all"] += len(block)
            held["most"] = max(held["most"], held["now"])
            yield Counted(block)

    monkeypatch.setattr(sources, "blocks", counting)
    path = project.file("Monday")
    header, body = path.read_bytes().split(b"\n", 1)
    path.write_bytes(header + b"\n" + body * 30)
    project.run("ingest")
    assert held["all"] > 1_000_000
    assert held["most"] <= 6 * 16_384


@pytest.mark.real
@pytest.mark.parametrize(
    ("shape", "records", "attacks"),
    [
        (
            "cicids2017",
            70_569,
            {"benign": 53_830, "ftp_patator": 4_528, "ddos": 2_641, "bot": 1_214, "infiltration": 36},
        ),
        (
            "cicids2017_improved",
            26_756,
            {"benign": 3_749, "dos_hulk": 3_745, "infiltration_port_scan": 2_764, "heartbleed": 5},
        ),
        ("cicids2017_with_flow_ids", 2_400, {}),
    ],
)
def test_real_records(project: Any, shape: str, records: int, attacks: dict[str, int]) -> None:
    if not (REAL / shape).is_dir():
        pytest.skip(f"the real records are absent: {REAL / shape}")
    project.set("ingest.path", str(REAL / shape))
    project.run("ingest")
    source = read_json(paths.SOURCE)
    assert (source["records"], source["rejected"], source["blank"]) == (records, 0, 0)
    counted: dict[str, int] = {}
    for file in source["files"].values():
        for attack, count in file["attacks"].items():
            counted[attack] = counted.get(attack, 0) + count
    assert {name: counted[name] for name in attacks} == attacks


def test_a_list_of_paths_is_read_and_each_path_is_followed(project: Any) -> None:
    monday, friday = project.file("Monday"), project.file("Friday-WorkingHours-Morning")
    project.set("ingest.path", [str(monday), str(friday)])
    project.run("ingest")
    assert {*read_json(paths.SOURCE)["files"]} == {monday.name, friday.name}
    Path("dvc.yaml").write_text("deps:\n  - ${ingest.path[0]}\n")
    message = project.refusal("ingest", ConfigError)
    assert "names 2 paths, and dvc.yaml follows ${ingest.path[0]}" in message and "flows.runtime.follow" in message
    Path("dvc.yaml").write_text("deps:\n  - ${ingest.path[0]}\n  - ${ingest.path[1]}\n")
    project.run("ingest")

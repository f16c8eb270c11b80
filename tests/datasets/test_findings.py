"""The reading report says what was understood of a file, and what was not."""

import json

import pyarrow as pa
import pytest

from pipeline.datasets.base import MOST_REASONS, OTHER_REASONS, REJECTED_SCHEMA, Chunk, record_schema
from pipeline.datasets.cicids2017 import CICIDS2017
from pipeline.datasets.extractors import Extractor, extractor_of
from pipeline.datasets.findings import Findings
from pipeline.datasets.synthetic.files import write


@pytest.fixture
def spoilt(tmp_path):
    """A file with a blank row, a cell that is no number, a time that is none, a label that says nothing, and a note."""
    write(tmp_path / "made", 600, seed=1)
    head, *rows = next((tmp_path / "made").glob("Monday*")).read_text().splitlines()
    rows[1] = "," * head.count(",")
    rows[2] = "x" + rows[2]
    rows[3] = rows[3].rpartition(",")[0] + ",No Label"
    times = ["2023-07-03 10:00:00"] * len(rows)
    times[1], times[5] = "", "soon"
    path = tmp_path / "spoilt.csv"
    lines = [f"{time},{row},9" for time, row in zip(times, rows, strict=True)]
    lines[1] = "," * (head.count(",") + 2)
    path.write_text("\n".join([f"Timestamp,{head},note", *lines]) + "\n")
    return path, len(rows)


def found(path):
    findings = Findings()
    for chunk in CICIDS2017(path, ignore_columns=("note",)).read():
        findings.add(chunk)
    return findings


def test_each_file_is_described(spoilt):
    path, n = spoilt
    report = found(path).report()["spoilt.csv"]
    assert report["records"] == n - 2
    assert report["rows_without_record"] == {"blank row": 1}
    assert report["rows_not_read"] == {report["first_not_read"][0]["reason"]: 1}
    assert [row["row"] for row in report["first_not_read"]] == [3]
    assert report["columns_not_read"] == ["note"]
    assert report["extractor"]["tool"] == "cicflowmeter_2017"
    assert report["units"]["duration"] == "us"
    assert (report["times"]["not_read"], report["times"]["first_not_read"]) == (1, ["soon"])
    assert report["attacks"]["unlabelled"] == 1
    assert json.loads(json.dumps(report)) == report


def test_the_same_is_said_in_sentences(spoilt):
    text = found(spoilt[0]).text()
    for said in (
        "spoilt.csv\n  ",
        "1 row is passed over: blank row",
        "1 row is not read: ",
        "It has the names of CICFlowMeter of CIC-IDS-2017",
        "Durations are in microseconds",
        "Times that cannot be read: 1, such as 'soon'",
        "of 1 nothing is known",
        "Columns that are not read: 'note'.",
    ):
        assert said in text


def test_many_blank_rows_are_counted_and_no_example(tmp_path):
    write(tmp_path / "made", 600, seed=1)
    text = next((tmp_path / "made").glob("Monday*")).read_text()
    (tmp_path / "a.csv").write_text(text + ("," * 78 + "\n") * 200_000)
    report = found(tmp_path / "a.csv").report()["a.csv"]
    assert report["rows_without_record"] == {"blank row": 200_000}
    assert report["first_not_read"] == []


@pytest.mark.parametrize(
    ("header", "tool"),
    [
        ([" Total Fwd Packets", " Total Backward Packets", " Fwd Header Length.1"], "cicflowmeter_2017"),
        (["total fwd packets", "total backward packets"], "cicflowmeter_2017"),
        (["Total Fwd Packets", "Total Backward Packets", "SimillarHTTP", "Inbound"], "cicflowmeter_v3"),
        (["Tot Fwd Pkts", "Tot Bwd Pkts"], "cicflowmeter_v4"),
        (["Total Fwd Packet", "Total Bwd packets"], "cicflowmeter_v4"),
        (["Total Fwd Packet", "Total Bwd packets", "Fwd RST Flags"], "cicflowmeter_corrected"),
        (["src_ip", "tot_fwd_pkts", "flow_byts_s"], "cicflowmeter_python"),
        (["total_fwd_packets", "total_bwd_packets"], ""),
        (["a", "b"], ""),
    ],
)
def test_names_tell_which_tool_wrote_a_file(header, tool):
    assert extractor_of(header, pa.table({})) == Extractor(tool)


def test_a_tool_agrees_with_itself_and_with_what_is_not_known():
    published, corrected = Extractor("cicflowmeter_2017", "twice"), Extractor("cicflowmeter_corrected", "once")
    assert published.agrees(published)
    assert not published.agrees(corrected)
    assert not Extractor("", "once").agrees(published)
    assert Extractor("", "twice").agrees(published)
    assert Extractor("cicflowmeter_2017", "once").odd
    assert "but CICFlowMeter of CIC-IDS-2017 counts it twice" in Extractor("cicflowmeter_2017", "once").sentence()


def test_reasons_that_quote_cells_are_counted_in_bounds():
    findings = Findings()
    reasons = [f"'{place}x' is not a number" for place in range(5_000)]
    rows = [{"source_file": "t.csv", "row": place, "reason": reason} for place, reason in enumerate(reasons)]
    for part in (rows[:100], rows[100:]):
        findings.add(Chunk(record_schema(()).empty_table(), pa.Table.from_pylist(part, REJECTED_SCHEMA)))
    counts = findings.files["t.csv"].reasons
    assert counts.total() == 5_000 and len(counts) == MOST_REASONS + 1
    assert counts[OTHER_REASONS] == 5_000 - MOST_REASONS

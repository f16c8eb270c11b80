"""Lines of CSV -> records: every cell as it was written, every unreadable row kept with its reason."""

from dataclasses import replace
from datetime import datetime
from functools import partial

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.base.errors import DataError
from pipeline.datasets import blocks, rows
from pipeline.datasets.base import record_schema
from pipeline.datasets.blocks import Block
from pipeline.datasets.header import layout
from pipeline.datasets.labels import canonical
from pipeline.datasets.reading import Reading
from pipeline.datasets.rows import BLANK, parse
from pipeline.datasets.schema import FEATURE_NAMES, FEATURES
from pipeline.datasets.understand import meaning

HEADER = ",".join([column.headers[0].removesuffix(".1") for column in FEATURES] + ["Label"])
META = "Flow ID,Protocol,Timestamp," + HEADER


def line(label="BENIGN", **cells):
    return ",".join([*(str(cells.get(name, place)) for place, name in enumerate(FEATURE_NAMES)), label])


def read(*lines, header=HEADER, source="Monday-a.csv", first_row=1, **settings):
    content = "".join(f"{text}\n" for text in lines).encode("utf-8", "surrogateescape")
    return parse(Block(source, content, first_row), layout(source, header.encode()), **settings)


def reasons(chunk):
    return [(row["row"], row["column"], row["reason"]) for row in chunk.rejected.to_pylist()]


def test_a_row_becomes_a_record_of_the_canonical_schema():
    chunk = read(line("DoS Hulk", flow_duration=12))
    assert chunk.records.schema == record_schema(FEATURES)
    record = chunk.records.to_pylist()[0]
    assert record["flow_duration"] == 12.0
    assert record["idle_min"] == 77.0
    assert (record["attack"], record["family"], record["y"], record["row"]) == ("dos_hulk", "dos", 1, 1)
    assert (record["source_file"], record["day"], record["timestamp"]) == ("Monday-a.csv", "monday", None)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7.0),
        ("-1", -1.0),
        (" 7 ", 7.0),
        ("7.5", 7.5),
        ("1e3", 1000.0),
        ("-6442447920", -6442447920.0),
        ("Infinity", np.inf),
        ("-Infinity", -np.inf),
        ("inf", np.inf),
        ("NaN", np.nan),
        ("nan", np.nan),
        ("", np.nan),
        ('"7"', 7.0),
    ],
)
def test_a_cell_is_read_as_it_was_written(text, value):
    chunk = read(line(), line(flow_duration=text, flow_bytes_per_s=text))
    assert chunk.rejected.num_rows == 0
    for name in ("flow_duration", "flow_bytes_per_s"):
        np.testing.assert_equal(chunk.records[name][1].as_py(), value)


@given(st.lists(st.floats(width=64) | st.integers(-(2**53), 2**53).map(float), min_size=1, max_size=20))
def test_numbers_survive_exactly(values):
    chunk = read(*(line(flow_iat_mean=repr(value), flow_duration=repr(value)) for value in values))
    for name in ("flow_iat_mean", "flow_duration"):
        np.testing.assert_array_equal(chunk.records[name].to_numpy(), values)


@pytest.mark.parametrize("text", ["abc", "1_000", "True", "1;2", "\x00", "\udc96", "--1", '"'])
def test_a_cell_that_is_no_number_rejects_its_row_alone(text):
    chunk = read(line(), line(active_max=text), line("DDoS"))
    assert chunk.records["row"].to_pylist() == [1, 3]
    [(row, column, reason)] = reasons(chunk)
    assert (row, column) == (2, "Active Max")
    assert reason.endswith("is not a number")


def test_each_row_is_rejected_for_its_first_fault_with_its_text():
    broken = line(flow_duration="x", idle_min="y")
    chunk = read(line(), broken, "1,2,3", line() + ",4", line(), first_row=100)
    assert reasons(chunk) == [
        (101, "Flow Duration", "'x' is not a number"),
        (102, "", "3 fields where the header has 79"),
        (103, "", "80 fields where the header has 79"),
    ]
    assert chunk.rejected["text"].to_pylist() == [broken, "1,2,3", line() + ",4"]
    assert chunk.records["row"].to_pylist() == [100, 104]


def test_blank_rows_are_told_from_rows_without_a_label():
    chunk = read("," * 78, line(), "", ",,,", line(""))
    assert reasons(chunk) == [
        (1, "Label", BLANK),
        (3, "Label", BLANK),
        (4, "", BLANK),
    ]
    assert chunk.records["attack"].to_pylist() == ["benign", "unlabelled"]
    assert chunk.records["y"].to_pylist() == [0, None]


def test_many_blank_rows_are_no_burden():
    chunk = read(line(), *["," * 78] * 50_000)
    assert chunk.rejected.num_rows == 50_000


def test_a_stray_quote_swallows_nothing():
    chunk = read(line(), line('"BENIGN'), line(flow_duration='"5'), line())
    assert chunk.records["row"].to_pylist() == [1, 2, 3, 4]
    assert chunk.records["flow_duration"].to_pylist() == [1.0, 1.0, 5.0, 1.0]


def test_bytes_of_another_encoding_harm_no_row():
    chunk = read(line("Web Attack \udc96 XSS"), "\udc96,1", line("Web Attack \N{EN DASH} XSS"))
    assert chunk.records["attack"].to_pylist() == ["web_xss", "web_xss"]
    assert reasons(chunk) == [(2, "", "2 fields where the header has 79")]


def test_a_line_longer_than_a_cached_block_is_read(monkeypatch):
    monkeypatch.setattr(rows, "CACHED_BYTES", 1000)
    chunk = read(line(), "x" * 5000, *[line("DDoS")] * 20)
    assert chunk.records["row"].to_pylist() == [1, *range(3, 23)]
    assert reasons(chunk) == [(2, "", "1 fields where the header has 79")]


good = st.builds(line, st.sampled_from(["BENIGN", "DDoS", "Bot"]), flow_duration=st.integers(0, 9))
bad = st.sampled_from(["", ",,", "1,2", line("") + ",1", line(flow_duration="x"), line(idle_max="")])


@settings(max_examples=40, deadline=None)
@given(lines=st.lists(good | bad, min_size=1, max_size=25), cut=st.integers(0, 25), cached=st.integers(300, 5000))
def test_where_a_block_is_cut_does_not_matter(lines, cut, cached):
    whole = read(*lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "CACHED_BYTES", cached)
        parts = [read(*lines[:cut]), read(*lines[cut:], first_row=1 + len(lines[:cut]))]
    for kind in ("records", "rejected"):
        tables = [getattr(part, kind) for part in parts]
        assert repr(pa.concat_tables(tables).to_pylist()) == repr(getattr(whole, kind).to_pylist())  # NaN too


def test_ids_differ_by_position_content_file_and_label_and_by_nothing_else():
    one = read(line(), line(), line("DDoS")).records["record_id"].to_pylist()
    assert len(set(one)) == 3
    assert read(line(), line(), line("DDoS")).records["record_id"].to_pylist() == one
    assert read(line("benign")).records["record_id"].to_pylist() == one[:1]
    assert read(line(), source="b.csv").records["record_id"].to_pylist() != one[:1]
    assert read(line(), first_row=2).records["record_id"].to_pylist() == one[1:2]


def test_an_unknown_label_stops_with_its_place():
    with pytest.raises(
        DataError, match=r"Monday-a\.csv: row 42, column 'Label': unknown label 'Bott' \(did you mean 'Bot'"
    ):
        read(line(), line(), line("Bott"), first_row=40)
    assert read(line("Bott"), label=partial(canonical, unknown="keep")).records["family"].to_pylist() == ["bott"]


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2017-07-06 16:25:41.298564", datetime(2017, 7, 6, 16, 25, 41, 298564)),
        ("4/7/2017 8:54", datetime(2017, 7, 4, 8, 54)),
        ("04/07/2017 08:54:31", datetime(2017, 7, 4, 8, 54, 31)),
        ("7/7/2017 3:30", datetime(2017, 7, 7, 15, 30)),  # afternoon on a twelve-hour clock
        ('"7/7/2017 12:30"', datetime(2017, 7, 7, 12, 30)),
        ("yesterday", None),
        ("", None),
    ],
)
def test_timestamps(text, time):
    lines = f"a-b-1-2-6,6,{text},{line()}\n".encode()
    block, columns = Block("x.csv", lines, 1), layout("x.csv", META.encode())
    found = meaning("x.csv", columns, None, lambda: iter([pa.array([text])]), Reading())
    record = parse(block, replace(columns, meaning=found)).records.to_pylist()[0]
    assert record["timestamp"] == time
    assert record["day"] == (time and time.strftime("%A").lower())
    assert (record["flow_id"], record["protocol"]) == ("a-b-1-2-6", 6)


def test_attempted_comes_from_the_label_or_the_category():
    header = HEADER + ",Attempted Category"
    chunk = read(line("DDoS") + ",-1", line("DDoS") + ",2", line("DDoS - Attempted") + ",-1", header=header)
    assert chunk.records["attempted"].to_pylist() == [False, True, True]
    assert read(line("DDoS")).records["attempted"].to_pylist() == [None]


def test_a_copy_that_the_file_lacks_is_filled_in():
    names = HEADER.split(",")
    place = FEATURE_NAMES.index("fwd_header_length_repeated")
    cells = line().split(",")
    del names[place], cells[place]
    record = read(",".join(cells), header=",".join(names)).records.to_pylist()[0]
    assert record["fwd_header_length_repeated"] == record["fwd_header_length"]


def test_lines_of_nothing_are_rejected_as_blank_rows_whatever_else_the_file_holds():
    alone, among = read("", "", ""), read(line(), "", line())
    assert reasons(alone) == [(row, "Label", BLANK) for row in (1, 2, 3)]
    assert alone.records.equals(record_schema(FEATURES).empty_table())
    assert alone.rejected.schema.equals(among.rejected.schema)
    assert reasons(among) == [(2, "Label", BLANK)]


@pytest.mark.parametrize("most", [1, 2, 3, 7])
def test_a_block_has_no_more_lines_than_fit_into_memory(most, monkeypatch):
    monkeypatch.setattr(blocks, "MOST_LINES", most)
    for stream in ([b"a\nb\nc\n", b"d\n"], [b"a\n\n\n\n\nb"], [b"", b"\n"]):
        cut = list(blocks.numbered("s", iter(stream)))
        assert b"".join(block.lines for block in cut) == b"".join(stream)
        assert max(block.lines.count(b"\n") for block in cut) <= most
        firsts = [1 + b"".join(stream)[: sum(len(b.lines) for b in cut[:i])].count(b"\n") for i in range(len(cut))]
        assert [block.first_row for block in cut] == firsts

"""A header line -> which column is which, or a refusal that can be acted on."""

import gzip
from pathlib import Path

import pytest

from pipeline.base.errors import SchemaError
from pipeline.datasets.header import layout
from pipeline.datasets.schema import FEATURE_NAMES, FEATURES

REAL = Path(__file__).parents[3] / "shared" / "data"
ORIGINAL = [column.headers[0].removesuffix(".1") for column in FEATURES] + ["Label"]
WHO = {"flow_id", "src_ip", "src_port", "dst_ip", "protocol", "timestamp"}
IDS = ["Flow ID", "Source IP", "Source Port", "Destination IP", "Protocol", "Timestamp"]


def line(*names):
    return ",".join(names).encode()


def test_the_original_header_names_one_column_twice():
    read = layout("a.csv", line(*ORIGINAL))
    assert read.names == (*FEATURE_NAMES, "label")
    assert read.title("fwd_header_length_repeated") == "Fwd Header Length.1"
    assert not read.copied


def test_columns_may_stand_in_any_order_behind_ids():
    read = layout("a.csv", line(*IDS, *reversed(ORIGINAL)))
    ids = ("flow_id", "src_ip", "src_port", "dst_ip", "protocol", "timestamp")
    assert {*ids, "label", *FEATURE_NAMES} == set(read.used)
    assert read.names[:6] == ids
    assert len(set(read.reading_names)) == len(read.reading_names)


def test_the_corrected_header_lacks_the_copy_of_one_column():
    corrected = [column.headers[-1] for column in FEATURES if column.name != "fwd_header_length_repeated"]
    read = layout("a.csv", line("id", *corrected, "Label", "Attempted Category"))
    assert read.copied == {"fwd_header_length_repeated": "fwd_header_length"}
    assert "attempted_category" in read.names


@pytest.mark.parametrize(
    "change",
    [
        lambda header: b"\xef\xbb\xbf" + header,
        lambda header: header + b"\r",
        lambda header: header.replace(b",", b", "),
        lambda header: b",".join(b'"%s"' % name for name in header.split(b",")),
    ],
)
def test_marks_spaces_and_quotes_around_names_do_not_count(change):
    assert layout("a.csv", change(line(*ORIGINAL))).names == (*FEATURE_NAMES, "label")


def test_every_fault_is_named_with_its_near_miss_and_the_remedy():
    header = [name for name in ORIGINAL if name != "Idle Max"]
    header[1] = "Flow Durashun"
    header.insert(3, "Colour")
    with pytest.raises(SchemaError) as caught:
        layout("Monday.csv", line(*header))
    message = str(caught.value)
    assert message.startswith("Monday.csv: ")
    assert "column 'Flow Duration' is missing (did you mean 'Flow Durashun'?)" in message
    assert "column 'Idle Max' is missing;" in message
    assert "column 'Colour' (number 4) is unknown;" in message
    assert "ingest.cicids2017.ignore_columns" in message


def test_an_extra_column_may_be_ignored_by_name():
    assert layout("a.csv", line("Colour", *ORIGINAL), ignore=("Colour",)).names[0] == ""


def test_many_faults_are_summed_up():
    with pytest.raises(SchemaError, match=r" and 75 more; "):
        layout("a.csv", line("x"))


def test_two_columns_of_one_meaning_are_refused():
    with pytest.raises(SchemaError, match="two columns mean 'destination_port'"):
        layout("a.csv", line(*ORIGINAL, "Dst Port"))


@pytest.mark.real
@pytest.mark.parametrize(
    ("shape", "meta", "copied"),
    [
        ("cicids2017", {"label"}, False),
        ("cicids2017_with_flow_ids", {"label", *WHO}, False),
        ("cicids2017_improved", {"label", *WHO, "attempted_category"}, True),
    ],
)
def test_the_published_headers(shape, meta, copied):
    if not (REAL / shape).is_dir():
        pytest.skip(f"the real records are absent: {REAL / shape}")
    for file in (REAL / shape).iterdir():
        with gzip.open(file) as stream:
            read = layout(file.name, stream.readline())
        assert set(read.used) - set(FEATURE_NAMES) == meta
        assert bool(read.copied) == copied

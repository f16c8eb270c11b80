"""What is usual, and what a record has beside it, in words."""

import math

import numpy as np
import pytest

from pipeline.serving.quantities import Quantity
from pipeline.serving.usual import Usual, named, number, ranged, sentence

COUNT = Quantity("syn_flag_count", "number")


def test_98_of_100_values_lie_in_the_range_and_its_ends_are_values_that_occur() -> None:
    values = np.concatenate([np.arange(1000.0), [np.nan, np.inf]])
    usual = Usual.of(COUNT, values)
    assert (usual.low, usual.high) == (9.0, 989.0)
    assert usual.text == "98 of 100 benign records: 9 to 989"
    assert Usual.of(COUNT, np.zeros(50)).text == "98 of 100 benign records: 0"
    assert Usual.of(COUNT, np.full(5, np.nan)).text == "missing in all benign records"


def test_a_value_outside_the_range_stands_alone_and_one_inside_beside_similar_records() -> None:
    usual = Usual.of(COUNT, np.tile([0.0, 1.0, 2.0], 100))
    assert sentence(COUNT, usual, 43.0, 0.0) == "syn_flag_count 43; 98 of 100 benign records: 0 to 2"
    inside = "syn_flag_count 0, where similar benign records have 2; 98 of 100 benign records: 0 to 2"
    assert sentence(COUNT, usual, 0.0, 2.0) == inside
    assert "similar" not in sentence(COUNT, usual, 1.0, 1.0)
    assert sentence(COUNT, usual, math.nan, 1.0).startswith("syn_flag_count is missing; ")
    assert sentence(COUNT, usual, math.inf, 1.0).startswith("syn_flag_count is infinite; ")


def test_a_name_is_told_by_how_many_have_it_and_what_most_have() -> None:
    port = Quantity("destination_port", "name")
    usual = Usual.of(port, np.repeat([53.0, 443.0, 80.0, 22.0], [50, 30, 15, 5]))
    assert (usual.low, usual.high) == (None, None)
    common = "benign records: mostly 53 (50 %), 443 (30 %), 80 (15 %)"
    assert sentence(port, usual, 22.0, 53.0) == f"destination_port 22, which 5 % of benign records have; {common}"
    none = f"destination_port 4444, which none of 100 benign records has; {common}"
    assert sentence(port, usual, 4444.0, 53.0) == none
    words = Usual.of(Quantity("state", "name"), np.array(["SF", "SF", "S0", ""], dtype=object))
    assert words.share["SF"] == 0.5 and words.text == "benign records: mostly SF (50 %), (none) (25 %), S0 (25 %)"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "us", "0"),
        (412, "us", "412 us"),
        (4_120, "us", "4.12 ms"),
        (119_999_998, "us", "120 s"),
        (-1, "us", "-1 us"),
        (1_460, "B", "1,460 B"),
        (0.25, "", "0.25"),
        (1234.5678, "1/s", "1,235/s"),
        (14_934.2, "1/s", "14,934/s"),
        (857_142.9, "B/s", "857,143 B/s"),
        (-1, "B", "-1 (none)"),
        (1e30, "", "1e+30"),
    ],
)
def test_numbers_are_told_in_units_that_people_read(value: float, unit: str, text: str) -> None:
    assert number(value, unit) == text


def test_a_range_of_one_number_is_that_number() -> None:
    assert ranged(2, 2, "B") == "2 B" and ranged(0, 2) == "0 to 2"
    assert (named(""), named(80.0), named(math.nan)) == ("(none)", "80", "(none)")


def test_what_a_reason_is_about_is_one_of_a_few_words() -> None:
    themes = {
        "destination_port": "port",
        "syn_flag_count_per_packet": "flags",
        "flow_bytes_per_s": "rate",
        "fwd_iat_min": "timing",
        "fwd_segment_size_min": "size",
        "total_fwd_packets": "packets",
        "temperature": "temperature",
    }
    assert {name: Quantity(name, "number").theme for name in themes} == themes


def test_a_port_that_is_missing_is_as_common_as_the_benign_records_without_one() -> None:
    port = Quantity("destination_port", "name")
    usual = Usual.of(port, np.repeat([53.0, np.nan, 443.0], [50, 30, 20]))
    assert sentence(port, usual, float("nan"), 53.0).startswith("destination_port (none), which 30 % of benign records")


@pytest.mark.parametrize("unit", ["", "B", "us"])
@pytest.mark.parametrize("similar", [math.nan, math.inf])
def test_similar_records_without_a_number_are_not_told(unit: str, similar: float) -> None:
    quantity = Quantity("flow_iat_min", "number", unit)
    usual = Usual.of(quantity, np.arange(100.0))
    assert "similar" not in sentence(quantity, usual, 5.0, similar)


def test_a_ratio_is_named_as_it_is_computed() -> None:
    given = {"fwd_header_length": 40.0, "total_fwd_packets": 1.0, "total_bwd_packets": 1.0, "syn_flag_count": 1.0}
    columns = {name: np.array([value]) for name, value in given.items()}
    ratio = Quantity("fwd_header_length_over_total_fwd_packets", "ratio")
    assert (ratio.shown, *ratio.values(columns).round(9)) == ("(fwd_header_length + 1) / (total_fwd_packets + 1)", 20.5)
    flags = Quantity("syn_flag_count_per_packet", "number")
    assert flags.shown == "syn_flag_count / (packets + 1)"
    assert flags.values(columns) == pytest.approx(1 / 3)
    assert Quantity("bytes_per_packet", "number").shown == "bytes_per_packet"

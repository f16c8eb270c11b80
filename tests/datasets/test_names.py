"""A column of a frame is known by any name that a published file or a table gives it."""

import pytest

from pipeline.base.errors import SchemaError
from pipeline.datasets.names import canonical_names
from pipeline.datasets.schema import FEATURES


@pytest.mark.parametrize("column", FEATURES, ids=lambda column: column.name)
def test_every_published_header_is_known_whatever_spaces_stand_around(column):
    for header in (column.name, *column.headers):
        for given in (header, f" {header}", f"{header} "):
            assert canonical_names([given], [column.name]) == {column.name: given}


def test_columns_of_a_table_are_known_in_snake_case_and_beside_reserved_names():
    wanted = ["mean_load", "protocol_column"]
    assert canonical_names(["Mean-Load", "Protocol", 7], wanted) == dict(
        zip(wanted, ["Mean-Load", "Protocol"], strict=True)
    )


def test_columns_that_are_not_wanted_are_left_out():
    assert canonical_names(["Label", " Flow Duration"], ["flow_duration"]) == {"flow_duration": " Flow Duration"}


def test_a_column_that_is_written_once_stands_for_its_twin():
    wanted = ["fwd_header_length", "fwd_header_length_repeated"]
    assert canonical_names([" Fwd Header Length"], wanted) == dict.fromkeys(wanted, " Fwd Header Length")


def test_two_columns_of_one_meaning_are_refused():
    with pytest.raises(SchemaError, match="'Flow Duration' and 'flow_duration' both mean 'flow_duration'"):
        canonical_names(["Flow Duration", "flow_duration"], ["flow_duration"])

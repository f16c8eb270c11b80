"""Thousands and decimals: the whole file tells them apart, and what nothing tells is said or refused, never guessed."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.datasets.dialect import head_of
from pipeline.datasets.marks import Evidence, Marks, cells_with_signs
from pipeline.datasets.table import Table


def read(path):
    chunks = list(Table(path).read())
    tables = (pa.concat_tables([getattr(chunk, kind) for chunk in chunks]) for kind in ("records", "rejected"))
    return *tables, chunks[0].notes


def written(path, rows, separator=","):
    def cell(text):
        return f'"{text}"' if separator in text else text

    lines = [separator.join(map(cell, row)) for row in [("size", "rate", "label"), *rows]]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("separator", "cells", "marks"),
    [
        (",", ["1,234", "0.5"], Marks(".", ",")),
        (",", ["1,234,567"], Marks(".", ",")),
        (",", ["1,234.5"], Marks(".", ",")),
        (",", ["1,234"], Marks(".", ",", False)),
        (";", ["1,234"], Marks(",", "", False)),
        (";", ["1,234", "0,5"], Marks(",", "")),
        (";", ["0,234"], Marks(",", "")),
        (";", ["1234,567"], Marks(",", "")),
        (";", ["1.234,5"], Marks(",", ".")),
        (";", ["1.234.567", "12,5"], Marks(",", ".")),
        (";", ["1.234", "12,5"], Marks(",", "")),
        (";", ["192.168.100.200"], Marks()),
        (",", ["1.234", "0.5", "word", "", "1.2.3"], Marks()),
    ],
)
def test_cells_show_the_signs(separator, cells, marks):
    evidence = Evidence(separator)
    evidence.add(cells)
    assert evidence.marks() == marks


def test_thousands_in_quotes_are_no_decimals(tmp_path):
    rows = [("1,234", "0.5", "0"), ("999", "12.25", "1"), ("1,234,567", "3", "0")]
    records, rejected, notes = read(written(tmp_path / "t.csv", rows))
    assert rejected.num_rows == 0
    assert records["size"].to_pylist() == [1234, 999, 1234567]
    assert records["rate"].to_pylist() == [0.5, 12.25, 3]
    assert "with commas between thousands" in notes.dialect


def test_points_between_thousands_are_known_where_commas_are_decimal(tmp_path):
    rows = [("1.234", "0,5", "0"), ("999", "1.234,25", "1"), ("1.234.567", "3", "0")]
    records, rejected, notes = read(written(tmp_path / "t.csv", rows, ";"))
    assert rejected.num_rows == 0
    assert records["size"].to_pylist() == [1234, 999, 1234567]
    assert records["rate"].to_pylist() == [0.5, 1234.25, 3]
    assert "with decimal commas, with points between thousands" in notes.dialect


def test_the_whole_file_decides_and_not_its_first_rows(tmp_path):
    rows = [("1,234", "7", "0")] * 200 + [("1,5", "7", "1")]
    records, _, notes = read(written(tmp_path / "t.csv", rows))
    assert records["size"].to_numpy()[0] == pytest.approx(1.234) and records["size"].to_numpy()[-1] == 1.5
    assert "no cell shows" not in notes.dialect
    records, _, notes = read(written(tmp_path / "u.csv", [*rows[:-1], ("12,345,678", "7", "1")]))
    assert records["size"].to_numpy()[[0, -1]].tolist() == [1234, 12345678]


@pytest.mark.parametrize(("separator", "value"), [(",", 1234.0), (";", 1.234)])
def test_where_no_cell_shows_it_that_is_said(tmp_path, separator, value):
    records, _, notes = read(written(tmp_path / "t.csv", [("1,234", "7", "0"), ("2,345", "8", "1")], separator))
    assert records["size"].to_pylist()[0] == value
    assert "(no cell shows which)" in notes.dialect


def test_a_point_that_may_be_either_is_refused_beside_decimal_commas(tmp_path):
    rows = [("1", "0,5", "0"), ("1.234", "1,5", "1"), ("2.5", "1,25", "0")]
    records, rejected, _ = read(written(tmp_path / "t.csv", rows, ";"))
    assert records["size"].to_pylist() == [1, 2.5]
    assert rejected["reason"].to_pylist() == ["'1.234' may have thousands or decimals behind its point"]


def test_numbers_are_found_in_a_text():
    assert [*cells_with_signs(b'a;1,5;x\n"2,25";3;4.5\r\n', ";")] == ["1,5", "2,25", "4.5"]
    assert [text for text in cells_with_signs(b'1,2,"3,456",7\n', ",") if text != ","] == ["3,456"]


def test_plain_files_are_read_as_ever(tmp_path):
    assert head_of(b"a,b\n1.5,2\n").dialect.is_shown
    records, _, _ = read(written(tmp_path / "t.csv", [("1.234", "1e3", "0"), ("5", "-2.5", "1")]))
    np.testing.assert_array_equal(records["size"].to_numpy(), [1.234, 5])

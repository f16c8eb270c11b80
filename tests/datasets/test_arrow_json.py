"""Lines of JSON that would end Arrow's reader, and with it the process, are read one by one."""

import pyarrow as pa
import pytest

from pipeline.datasets import json_lines
from pipeline.datasets.arrow_json import MOST, can_take, is_deep
from pipeline.datasets.table import Table

GOOD = b'{"a": 1, "b": {"c": [null, null]}}\n{"a": null}\n'


@pytest.mark.parametrize("lines", [GOOD, b"\n " + GOOD, GOOD.replace(b"\n", b"\r\n"), b'{"a": "null"}\n' * 99])
def test_lines_of_records_can_be_taken(lines):
    assert can_take(lines)


@pytest.mark.parametrize(
    "lines",
    [
        *(
            b"null\n" + GOOD,
            b" null\n" + GOOD,
            GOOD + b"null\n",
            GOOD + b" \t null\n",
            b'{"a": 1} null\n',
            b"null",
            b"",
        ),
        *(b"[" * (MOST + 1), b'{"a":' * (MOST + 1), b"{}\n" + b'{"a":[' * MOST),
    ],
)
def test_lines_that_end_the_reader_cannot(lines):
    assert not can_take(lines)


def test_a_value_is_one_line_and_has_few_levels():
    assert not is_deep(b'{"a": {"b": 1}}\n' * 500)
    assert not is_deep(b"[" * MOST + b"]" * MOST + b"\n")
    assert is_deep(b'{"a":\n1}\n')  # Arrow reads on in the next line
    assert is_deep(b'{"a":' + b"[\n" * 60_000 + b"]" * 60_000 + b"}\n")


def test_a_bare_null_is_no_record(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"a": 1, "label": "benign"}\nnull\n{"a": 3, "label": "benign"}\n')
    chunks = list(Table(path).read())
    assert pa.concat_tables(chunk.records for chunk in chunks).column("row").to_pylist() == [1, 3]
    (rejected,) = pa.concat_tables(chunk.rejected for chunk in chunks).to_pylist()
    assert (rejected["row"], rejected["reason"]) == (2, "is no JSON object")
    assert json_lines._fast(b"null\n") is None

"""Any table with a label: CSV, Parquet and arrays give the same records, and each fault is told with its remedy."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.base.errors import DataError, FlowsculptError, SchemaError, SourceError
from pipeline.datasets import arrow
from pipeline.datasets.base import record_schema
from pipeline.datasets.schema import Column
from pipeline.datasets.table import Table

REAL = Path(__file__).parents[3] / "shared" / "data" / "adbench"
HEADER = "Bytes In,service,row,label\n"
ROWS = "1,http,7,0\n2.5,dns,8,1\n,http,9,DoS Hulk\n4,,10,normal\n"


def read(path, **given):
    chunks = list(Table(path, **given).read())
    return tuple(pa.concat_tables([getattr(chunk, kind) for chunk in chunks]) for kind in ("records", "rejected"))


def written(path, content=HEADER + ROWS):
    path.write_text(content)
    return path


def reasons(rejected):
    return [(row["row"], row["column"], row["reason"]) for row in rejected.to_pylist()]


def test_a_csv_becomes_records(tmp_path):
    path = written(tmp_path / "mine.csv")
    records, rejected = read(path, categorical=("service",))
    assert rejected.num_rows == 0
    assert [column.name for column in Table(path, categorical=("service",)).columns] == [
        "bytes_in",
        "service",
        "row_column",  # every record has a row of its own
    ]
    assert records["attack"].to_pylist() == ["benign", "attack", "dos_hulk", "benign"]
    assert records["family"].to_pylist() == ["benign", "attack", "dos", "benign"]
    assert records["y"].to_pylist() == [0, 1, 1, 0]
    np.testing.assert_array_equal(records["bytes_in"].to_numpy(), [1, 2.5, np.nan, 4])
    assert records["service"].to_pylist() == ["http", "dns", "http", ""]
    assert records["row_column"].to_pylist() == [7, 8, 9, 10]
    assert records["row"].to_pylist() == [1, 2, 3, 4]


def frame():
    return pd.DataFrame(
        {
            "a": [1.0, 2.5, np.nan],
            "n": [1, 2, 3],
            "word": ["u", "v", None],
            "ok": [True, False, True],
            "label": [0, 1, 0],
        }
    )


def test_csv_parquet_and_arrays_tell_the_same(tmp_path):
    frame().to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress((tmp_path / "t.csv").read_bytes()))
    frame().to_parquet(tmp_path / "t.parquet")
    frame().astype({"word": "category"}).set_index("n", drop=False).to_parquet(tmp_path / "index.parquet")
    parts = {path.name: read(path, categorical=("word", "ok"))[0] for path in sorted(tmp_path.iterdir())}
    assert repr(parts["t.csv"].to_pylist()) == repr(parts["t.csv.gz"].to_pylist())  # NaN too
    for name, records in parts.items():
        np.testing.assert_array_equal(records["a"].to_numpy(), [1, 2.5, np.nan], name)
        assert records["word"].to_pylist() == ["u", "v", ""], name
        assert [word.lower() for word in records["ok"].to_pylist()] == ["true", "false", "true"], name
        assert records["y"].to_pylist() == [0, 1, 0], name
    np.savez(tmp_path / "t.npz", X=frame()[["a", "n"]].to_numpy(), y=frame()["label"].to_numpy(float))
    arrays = read(tmp_path / "t.npz", categorical=("x1",))[0]
    np.testing.assert_array_equal(arrays["x0"].to_numpy(), [1, 2.5, np.nan])
    assert arrays["x1"].to_pylist() == ["1", "2", "3"]
    assert arrays["attack"].to_pylist() == ["benign", "attack", "benign"]


@settings(max_examples=15, deadline=None)
@given(values=st.lists(st.floats(width=64), min_size=2, max_size=12), rows=st.integers(1, 5))
def test_numbers_survive_exactly_however_the_rows_are_cut(tmp_path_factory, values, rows):
    folder = tmp_path_factory.mktemp("numbers")
    labels = [place % 2 for place in range(len(values) + 1)]
    x = np.array([[value, 1.0] for value in [*values, 7.0]])
    np.savez(folder / "t.npz", X=x, y=labels)
    pq.write_table(pa.table({"x0": x[:, 0], "x1": x[:, 1], "label": labels}), folder / "t.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrow, "ROWS", rows)
        parts = [read(path)[0] for path in sorted(folder.iterdir())]
    for records in parts:
        np.testing.assert_array_equal(records["x0"].to_numpy(), x[:, 0])
        assert records["row"].to_pylist() == list(range(1, len(x) + 1))
        assert len(records["record_id"].unique()) == len(x)


@pytest.mark.parametrize(
    ("benign", "y"),
    [
        (("0", "normal"), [0, 1, 1, 0]),
        ((0, "NORMAL "), [0, 1, 1, 0]),
        (("1",), [1, 0, 1, 1]),
        (("dos hulk",), [1, 1, 0, 1]),
    ],
)
def test_what_is_benign_is_a_setting(tmp_path, benign, y):
    path = written(tmp_path / "t.csv")
    assert read(path, benign=benign, ignore_columns=("service",))[0]["y"].to_pylist() == y


@pytest.mark.parametrize(
    ("text", "attack"), [("1", "attack"), ("1.0", "attack"), ("True", "attack"), ("-1", "attack_1"), ("2", "attack_2")]
)
def test_a_number_as_a_label_becomes_a_name(tmp_path, text, attack):
    path = written(tmp_path / "t.csv", f"a,label\n1,0.0\n2,{text}\n")
    assert read(path)[0]["attack"].to_pylist() == ["benign", attack]


def test_a_cell_in_quotes_may_hold_a_comma(tmp_path):
    path = written(tmp_path / "t.csv", 'a,"the word",label\n"1","x, y",0\n2,z,"1"\n')
    records, rejected = read(path, categorical=("the word",))
    assert rejected.num_rows == 0
    assert records["the_word"].to_pylist() == ["x, y", "z"]
    assert records["y"].to_pylist() == [0, 1]


def test_text_in_a_column_of_numbers_rejects_its_row_alone(tmp_path):
    csv = written(tmp_path / "t.csv", "a,b,label\n1,NA,0\nmany,2,1\n3,8,1\n4,5,\n")
    records, rejected = read(csv)
    assert records["row"].to_pylist() == [1, 3, 4]
    assert records["attack"].to_pylist() == ["benign", "attack", "unlabelled"]
    assert reasons(rejected) == [(2, "a", "'many' is not a number")]
    parquet = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": ["1", "many", "3"], "label": ["0", "1", "1"]}), parquet)
    records, rejected = read(parquet)
    assert records["a"].to_pylist() == [1.0, 3.0]
    assert reasons(rejected) == [(2, "a", "'many' is not a number")]


def test_files_of_one_table_may_order_their_columns_as_they_like(tmp_path):
    written(tmp_path / "a.csv", "a,b,label\n1,2,0\n")
    written(tmp_path / "b.csv", "label,b,a\n1,4,3\n")
    records, _ = read(tmp_path)
    assert (records["a"].to_pylist(), records["b"].to_pylist()) == ([1.0, 3.0], [2.0, 4.0])
    written(tmp_path / "c.csv", "label,a,c\n1,4,3\n")
    with pytest.raises(SchemaError, match=r"c\.csv: lacks a\.csv: column 'b'; give all files"):
        read(tmp_path)


FAULTS = {
    "no label": (
        "a,lable\n1,0\n",
        SchemaError,
        r"no column 'label' \(did you mean 'lable'\?\); it has 2 columns: a, l",
    ),
    "text": (
        "a,b,label\n1,x,0\n2,y,1\n",
        SchemaError,
        r"column 'b' holds text, such as 'x'; name it in ingest\.table\.c",
    ),
    "one name": ("a b,a_b,label\n1,2,0\n", SchemaError, "two columns mean 'a_b'; rename"),
    "label alone": ("label\n1\n", SchemaError, "no column beside the label 'label'; features are needed"),
    "all missing": (
        "a,b,label\n1,,0\n2,NA,1\n",
        SchemaError,
        r"none of 2 records has a value in 'b'; .*ignore_col",
    ),
    "attacks only": ("a,label\n1,3\n2,x\n", DataError, r"is an attack by its column 'label' \(attack_3, x\); set inge"),
    "a nameless label": (
        "a,label\n1,0\n2,(benign)\n",
        DataError,
        r"row 2, column 'label': '\(benign\)' names no attack .*table\.ben",
    ),
    "empty": ("", SourceError, "is empty; a header line and records"),
    "header only": ("a,label\n", SourceError, "has a header and no records"),
}


@pytest.mark.parametrize(("content", "error", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_told_with_its_remedy(tmp_path, content, error, message):
    with pytest.raises(error, match=message) as caught:
        read(written(tmp_path / "t.csv", content))
    assert caught.type is error


@pytest.mark.parametrize("setting", ["categorical", "ignore_columns"])
def test_a_misspelt_column_in_a_setting_is_refused(tmp_path, setting):
    with pytest.raises(
        SchemaError, match=rf"no column 'servce' \(did you mean 'service'\?\).*ingest\.table\.{setting}"
    ):
        read(written(tmp_path / "t.csv"), **{setting: ("servce",)})


X, Y = np.zeros((3, 2)), np.array([0, 1, 1])
ARRAYS = {
    "objects": (
        {"X": np.array([[1, None]] * 3, dtype=object), "y": Y},
        SourceError,
        "'X' cannot be read .*only pickle",
    ),
    "text": ({"X": X.astype(str), "y": Y}, SchemaError, "X must be numbers"),
    "no y": ({"X": X, "Y": Y}, SchemaError, r"no array 'y'.*it holds X, Y; save one with np\.savez"),
    "lengths": ({"X": X, "y": Y[:2]}, SchemaError, r"given X float64 \(3, 2\) and y int64 \(2,\)"),
    "flat": ({"X": X[:, 0], "y": Y}, SchemaError, "X must be numbers"),
    "no rows": ({"X": X[:0], "y": Y[:0]}, SourceError, "has no records"),
    "undefined": ({"X": X * np.nan, "y": Y}, SchemaError, "none of 3 records has a value in 'x0', 'x1'"),
}


@pytest.mark.parametrize(("arrays", "error", "message"), ARRAYS.values(), ids=ARRAYS.keys())
def test_arrays_that_are_no_table_are_refused(tmp_path, arrays, error, message):
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(error, match=message):
        read(tmp_path / "t.npz")


def test_arrays_in_an_unknown_compression_are_refused(tmp_path):
    np.savez(tmp_path / "t.npz", X=X, y=Y)
    content = bytearray((tmp_path / "t.npz").read_bytes())
    content[content.index(b"PK\x01\x02") + 10] = 99  # the method, in the list of members
    (tmp_path / "t.npz").write_bytes(content)
    with pytest.raises(SourceError, match=r"'X' cannot be read .*compression method is not supported"):
        read(tmp_path / "t.npz")


@pytest.mark.parametrize("name", ["t.npz", "t.parquet"])
@pytest.mark.parametrize("content", [b"", b"no such file", b"PK\x03\x04 cut", b"PAR1PAR1"])
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match="cannot be read"):
        read(tmp_path / name)


def test_a_column_of_another_kind_is_refused(tmp_path):
    times = pa.array([0, 1], pa.timestamp("us"))
    pq.write_table(pa.table({"at": times, "a": [1, 2], "label": [0, 1]}), tmp_path / "t.parquet")
    with pytest.raises(SchemaError, match=r"column 'at' holds timestamp\[us\], no numbers; name it"):
        read(tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet", ignore_columns=("at",))[0].num_rows == 2


def test_nothing_is_read_before_it_is_asked_for(tmp_path):
    dataset = Table(tmp_path / "absent.csv")
    with pytest.raises(FlowsculptError, match="no such file or folder"):
        _ = dataset.columns


def test_columns_have_the_promised_schema(tmp_path):
    path = written(tmp_path / "t.csv")
    dataset = Table(path, categorical=("service",))
    assert all(isinstance(column, Column) for column in dataset.columns)
    assert next(iter(dataset.read())).records.schema == record_schema(dataset.columns)
    assert dataset.title == "t"


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "rows", "attacks"), [("14_glass", 214, 9), ("42_WBC", 223, 10), ("23_mammography", 11_183, 260)]
)
def test_published_tables(name, rows, attacks):
    if not REAL.is_dir():
        pytest.skip(f"the real records are absent: {REAL}")
    records, rejected = read(REAL / f"{name}.npz")
    assert (records.num_rows, rejected.num_rows) == (rows, 0)
    assert sum(records["y"].to_pylist()) == attacks
    with np.load(REAL / f"{name}.npz", allow_pickle=False) as archive:
        np.testing.assert_array_equal(records["x0"].to_numpy(), archive["X"][:, 0])

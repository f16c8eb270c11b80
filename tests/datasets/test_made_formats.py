"""Files of the kinds that people have, made here from simulated flows: each gives the records of the plain file."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline.base.errors import SchemaError
from pipeline.datasets.cicids2017 import CICIDS2017
from pipeline.datasets.families import known
from pipeline.datasets.incoming import incoming
from pipeline.datasets.rows import BLANK, REPEATED
from pipeline.datasets.schema import FEATURE_NAMES, FEATURES, Column
from pipeline.datasets.synthetic.files import write
from pipeline.datasets.table import Table

METERS = [family for family in known.families() if family.name not in ("tables", known.OWN)]
TWIN = "fwd_header_length_repeated"


@pytest.fixture(scope="module")
def week(tmp_path_factory):
    """A published file: its path, and its rows under canonical names, as texts."""
    folder = tmp_path_factory.mktemp("week")
    write(folder, 600, seed=4)
    path = next(folder.glob("Wednesday*"))
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame.columns = [*FEATURE_NAMES, "label"]
    return path, frame


@pytest.fixture(scope="module")
def plain(week):
    return records(CICIDS2017(week[0]))[0]


def records(dataset):
    chunks = list(dataset.read())
    tables = (pa.concat_tables([getattr(chunk, kind) for chunk in chunks]) for kind in ("records", "rejected"))
    return tuple(table.unify_dictionaries() for table in tables)


def same(found, plain, names=FEATURE_NAMES):
    assert found.num_rows == plain.num_rows
    assert found["attack"].to_pylist() == plain["attack"].to_pylist()
    for name in names:
        np.testing.assert_array_equal(found[name].to_numpy(), plain[name].to_numpy(), err_msg=name)


def headers(family):
    """Canonical column -> the first header that a family has for it."""
    return {name: header for header, name in reversed(family.headers.items())}


def text(frame, separator=",", titles=None):
    names = [column.headers[0] for column in FEATURES] + ["Label"] if titles is None else titles
    return "\n".join(separator.join(row) for row in [names, *frame.to_numpy().tolist()]) + "\n"


@pytest.mark.parametrize("family", METERS, ids=lambda family: family.name)
def test_the_names_of_each_family_mean_the_same_columns(week, plain, tmp_path, family):
    _, frame = week
    titles = headers(family)
    has = [name for name in frame.columns if name in titles and name not in family.may_lack]
    (tmp_path / "t.csv").write_text(text(frame[has], titles=[titles[name] for name in has]))
    dataset = incoming(tmp_path / "t.csv", "cicids2017", tuple(each for each in FEATURES if each.name in has))
    found, rejected = records(dataset)
    assert rejected.num_rows == 0
    same(found.drop_columns("attack").append_column("attack", plain["attack"]), plain, [n for n in has if n != "label"])


DIALECTS = {
    "semicolons": lambda frame: text(frame, ";").encode(),
    "utf-16": lambda frame: text(frame).encode("utf-16"),
    "sep line": lambda frame: ("sep=;\n" + text(frame, ";")).encode(),
    "all quoted": lambda frame: text('"' + frame + '"').encode(),
    "trailing comma in rows": lambda frame: text(frame.assign(more="")).encode(),
    "lower case": lambda frame: text(frame, titles=[name.replace("_", " ") for name in frame.columns]).encode(),
    "row numbers": lambda frame: text(
        frame.assign(**{"": [*map(str, range(len(frame)))]})[["", *frame.columns]],
        titles=["Unnamed: 0", *(column.headers[0] for column in FEATURES), "Label"],
    ).encode(),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_dialect_changes_no_record(week, plain, tmp_path, dialect):
    (tmp_path / "t.csv").write_bytes(DIALECTS[dialect](week[1]))
    found, rejected = records(CICIDS2017(tmp_path / "t.csv"))
    assert rejected.num_rows == 0
    same(found, plain)


def test_headers_inside_and_blank_rows_are_passed_over_and_counted(week, plain, tmp_path):
    head, *rows = text(week[1]).splitlines()
    blank = "," * head.count(",")
    (tmp_path / "t.csv").write_text("\n".join([head, *rows[:50], head, blank, *rows[50:], head]) + "\n")
    found, rejected = records(CICIDS2017(tmp_path / "t.csv"))
    assert sorted(rejected["reason"].to_pylist()) == sorted([REPEATED, BLANK, REPEATED])
    same(found, plain)


@pytest.mark.parametrize("spelt", ["#DIV/0!", "NULL", "1.#IND", "NA", "n/a", "-", "?"])
def test_errors_of_spreadsheets_are_missing_values(week, plain, tmp_path, spelt):
    frame = week[1].copy()
    frame.loc[frame.index[0], "flow_bytes_per_s"] = spelt
    (tmp_path / "t.csv").write_text(text(frame))
    found, rejected = records(CICIDS2017(tmp_path / "t.csv"))
    assert rejected.num_rows == 0 and np.isnan(found["flow_bytes_per_s"][0].as_py())
    same(found, plain, [name for name in FEATURE_NAMES if name != "flow_bytes_per_s"])


def test_a_typed_copy_has_the_same_records_and_may_lack_what_its_family_lacks(week, plain, tmp_path):
    path, _ = week
    typed = pd.read_csv(path).rename(columns=str.strip)
    typed.to_parquet(tmp_path / "t.parquet")
    same(records(CICIDS2017(tmp_path / "t.parquet"))[0], plain)
    copies = next(family for family in METERS if family.name == "parquet_copies")
    titles = headers(copies)
    kept = {
        column.headers[0].strip(): titles[column.name]
        for column in FEATURES
        if column.name not in (*copies.may_lack, TWIN)
    }
    (tmp_path / "copy").mkdir()
    typed[[*kept, "Label"]].rename(columns=kept).to_parquet(tmp_path / "copy" / "t.parquet")
    found = records(CICIDS2017(tmp_path / "copy"))[0]
    same(found, plain, [name for name in FEATURE_NAMES if name in found.column_names])
    with pytest.raises(SchemaError, match=r"is missing.*set ingest\.cicids2017\.columns to present"):
        records(CICIDS2017(tmp_path / "copy", columns="all"))


def test_all_columns_of_text_are_named_at_once(tmp_path):
    frame = pd.DataFrame({"dur": [0.1, 0.2], "proto": ["tcp", "udp"], "state": ["CON", "FIN"], "label": [0, 1]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(SchemaError, match=r"'proto' holds text.*'state' holds text.*name these 2 columns in"):
        records(Table(tmp_path / "t.csv"))


def test_row_numbers_of_pandas_are_no_feature(tmp_path):
    pd.DataFrame({"a": [0.5, 1.5], "Level 1": [3, 4], "label": [0, 1]}).to_csv(tmp_path / "t.csv")
    assert [column.name for column in Table(tmp_path / "t.csv").columns] == ["a", "level_1"]


def test_the_same_words_in_another_type_are_the_same(tmp_path):
    frame = pd.DataFrame({"size": [1.5, 2.0, 3.0], "proto": [6, 17, 6]})
    frame.to_parquet(tmp_path / "whole.parquet")
    frame.astype({"proto": float}).to_csv(tmp_path / "floats.csv", index=False)
    frame.astype({"proto": str}).to_json(tmp_path / "words.jsonl", orient="records", lines=True)
    needed = (Column("size"), Column("proto", categorical=True))
    for name in ("whole.parquet", "floats.csv", "words.jsonl"):
        assert records(incoming(tmp_path / name, "table", needed))[0]["proto"].to_pylist() == ["6", "17", "6"]

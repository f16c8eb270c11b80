"""A word is one word, whatever tool wrote it and whatever type its file gives it."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline.datasets import nulls
from pipeline.datasets.incoming import incoming
from pipeline.datasets.schema import Column
from pipeline.datasets.table import Table
from pipeline.datasets.words import Vocabulary, respelt, word
from pipeline.preprocessing.categorical import Categorical


@pytest.mark.parametrize(
    ("texts", "spelt"),
    [
        (("6", "6.0", "6.00", " 6 ", "6.", "6,0"), "6"),
        (("-6", "-6.0"), "-6"),
        (("0.5", "0.50", "0,50"), "0.5"),
        (("true", "True", "TRUE", " true"), "true"),
        (("1e15", "1E+15", "1e+15", "1000000000000000.0", "1000000000000000"), "1000000000000000"),
        (("-0", "-0.0", "0.0", "0"), "0"),
        (("1.5", "1,5", "1.50", "15e-1"), "1.5"),
        (("1e+300", "1E300"), "1e+300"),
        (("", "NA", "null", "NULL", "?", "nan", "NaN", "<NA>", "#N/A", " n/a "), ""),
        (("FALSE",), "false"),
    ],
)
def test_one_word_has_one_spelling(texts, spelt):
    assert {word(text) for text in texts} == {spelt}


@pytest.mark.parametrize("text", ["HTTP", "http", "007", "1.2.3", "10.0.0.10", "", "-", "none", "6.0a", "yes", "T"])
def test_other_words_stay_as_they_are(text):
    assert word(text) == text


@pytest.mark.parametrize(
    ("learnt", "pairs"),
    [
        (
            ("false", "true"),
            {"True": 1, "1": 1, "1.0": 1, "t": 1, "yes": 1, "FALSE": 0, "0": 0, "maybe": None, "2": None},
        ),
        (("False", "True"), {"True": 1, "true": 1, "1": 1, "0": 0}),  # of a model that was trained before
        (("0", "1"), {"true": 1, "FALSE": 0, "1.0": 1, "2": None}),
        (("no", "yes"), {"yes": 1, "true": 1, "0": 0}),
        (("0", "1", "2"), {"1.0": 1, "true": None}),  # numbers, no truths
        (("17.0", "6.0"), {"6": 1, "6.00": 1, "17": 0, "47": None}),
        (("6", "6.0"), {"6": 0, "6.0": 1, "6.00": 0}),  # a vocabulary that tells them apart keeps doing so
        ((), {"1": None, "": None}),
    ],
)
def test_a_vocabulary_knows_a_word_by_itself_by_its_spelling_or_by_its_truth(learnt, pairs):
    vocabulary = Vocabulary(learnt)
    assert {text: vocabulary.place(text) for text in pairs} == pairs


def test_codes_and_counts_of_words():
    words = Categorical.of({"17": 3, "6": 5, "": 1})
    values = np.array(["6", "6.0", "47", "", "47", "17"], dtype=object)
    assert words.codes(values).tolist() == [1, 1, 2, 2, 2, 0]
    assert words.unknown(values) == {"47": 2}


def test_a_column_is_spelt_anew_and_missing_words_are_empty():
    column = pa.chunked_array([["6.0", None, "True"], ["6", "http ", "6.0"]]).dictionary_encode()
    assert respelt(column).to_pylist() == ["6", "", "true", "6", "http", "6"]
    same = pa.chunked_array([["6", "http"]]).dictionary_encode()
    assert respelt(same) is same


def frame():
    return pd.DataFrame({"size": [1.5, 2.0, 3.0, 4.0], "proto": [6, 17, 6, 47], "secure": [True, False, True, True]})


WRITERS = {
    "same.csv": lambda given, path: given.to_csv(path, index=False),
    "floats.csv": lambda given, path: given.astype({"proto": float}).to_csv(path, index=False),
    "loud.csv": lambda given, path: given.assign(secure=given["secure"].map(str).str.upper()).to_csv(path, index=False),
    "numbers.csv": lambda given, path: given.astype({"secure": int}).to_csv(path, index=False),
    "excel.csv": lambda given, path: given.astype({"proto": float}).to_csv(path, index=False, sep=";", decimal=","),
    "same.parquet": lambda given, path: given.to_parquet(path),
    "floats.parquet": lambda given, path: given.astype({"proto": float}).to_parquet(path),
    "words.parquet": lambda given, path: given.astype({"proto": str, "secure": str}).to_parquet(path),
    "same.jsonl": lambda given, path: given.to_json(path, orient="records", lines=True),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_of_any_type_has_the_words_that_train_rows_have(tmp_path, name):
    frame().assign(label=[0, 1, 0, 1]).to_csv(tmp_path / "train.csv", index=False)
    train = pa.concat_tables([c.records for c in Table(tmp_path / "train.csv", categorical=("proto", "secure")).read()])
    WRITERS[name](frame(), tmp_path / name)
    needed = (Column("size"), Column("proto", categorical=True), Column("secure", categorical=True))
    records = pa.concat_tables([chunk.records for chunk in incoming(tmp_path / name, "table", needed).read()])
    for column in ("proto", "secure"):
        learnt = Categorical.of(dict.fromkeys(train[column].to_pylist(), 1))
        found = learnt.codes(np.array(records[column].to_pylist(), dtype=object))
        assert found.tolist() == learnt.codes(np.array(train[column].to_pylist(), dtype=object)).tolist()
        assert not learnt.unknown(np.array(records[column].to_pylist(), dtype=object))


CELLS = [*nulls.NUMBERS, *map(str.upper, nulls.NUMBERS), "http", "6", "6.0", "1e15", "1E+15", "0.5", "007", "True", "-"]


def as_csv(values, path):
    path.write_text("".join(f'"{value}","{value}"\n' for value in ["w", *values]).replace('"w","w"', "w,label"))


def as_json(values, path):
    pd.DataFrame({"w": values, "label": values}).to_json(path, orient="records", lines=True)


TEXTS = {
    "t.csv": as_csv,
    "t.parquet": lambda values, path: pd.DataFrame({"w": values, "label": values}).to_parquet(path),
    "t.feather": lambda values, path: pd.DataFrame({"w": values, "label": values}).to_feather(path),
    "t.jsonl": as_json,
}


def test_every_reader_spells_text_alike_and_takes_the_same_cells_for_missing(tmp_path):
    found = {}
    for name, writer in TEXTS.items():
        writer(CELLS, tmp_path / name)
        needed = (Column("w", categorical=True),)
        chunks = [chunk.records for chunk in incoming(tmp_path / name, "table", needed).read()]
        table = pa.concat_tables(chunks).unify_dictionaries()
        found[name] = [*zip(table["row"].to_pylist(), table["w"].to_pylist(), table["attack"].to_pylist(), strict=True)]
    assert [*found.values()] == [found["t.csv"]] * len(TEXTS)
    spelt = {row: word(value) for row, value in enumerate(CELLS, start=1)}
    assert all(text == spelt[row] for row, text, _ in found["t.csv"])
    assert {*nulls.NO_WORD} <= {*nulls.NO_NUMBER}


@pytest.mark.parametrize("values", [[1e15, 0.1, 6.0, -0.0, 1e-7, 1e22], [10**15, 6, 0, 7, 80, 443], [True, False] * 3])
def test_every_reader_spells_numbers_alike(tmp_path, values):
    frame = pd.DataFrame({"w": values})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_json(tmp_path / "t.jsonl", orient="records", lines=True, double_precision=15)
    frame.map(str).to_parquet(tmp_path / "s.parquet")
    column = (Column("w", categorical=True),)
    found = {
        name: pa.concat_tables([c.records for c in incoming(tmp_path / name, "table", column).read()])["w"].to_pylist()
        for name in ("t.csv", "t.parquet", "t.jsonl", "s.parquet")
    }
    assert [*found.values()] == [found["t.csv"]] * 4

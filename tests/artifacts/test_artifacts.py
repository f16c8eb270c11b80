"""Files: written whole or not at all, and read back as they were."""

import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.artifacts import paths
from pipeline.artifacts.confidence import read_confidence
from pipeline.artifacts.files import atomic, read_json, whole_folder, write_csv, write_json
from pipeline.artifacts.models import read_model, write_model
from pipeline.artifacts.samples import read_samples, write_samples
from pipeline.artifacts.tables import (
    ROW_GROUP,
    TableWriter,
    read_table,
    row_groups,
    strings,
    values_by_id,
    with_slices,
    write_columns,
)
from pipeline.base.errors import ArtifactError
from pipeline.base.samples import Samples


def samples(n, columns=("a", "b")):
    random = np.random.default_rng(0)
    return Samples(
        record_id=random.integers(0, 2**64, n, dtype=np.uint64),
        y=random.integers(0, 2, n).astype(np.int8),
        attack=random.choice(["benign", "bot", "dos_hulk"], n).astype(object),
        confidence=random.choice([-1, 0, 1], n).astype(np.float32),
        balanced=random.random(n) < 0.5,
        x=random.normal(size=(n, len(columns))).astype(np.float32),
        columns=columns,
    )


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_only_when_its_block_ends_well(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with atomic(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    with pytest.raises(KeyError), atomic(path) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert path.read_text() == "whole"
    assert left(path.parent) == ["a.txt"]


def test_a_folder_takes_the_place_of_the_old_one_whole(tmp_path):
    folder = tmp_path / "room"
    for content in ("first", "second"):
        with whole_folder(folder) as temporary:
            (temporary / content).write_text(content)
    assert left(folder) == ["second"]
    with pytest.raises(KeyError), whole_folder(folder) as temporary:
        (temporary / "third").write_text("third")
        raise KeyError
    assert left(folder) == ["second"]
    assert left(tmp_path) == ["room"]


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_json(path, {}),
        lambda path: write_csv(path, [{"a": 1}]),
        lambda path: write_columns(path, {"a": np.arange(3)}),
        lambda path: TableWriter(path, pa.schema([("a", pa.int64())])).__enter__(),
    ],
)
def test_a_place_that_cannot_be_written_is_named_with_the_remedy(tmp_path, write):
    (tmp_path / "a").write_text("a file where a folder should be")
    with pytest.raises(ArtifactError, match=r"a/b: cannot be written \(File exists\); nothing was written; free some"):
        write(tmp_path / "a" / "b")


def test_json_is_for_every_reader(tmp_path):
    write_json(tmp_path / "a.json", {"b": [1, 2.5, None]})
    assert read_json(tmp_path / "a.json") == {"b": [1, 2.5, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": [1, 2.5, None]}


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff"])
def test_an_absent_or_damaged_file_says_how_to_make_it_again(tmp_path, content):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    for read in (read_json, read_table, lambda each: list(row_groups(each))):
        with pytest.raises(ArtifactError, match=r"a\.json: (is absent|cannot be read .*); run `dvc repro`"):
            read(path)


def test_a_table_that_is_damaged_in_the_middle_says_how_to_make_it_again(tmp_path):
    path = tmp_path / "a.parquet"
    with TableWriter(path, pa.schema([("x", pa.float64())])) as writer:
        writer.write(pa.table({"x": np.random.default_rng(0).normal(size=5_000)}))
    content = bytearray(path.read_bytes())
    content[4:2_000] = bytes(1_996)
    path.write_bytes(content)
    for read in (read_table, lambda each: list(row_groups(each))):
        with pytest.raises(ArtifactError, match=r"a\.parquet: cannot be read .*; run `dvc repro`"):
            read(path)


def test_ids_are_written_as_sixteen_hexadecimal_digits(tmp_path):
    ids = np.array([0, 1, 2**64 - 1, 2**53 + 1], dtype=np.uint64)
    write_columns(tmp_path / "a.csv", {"record_id": ids, "x": np.arange(4.0)})
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert [int(row["record_id"], 16) for row in rows] == ids.tolist()
    assert {len(row["record_id"]) for row in rows} == {16}
    write_columns(tmp_path / "a.csv", {"record_id": ids[:0]})
    assert (tmp_path / "a.csv").read_text().split() == ['"record_id"']


@pytest.mark.parametrize("rows", [0, 1, 10, ROW_GROUP, ROW_GROUP + 5])
def test_samples_round_trip_exactly(tmp_path, rows):
    written = samples(rows)
    write_samples(tmp_path, "train", written)
    read = read_samples(tmp_path, "train")
    assert read.columns == written.columns
    for name in ("record_id", "y", "attack", "confidence", "balanced", "x"):
        assert np.array_equal(getattr(read, name), getattr(written, name)), name
        assert getattr(read, name).dtype == getattr(written, name).dtype, name


def test_many_small_tables_become_few_row_groups(tmp_path):
    table = pa.table({"a": np.arange(1000.0)})
    with TableWriter(tmp_path / "a.parquet", table.schema) as writer:
        for _ in range(100):
            writer.write(table)
        assert writer.rows == 100_000
    metadata = pq.read_metadata(tmp_path / "a.parquet")
    assert (metadata.num_rows, metadata.num_row_groups) == (100_000, 4)
    assert read_table(tmp_path / "a.parquet")["a"].to_pylist() == list(range(1000)) * 100
    assert sum(len(group) for group in row_groups(tmp_path / "a.parquet", ["a"])) == 100_000


def test_words_of_several_dictionaries_are_read_as_text():
    parts = [pa.array(words).dictionary_encode() for words in (["a", "b"], ["b", "c"], ["a"])]
    assert strings(pa.chunked_array(parts)).tolist() == ["a", "b", "b", "c", "a"]


def test_a_model_is_two_files_that_belong_together(tmp_path):
    stem = tmp_path / "encoder"
    write_model(stem, {"name": "x"}, {"w": np.arange(6.0).reshape(2, 3).T})
    description, arrays = read_model(stem)
    assert description == {"name": "x"}
    assert np.array_equal(arrays["w"], np.arange(6.0).reshape(2, 3).T)
    other = stem.with_suffix(".safetensors").read_bytes()
    write_model(stem, {"name": "y"}, {"w": np.zeros(3)})
    stem.with_suffix(".safetensors").write_bytes(other)
    with pytest.raises(ArtifactError, match="are not the weights that"):
        read_model(stem)
    stem.with_suffix(".safetensors").write_bytes(b"none")
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_model(stem)


def test_a_content_hash_sees_every_output_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(paths.OUTPUTS, "ingest", (paths.RECORDS, paths.REPORTS / "ingest"))
    assert paths.content_hash("ingest") == ""
    for path in paths.OUTPUTS["ingest"][:1]:
        path.parent.mkdir(parents=True)
        path.write_text("records")
    (paths.REPORTS / "ingest").mkdir(parents=True)
    first = paths.content_hash("ingest")
    (paths.DATA / "else").write_text("x")
    assert paths.content_hash("ingest") == first != ""
    (paths.REPORTS / "ingest" / "a.svg").write_text("x")
    assert paths.content_hash("ingest") not in ("", first)
    assert paths.upstream("preprocess") == ("ingest", "validate")


def test_a_confidence_file_reads_back_what_was_written(tmp_path):
    ids = np.array([0, 2**64 - 1, 0xABC], dtype=np.uint64)
    values = np.array([1.0, -0.25, 0.0], dtype=np.float32)
    write_columns(tmp_path / "c.csv", {"record_id": ids, "score": np.zeros(3), "confidence": values})
    read_ids, read_values = read_confidence(tmp_path / "c.csv")
    assert read_ids.tolist() == ids.tolist()
    assert read_values.tolist() == values.tolist()


def test_values_are_found_by_the_ids_of_their_records(tmp_path):
    ids = np.array([9, 2, 2**64 - 1, 5], dtype=np.uint64)
    table = pa.table({"record_id": ids, "day": ["mon", "tue", "wed", "thu"]})
    with TableWriter(tmp_path / "t.parquet", table.schema) as writer:
        writer.write(table)
    asked = np.array([2**64 - 1, 9], dtype=np.uint64)
    assert values_by_id(tmp_path / "t.parquet", "day", asked).tolist() == ["wed", "mon"]
    assert values_by_id(tmp_path / "t.parquet", "day", asked[:0]).tolist() == []
    with pytest.raises(ArtifactError, match="holds other records than"):
        values_by_id(tmp_path / "t.parquet", "day", np.array([3], dtype=np.uint64))


def test_slices_follow_each_other():
    parts = [pa.table({"a": range(n)}) for n in (3, 0, 2)]
    assert [place for _, place in with_slices(parts)] == [slice(0, 3), slice(3, 3), slice(3, 5)]

"""A large table is logged as a sample that says how large the whole is; a small one, and anything else, as it is."""

import csv
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.artifacts.confidence import read_confidence
from pipeline.artifacts.files import sha256_of
from pipeline.base.errors import ArtifactError
from pipeline.tracking import bounded
from pipeline.tracking.stage_run import StageRun

ROWS = 5_000


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """What is large here."""
    monkeypatch.setattr(bounded, "MOST_BYTES", 40_000)


@pytest.fixture
def table():
    ids = np.random.default_rng(0).integers(2**63, 2**64, ROWS, dtype=np.uint64)
    words = ["plain" if n % 7 else 'two\nlines, and a "quote"' for n in range(ROWS)]
    return pa.table({"record_id": ids, "confidence": np.linspace(-1, 1, ROWS), "word": words})


def as_csv(table, path):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(table.column_names)
        columns = [
            [f"{each:016x}" for each in table["record_id"].to_pylist()],
            *(c.to_pylist() for c in table.columns[1:]),
        ]
        writer.writerows(zip(*columns, strict=True))
    return path


def rows_of(path):
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(params=[".csv", ".parquet"])
def whole(request, table, tmp_path):
    path = tmp_path / f"confidence_epoch_0{request.param}"
    if request.param == ".csv":
        return as_csv(table, path)
    pq.write_table(table, path, row_group_size=1_000, use_dictionary=False, compression="none")
    return path


def test_a_large_table_is_a_sample_in_its_order_that_states_the_whole(whole):
    with bounded.within_bounds(whole) as (sample, note):
        about, kept = json.loads(note.read_text()), rows_of(sample)
        assert (sample.name, note.name) == (whole.name, f"{whole.name}.sample.json")
        assert sample.stat().st_size <= 1.1 * bounded.MOST_BYTES
        content = sample.read_bytes()
    everything = rows_of(whole)
    places = {row["record_id"]: place for place, row in enumerate(everything)}
    found = [places[row["record_id"]] for row in kept]
    assert found == sorted({*found}) and all(everything[place] == row for place, row in zip(found, kept, strict=True))
    assert about == {
        "rows": ROWS,
        "sampled": len(kept),
        "seed": bounded.SEED,
        "bytes": whole.stat().st_size,
        "sha256": sha256_of(whole),
        "whole": whole.as_posix(),
    }
    assert 0 < len(kept) < ROWS and max(found) > 0.9 * ROWS
    assert not sample.exists()
    with bounded.within_bounds(whole) as (again, _):
        assert again.read_bytes() == content


def test_a_sample_is_refused_where_every_record_is_needed(whole, tmp_path):
    with bounded.within_bounds(whole) as files:
        for each in files:
            shutil.copy(each, (tmp_path / "downloaded").mkdir(exist_ok=True) or tmp_path / "downloaded" / each.name)
    with pytest.raises(
        ArtifactError, match=rf"is a sample of [\d,]+ of 5,000 records; give {whole}, which has them all"
    ):
        read_confidence(tmp_path / "downloaded" / whole.name)
    assert len(read_confidence(whole)[0]) == ROWS


def test_a_small_table_and_another_file_are_logged_whole(whole, tmp_path, monkeypatch):
    (tmp_path / "page.html").write_bytes(b"x" * 100_000)
    written = []
    monkeypatch.setattr(bounded, "MOST_BYTES", whole.stat().st_size)
    monkeypatch.setattr("pipeline.tracking.outbox.write", lambda call, run, **given: written.append(given))
    for path in (whole, tmp_path / "page.html"):
        StageRun("run").file(path, "deep")
    assert written == [{"path": str(path), "folder": "deep"} for path in (whole, tmp_path / "page.html")]


def test_a_run_gets_the_sample_and_its_note(whole, monkeypatch):
    written = []
    monkeypatch.setattr("pipeline.tracking.outbox.write", lambda call, run, path, folder: written.append(path))
    StageRun("run").file(whole)
    assert [path.rpartition("/")[2] for path in written] == [whole.name, f"{whole.name}.sample.json"]
    assert str(whole) not in written

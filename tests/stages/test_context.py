"""The recent past of hosts as a score: from captures to alarms, and nothing where records have no time or address."""

import csv
import json
import shutil
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import config
from pipeline.artifacts import paths
from pipeline.artifacts.contexts import path_of, read_contexts
from pipeline.artifacts.files import read_json, sha256_of
from pipeline.artifacts.models import read_model
from pipeline.artifacts.samples import read_samples, write_samples
from pipeline.artifacts.tables import read_table
from pipeline.base.errors import ArtifactError, ConfigError
from pipeline.datasets.synthetic.captures import write_captures
from pipeline.preprocessing.splits import SPLITS
from pipeline.serving import adoption, batch
from pipeline.serving.arrivals import Incoming
from pipeline.serving.bundle import Bundle
from pipeline.serving.scored import table_path
from pipeline.serving.watching.stretch import Model, Stretch
from pipeline.settings.alerts import Alerts
from pipeline.settings.evaluate import Evaluate
from pipeline.settings.scoring import Scoring
from tests.stages.conftest import Project

LEARNT = ("ingest", "preprocess", "stage1", "stage2", "calibrate")
FITTED = ("train", "val", "calibration")


SETTINGS = {
    "ingest.dataset": "pcap",
    "ingest.path": "data/captures",
    "calibrate.scores": ["detector", "head", "context"],
    "calibrate.fusion": "fisher",
    "preprocess.context.use": "auto",
}


def of_captures(folder: Path) -> Project:
    """A project of the captures that lie in its folder ``data``, which is copied from ``folder``."""
    shutil.copytree(folder, "data", dirs_exist_ok=True)
    made = Project()
    for name, value in SETTINGS.items():
        made.set(name, value)
    return made


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two days of benign captures."""
    folder = tmp_path_factory.mktemp("captures")
    write_captures(folder / "captures", 1200, 2, seed=0)
    return folder


@pytest.fixture(scope="module")
def trained(captures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a model of these captures, which is trained once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("trained"))
        of_captures(captures).run(*LEARNT)
        return Path("data").resolve()


@pytest.fixture
def captured(captures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project of the captures."""
    monkeypatch.chdir(tmp_path)
    return of_captures(captures)


@pytest.fixture
def learnt(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project of the captures with its model."""
    monkeypatch.chdir(tmp_path)
    return of_captures(trained)


def test_a_capture_is_scored_as_its_records_were_at_training(learnt: Any) -> None:
    bundle = Bundle.of_project()
    assert bundle.looks_back is not None
    stored = {split: read_samples(paths.SCORES, split) for split in SPLITS}
    assert all(samples.columns == ("margin", "detector", "context") for samples in stored.values())
    path = sorted(Path("data/captures").glob("*.pcap"))[1]
    file = Incoming(path, path.name, sha256_of(path))
    summary = batch.score(file, bundle, 1)
    scored = pq.read_table(table_path(file.key(1))).select(["record_id", "context", "score"])
    later = stored["test_unseen"]
    found = dict(zip(scored.column("record_id").to_pylist(), scored.column("context").to_pylist(), strict=True))
    assert summary["records"] == scored.num_rows
    both = [
        (found[key], own) for key, own in zip(later.record_id.tolist(), later.x[:, -1], strict=True) if key in found
    ]
    assert len(both) > 50
    np.testing.assert_allclose(*np.array(both).T, rtol=1e-3, atol=1e-2)


def test_a_model_with_folds_scores_each_context_by_the_model_that_has_not_seen_it(captured: Any) -> None:
    captured.set("stage2.calibration.kind", "cross")
    captured.run(*LEARNT)
    about = read_model(paths.CONTEXT)[0]
    assert about["folds"]["number"] == 5 and about["windows"] == [5.0, 60.0, 600.0]
    out_of_fold = read_samples(paths.SCORES, "out_of_fold")
    assert out_of_fold.columns == ("margin", "detector", "context", "fold")
    assert np.isfinite(out_of_fold.x).all()
    assert Bundle.of_project().calibration.alone is not None


def fitted() -> dict[str, bytes]:
    files = [*paths.CONTEXT.parent.glob("context.*"), *(path_of(paths.PROCESSED, split) for split in FITTED)]
    return {file.name: file.read_bytes() for file in files}


def test_no_test_record_moves_a_fitted_number(learnt: Any) -> None:
    before, tested = fitted(), read_contexts(paths.PROCESSED, "test_unseen")
    records = pq.read_table(paths.RECORDS)
    late = np.isin(records.column("record_id").to_numpy(), tested.record_id)
    first = records.filter(pa.array(late)).column("src_ip")[0]
    same = pa.array([first.as_py()] * records.num_rows).dictionary_encode().cast(records.schema.field("src_ip").type)
    moved = pa.compute.if_else(pa.array(late), same, records.column("src_ip").combine_chunks())
    at = records.schema.get_field_index("src_ip")
    pq.write_table(records.set_column(at, records.schema.field(at), moved), paths.RECORDS)
    learnt.run("preprocess", "stage1", "stage2")
    assert fitted() == before
    assert not np.array_equal(read_contexts(paths.PROCESSED, "test_unseen").x, tested.x)


def test_a_record_without_a_time_or_an_address_is_judged_as_if_there_were_no_context(learnt: Any) -> None:
    with_context = Bundle.of_project()
    learnt.set("preprocess.context.use", "never")
    learnt.run("preprocess", "stage1", "stage2", "calibrate")
    plain = Bundle.of_project()
    assert plain.looks_back is None and "context" not in plain.calibration.surprisals
    names = [column.name for column in plain.columns]
    records = read_table(paths.RECORDS, [*names, "timestamp", "src_ip", "dst_ip"])
    bare = records.select(names)
    one, other = with_context.predict(bare), plain.predict(bare)
    assert set(one.group) == {"without context"}
    for name in ("score", "p_value", "verdict"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert all(np.array_equal(one.flagged[name], other.flagged[name]) for name in one.flagged)
    half = records.set_column(
        records.column_names.index("src_ip"),
        "src_ip",
        pa.array([None if row % 2 else "10.0.0.1" for row in range(records.num_rows)]),
    )
    mixed = with_context.predict(half, with_context.looks_back.scores_of(half))
    np.testing.assert_array_equal(mixed.score[1::2], other.score[1::2])
    assert set(mixed.group[::2]) == {""} and set(mixed.group[1::2]) == {"without context"}


def said() -> dict[str, bytes]:
    files = [*paths.SCORES.glob("*"), *paths.THRESHOLDS.parent.glob("thresholds.*")]
    return {file.name: file.read_bytes() for file in files}


def test_where_splits_are_drawn_there_is_no_context_and_no_trace_of_it(captured: Any) -> None:
    captured.set("preprocess.split", "random")
    captured.run(*LEARNT)
    assert read_contexts(paths.PROCESSED, "train") is None
    assert read_model(paths.CONTEXT)[0] == {"detector": "none"}
    assert read_samples(paths.SCORES, "val").columns == ("margin", "detector")
    assert "without_context" not in read_json(paths.THRESHOLDS.with_suffix(".json"))
    assert not any(name.startswith("context") for name in Bundle.of_project().sealed.files)
    before = said()
    captured.set("preprocess.context.use", "never")
    captured.run("preprocess", "stage1", "stage2", "calibrate")
    assert said() == before


def test_the_report_names_the_context_where_it_drives_an_alarm(learnt: Any) -> None:
    strange = read_samples(paths.SCORES, "test_unseen")
    at = strange.columns.index("context")
    x = strange.x.copy()
    x[:5, at] = x[:, at].max() + 1e4
    write_samples(paths.SCORES, "test_unseen", strange.map(lambda _: x, strange.columns))
    learnt.run("validate", "evaluate")
    rows = csv.DictReader((paths.REPORTS / "evaluate" / "explanations.csv").read_text().splitlines())
    driven = {row["record_id"]: row for row in rows if row["stage"] == "context"}
    assert {f"{key:016x}" for key in strange.record_id[:5].tolist()} & {*driven}
    assert all(float(row["share_context"]) > 0.5 for row in driven.values())


def change(column: str, values: Any) -> None:
    """Give the records that ingest stored other values in a column."""
    records = pq.read_table(paths.RECORDS)
    field = records.schema.field(column)
    at, new = records.schema.get_field_index(column), pa.array(values(records.column(column).to_pylist()))
    new = new.dictionary_encode() if pa.types.is_dictionary(field.type) else new
    pq.write_table(records.set_column(at, field, new.cast(field.type)), paths.RECORDS)


def test_records_without_an_address_among_others_have_no_context_and_stop_nothing(captured: Any) -> None:
    captured.set("stage2.calibration.kind", "cross")
    captured.run("ingest")
    change("src_ip", lambda texts: [None if row % 9 == 0 else text for row, text in enumerate(texts)])
    captured.run(*LEARNT[1:])
    records = pq.read_table(paths.RECORDS)
    bare = {*records.filter(records.column("src_ip").is_null()).column("record_id").to_pylist()}
    scores = read_samples(paths.SCORES, "out_of_fold")
    without = np.isnan(scores.x[:, scores.columns.index("context")])
    assert {*scores.record_id[without].tolist()} == bare & {*scores.record_id.tolist()}
    bundle = Bundle.of_project()
    said = bundle.predict(records, bundle.looks_back.scores_of(records))
    assert np.array_equal(said.group == "without context", records.column("src_ip").is_null().to_numpy())


def test_a_few_contexts_in_one_split_are_left_out_for_all(captured: Any, capsys: pytest.CaptureFixture[str]) -> None:
    captured.run("ingest", "preprocess")
    ids = {split: read_contexts(paths.PROCESSED, split).record_id for split in FITTED}
    records = paths.RECORDS.read_bytes()
    numbers = pq.read_table(paths.RECORDS).column("record_id").to_numpy()
    for split, own in ids.items():
        assert len(own) > 100
        paths.RECORDS.write_bytes(records)
        bare = np.isin(numbers, own[99:])
        change("src_ip", lambda texts, bare=bare: np.where(bare, None, texts).tolist())
        capsys.readouterr()
        captured.run("preprocess")
        told = capsys.readouterr().out
        assert "The recent past of hosts is left out" in told and f"99 in {split}" in told
        assert not any(path_of(paths.PROCESSED, name).exists() for name in SPLITS)


def test_a_clock_that_was_set_back_is_said(captured: Any, capsys: pytest.CaptureFixture[str]) -> None:
    captured.run("ingest")
    change("timestamp", lambda times: [time - timedelta(hours=2) * (row >= 600) for row, time in enumerate(times)])
    captured.run("preprocess")
    assert "a clock was set back" in capsys.readouterr().out
    assert np.isfinite(read_contexts(paths.PROCESSED, "train").x).all()


def test_a_clock_that_was_set_back_in_a_file_that_is_scored_is_said(learnt: Any, tmp_path: Any) -> None:
    records = read_table(paths.RECORDS)
    at = records.schema.get_field_index("timestamp")
    times = [time - timedelta(hours=2) * (row >= 600) for row, time in enumerate(records.column(at).to_pylist())]
    moved = records.set_column(at, records.schema.field(at), pa.array(times, records.schema.field(at).type))
    said = {}
    for name, table in (("kept", records), ("moved", moved)):
        path = tmp_path / f"{name}.parquet"
        pq.write_table(table, path)
        summary = batch.score(Incoming(path, path.name, sha256_of(path)), Bundle.of_project(), 1)
        said[name] = " ".join(summary["contract"]["sentences"])
    assert "a clock was set back" in said["moved"]
    assert "a clock was set back" not in said["kept"]


@pytest.mark.parametrize("seed", range(2))
def test_a_stream_has_the_context_of_files_however_it_is_cut_into_micro_batches(learnt: Any, seed: int) -> None:
    bundle, random = Bundle.of_project(), np.random.default_rng(seed)
    records = read_table(paths.RECORDS).sort_by("timestamp")
    time = records.column("timestamp").cast(pa.int64()).to_numpy()
    dense = 400 + int(
        np.argmin(time[420:800] - time[400:780])
    )  # so that a whole begins in the past of the last but one
    first = records.slice(0, dense).take(pa.array(random.permutation(dense)))  # connections end in another order
    wholes = [first, records.slice(dense, 10), records.slice(dense + 10, 200)]
    model = Model(1, bundle, config.load(Scoring).contract, config.load(Alerts))
    for number, whole in enumerate(wholes):
        path = paths.DATA / f"whole-{number}.parquet"
        pq.write_table(whole, path)
        batch.score(Incoming(path, path.name, sha256_of(path)), bundle, 1)
    files = contexts_by_record()
    shutil.rmtree(paths.SCORED)
    for number, whole in enumerate(wholes):
        here, edges = Stretch.begin("log", f"whole-{number}", model), [0, whole.num_rows]
        if number:  # in order: a record sees all that it sees in the file
            edges = [0, *sorted(random.integers(0, whole.num_rows, 6).tolist()), whole.num_rows]
        for part, (begin, end) in enumerate(pairwise(edges)):
            content = pa.BufferOutputStream()
            pq.write_table(whole.slice(begin, end - begin), content)
            here.add(f"whole-{number}-{part:03d}.parquet", content.getvalue().to_pybytes())
        here.end()
    assert len(files) == dense + 210 and contexts_by_record() == files


def contexts_by_record() -> dict[int, float]:
    """Record id -> score of its context, of all that was scored; 0 for none."""
    parts = [read_table(path, ["record_id", "context"]) for path in paths.SCORED.glob("*.parquet")]
    whole = pa.concat_tables([each.replace_schema_metadata() for each in parts])
    ids, scores = (whole.column(name).to_numpy() for name in ("record_id", "context"))
    return dict(zip(ids.tolist(), np.nan_to_num(scores).tolist(), strict=True))


def test_a_bundle_is_stored_and_loaded_with_its_context(learnt: Any, tmp_path: Any) -> None:
    bundle = Bundle.of_project()
    bundle.save(tmp_path / "bundle")
    loaded = Bundle.load(tmp_path / "bundle")
    records = read_table(paths.RECORDS)
    one, other = (each.predict(records, each.looks_back.scores_of(records)) for each in (loaded, bundle))
    np.testing.assert_array_equal(one.score, other.score)
    assert set(one.group) == {""}
    assert json.loads((tmp_path / "bundle" / "context.json").read_text())["remembered"] == 500_000


def test_a_network_is_adopted_with_its_context(learnt: Any) -> None:
    bundle = Bundle.of_project()
    moved = adoption.recalibrated(bundle)
    assert moved.looks_back is not None and moved.calibration.alone is not None
    trials = adoption.compared({"new": bundle, "champion": moved}, "p95", config.load(Evaluate).drills)
    late = sum(len(read_samples(paths.SCORES, split)) for split in adoption.LATE)
    assert [trial.alarms.records for trial in trials] == [late, late]
    assert all(trial.alarms.alarms < 0.2 * late for trial in trials)


def test_contexts_of_other_records_are_refused(learnt: Any) -> None:
    path_of(paths.PROCESSED, "train").write_bytes(path_of(paths.PROCESSED, "val").read_bytes())
    with pytest.raises(ArtifactError, match="contexts of other records"):
        learnt.run("stage2")


@pytest.mark.parametrize("windows", [[60.0, 5.0], [5.0, 5.0], [], [-1.0]])
def test_windows_that_do_not_grow_are_refused(captured: Any, windows: list[float]) -> None:
    captured.set("preprocess.context.windows", windows)
    with pytest.raises(ConfigError, match="windows"):
        captured.run("preprocess")

"""Records that hold too little to be useful: one class, no rows, no variance, fewer rows than a batch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipeline.artifacts import paths
from pipeline.artifacts.samples import read_samples, write_samples
from pipeline.base.errors import ArtifactError, ConfigError, DataError, ExpectationError, SplitError
from pipeline.datasets.schema import FEATURES

Columns = dict[str, list[Any]]


def label(text: str) -> Callable[[list[list[str]]], object]:
    return lambda cells: [row.__setitem__(-1, text) for row in cells[1:]]


def test_attacks_only(project: Any) -> None:
    project.only("PortScan")
    project.edit("PortScan", label("PortScan"))
    project.run("ingest")
    message = project.refusal("preprocess", SplitError)
    assert "the records hold no benign row, only ['port_scan']" in message
    assert "thresholds need benign ones" in message


def test_unseen_attacks_only(project: Any) -> None:
    project.only("Friday-WorkingHours-Morning")
    project.run("ingest", "preprocess")
    assert read_samples(paths.PROCESSED, "train").benign.all()
    assert set(read_samples(paths.PROCESSED, "test_unseen").attack) == {"benign", "bot"}


def test_no_record_at_all(project: Any) -> None:
    project.run("ingest")
    project.doctor(lambda columns: [values.clear() for values in columns.values()])
    message = project.refusal("preprocess", DataError)
    assert f"{paths.RECORDS}: holds no records; run ingest" in message


def test_no_benign_calibration_records(project: Any) -> None:
    project.only("PortScan")
    project.edit(
        "PortScan", lambda cells: [row.__setitem__(-1, "PortScan") for row in cells[3:]]
    )  # two benign rows left
    project.run("ingest")
    message = project.refusal("preprocess", SplitError)
    assert "split 'val' would have no benign record" in message or "split 'calibration' would have no" in message
    assert "ingest more, or raise preprocess.shares." in message


def test_a_share_that_gives_calibration_no_record(project: Any) -> None:
    project.set("preprocess.duplicates", "keep")
    shares = {"train": 0.6, "val": 0.1, "calibration": 1e-9, "test_seen": 0.2, "test_unseen": 0.1 - 1e-9}
    project.set("preprocess.shares", shares)
    project.run("ingest", "preprocess")
    assert read_samples(paths.PROCESSED, "calibration").benign.sum() >= 1


def test_calibration_scores_without_a_record(prepared: Any) -> None:
    scores = read_samples(paths.SCORES, "calibration")
    write_samples(paths.SCORES, "calibration", scores.select(slice(0, 0)))
    message = prepared.refusal("calibrate", SplitError)
    assert "no benign calibration records" in message
    assert "preprocess.shares.calibration" in message


def test_fewer_rows_than_a_batch(prepared: Any) -> None:
    fit = {"batch_size": 100_000, "min_steps": 0, "epochs": 2}
    for stage in ("stage1", "stage2"):
        prepared.set(f"{stage}.fit", prepared.params[stage]["fit"] | fit)
    prepared.set("stage2.detector", "maf")
    prepared.run("stage1", "stage2")
    scores = read_samples(paths.SCORES, "val")
    assert np.isfinite(scores.x).all()
    assert scores.x.std(0).min() > 0
    assert len(paths.REPORTS.joinpath("stage2/history.csv").read_text().splitlines()) == 3


def constant(columns: Columns) -> None:
    for column in FEATURES:
        columns[column.name] = [1.0] * len(columns["y"])


@pytest.mark.parametrize("duplicates", ["group", "drop", "keep"])
def test_a_constant_table(project: Any, duplicates: str) -> None:
    project.run("ingest")
    project.doctor(constant)
    project.set("preprocess.duplicates", duplicates)
    message = project.refusal("preprocess", DataError if duplicates == "keep" else SplitError)
    cause = "constant" if duplicates == "keep" else "have the same values in every column, and copies share a split"
    assert cause in message


def test_a_table_that_is_constant_in_each_class(project: Any) -> None:
    project.run("ingest")
    project.doctor(constant)
    project.doctor(lambda columns: columns.update(flow_duration=[float(y) for y in columns["y"]]))
    assert "would have no" in project.refusal("preprocess", SplitError)


def test_a_table_that_is_undefined_from_end_to_end(project: Any) -> None:
    project.run("ingest")
    nothing = {column.name: [float("nan")] * 600 for column in FEATURES}
    project.doctor(lambda columns: columns.update(nothing))
    project.set("preprocess.duplicates", "keep")
    assert "every column is constant" in project.refusal("preprocess", DataError)


def repeat_ids(columns: Columns) -> None:
    columns["record_id"][3:7] = [columns["record_id"][0]] * 4


def swap_labels(columns: Columns) -> None:
    for row in (0, 1, 2, 3):
        columns["y"][row] = 1 - columns["y"][row]


@pytest.mark.parametrize(("change", "column", "count"), [(repeat_ids, "record_id", "5"), (swap_labels, "attack", "4")])
def test_a_breached_hard_expectation(project: Any, change: Callable[[Columns], None], column: str, count: str) -> None:
    project.run("ingest")
    project.doctor(change)
    message = project.refusal("validate", ExpectationError)
    assert "expect_" in message
    assert column in message
    assert f"broken by {count} of 600" in message
    assert message.count(".csv, row ") >= 3
    assert paths.REPORTS.joinpath("validate/summary.json").exists()


def test_an_artefact_that_is_absent_or_damaged(prepared: Any) -> None:
    paths.PROCESSED.joinpath("train.parquet").write_bytes(b"PAR1 and no more")
    message = prepared.refusal("stage1", ArtifactError)
    assert "data/processed/train.parquet: cannot be read" in message
    assert "dvc repro" in message
    paths.LATENT.joinpath("train.parquet").unlink()
    message = prepared.refusal("stage2", ArtifactError)
    assert "data/latent/train.parquet: is absent" in message
    assert "dvc repro" in message


def test_an_unseen_attack_that_the_records_lack_is_no_fault(project: Any) -> None:
    project.set("preprocess.unseen", ["ddos_hoic"])
    project.run("ingest", "preprocess")
    project.set("preprocess.unseen", ["ddos_hoik"])
    assert "(did you mean 'ddos_hoic'?)" in project.refusal("preprocess", ConfigError)

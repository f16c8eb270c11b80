"""Benign records whose like occur on one day only, or go to a port each.

No model is fitted on them, but they set thresholds.
"""

from datetime import datetime
from typing import Any

import numpy as np
import pytest

from pipeline.artifacts import labels, paths
from pipeline.artifacts.confidence import read_confidence
from pipeline.artifacts.labels import Label
from pipeline.artifacts.models import read_model
from pipeline.artifacts.samples import read_samples
from pipeline.artifacts.tables import read_table
from pipeline.base.samples import Samples
from pipeline.calibration.cross_conformal import OUT_OF_FOLD
from pipeline.preprocessing import splits
from pipeline.serving import labelling
from pipeline.stages.dealt import DEALT


def stored() -> dict[str, Samples]:
    return {name: read_samples(paths.PROCESSED, name) for name in splits.SPLITS}


def doubted(samples: Samples) -> Any:
    return samples.benign & ~samples.trusted


def with_scans(project: Any, rule: str, share: float) -> Any:
    """A project with port scans hidden among its benign train records, which one rule looks for."""
    project.set("preprocess.contamination.share", share)
    project.set("preprocess.contamination.attacks", ["port_scan"])
    project.set(f"preprocess.{rule}.use", "always")
    project.run("ingest", "preprocess")
    return project


@pytest.fixture
def hidden_scans(project: Any) -> Any:
    """Scans of one day are looked for by their time."""
    return with_scans(project, "witnesses", 0.05)


@pytest.fixture
def swept(project: Any) -> Any:
    """Scans are looked for by their ports."""
    return with_scans(project, "sweeps", 0.07)


def test_hidden_scans_are_doubted_more_often_than_others(hidden_scans: Any) -> None:
    train = stored()["train"]
    scans = train.benign & (train.attack == "port_scan")
    others = doubted(train)[train.benign & ~scans].mean()
    assert others < 0.1 and doubted(train)[scans].mean() > 3 * others  # so few scans are hardly a cluster


def test_the_table_of_confidence_names_them(hidden_scans: Any) -> None:
    ids, confidence = read_confidence(paths.REPORTS / "preprocess" / "confidence_epoch_0.csv")
    parts = [stored()[name] for name in DEALT]
    wanted = np.concatenate([part.record_id[doubted(part)] for part in parts])
    assert len(wanted) and (confidence[np.isin(ids, wanted)] == -1).all()


def test_no_test_record_is_doubted(hidden_scans: Any) -> None:
    parts = stored()
    assert not any(doubted(parts[name]).any() for name in ("test_seen", "test_unseen"))


def test_no_model_knows_them_and_they_set_thresholds(hidden_scans: Any) -> None:
    hidden_scans.set("stage2.calibration.kind", "cross")
    hidden_scans.set("stage2.detector", "knn")
    hidden_scans.run("stage1", "stage2", "calibrate")
    parts = [stored()[name] for name in DEALT]
    unknown = np.concatenate([part.record_id[doubted(part)] for part in parts])
    out_of_fold = read_samples(paths.SCORES, OUT_OF_FOLD)
    assert len(unknown) and np.isin(unknown, out_of_fold.record_id).all()
    assert len(out_of_fold) == sum(int(part.benign.sum()) for part in parts)
    weights = read_model(paths.DETECTOR)[1]
    assert len(weights["fold"]) == sum(int(part.trusted.sum()) for part in parts)


def test_labels_are_believed_unless_asked_otherwise(project: Any) -> None:
    project.set("preprocess.contamination.share", 0.05)
    project.run("ingest", "preprocess")
    assert not any(doubted(part).any() for part in stored().values())


def test_records_without_labels_are_doubted_as_shipped(project: Any, capsys: pytest.CaptureFixture[str]) -> None:
    project.set("ingest.labels", "none")
    project.run("ingest", "preprocess")
    assert "are doubted: their like occur at one time only" in capsys.readouterr().out
    assert sum(int(doubted(part).sum()) for part in stored().values())


def test_where_too_many_would_be_doubted_none_is(hidden_scans: Any) -> None:
    hidden_scans.set("preprocess.witnesses.max_share", 0.001)
    hidden_scans.run("preprocess")
    assert not any(doubted(part).any() for part in stored().values())


def test_records_of_one_day_without_times_are_not_doubted(project: Any) -> None:
    def one_day(columns: dict[str, list[Any]]) -> None:
        columns["day"] = ["monday"] * len(columns["day"])
        columns["timestamp"] = [None] * len(columns["timestamp"])

    project.set("preprocess.witnesses.use", "always")
    project.run("ingest")
    project.doctor(one_day)
    project.run("preprocess")
    assert not any(doubted(part).any() for part in stored().values())


def test_hidden_scans_are_doubted_by_their_ports(swept: Any, capsys: pytest.CaptureFixture[str]) -> None:
    train = stored()["train"]
    scans = train.benign & (train.attack == "port_scan")
    assert doubted(train)[scans].mean() > 0.5
    assert doubted(train)[train.benign & ~scans].mean() < 0.05
    swept.run("preprocess")
    assert "are doubted: their like go to a port each" in capsys.readouterr().out


def test_ports_of_too_many_records_raise_no_doubt(swept: Any, capsys: pytest.CaptureFixture[str]) -> None:
    swept.set("preprocess.sweeps.max_share", 0.001)
    swept.run("preprocess")
    assert not any(doubted(part).any() for part in stored().values())
    assert "preprocess.sweeps.max_share is 0.1%" in capsys.readouterr().out


def test_records_without_labels_are_doubted_by_their_ports_as_shipped(
    project: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    project.set("ingest.labels", "none")
    project.run("ingest", "preprocess")
    assert "are doubted: their like go to a port each" in capsys.readouterr().out


def all_doubted() -> set[int]:
    return {int(number) for part in stored().values() for number in part.record_id[doubted(part)]}


def dismiss(record_id: int, **columns: Any) -> None:
    labels.append(Label(record_id, labels.BENIGN, "ada", "2026-01-31T09:00:00+00:00", columns=columns))


@pytest.fixture
def unlabelled(project: Any) -> Any:
    """A project of which no record has a label."""
    project.set("ingest.labels", "none")
    project.run("ingest", "preprocess")
    return project


def test_an_alert_that_was_dismissed_is_believed(unlabelled: Any) -> None:
    dismissed = sorted(all_doubted())[:3]
    for number in dismissed:
        dismiss(number)
    unlabelled.run("ingest", "preprocess")
    train = stored()["train"]
    assert train.confidence[np.isin(train.record_id, dismissed)].tolist() == [1, 1, 1]


def test_dismissed_alerts_whose_times_are_gone_leave_the_others_doubted(unlabelled: Any) -> None:
    def timed(columns: dict[str, list[Any]]) -> None:
        days = sorted({day for day in columns["day"] if day})
        at = {day: datetime(2017, 7, 3 + number) for number, day in enumerate(days)}
        columns["timestamp"] = [at.get(day) for day in columns["day"]]
        columns["day"] = [day and "monday" for day in columns["day"]]

    def preprocessed() -> set[int]:
        unlabelled.run("ingest")
        unlabelled.doctor(timed)
        unlabelled.run("preprocess")
        return all_doubted()

    before = preprocessed()
    record = read_table(paths.RECORDS).slice(0, 1).to_pylist()[0]
    for number in range(7):
        dismiss(number, **labelling._found(record).columns)
    assert len(before) and len(preprocessed() & before) > 0.8 * len(before)

"""What a version made of live traffic stands in MLflow, one figure for each whole day."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline import config
from pipeline.artifacts import paths
from pipeline.artifacts.files import write_json
from pipeline.base.errors import ArtifactError
from pipeline.evaluation.drift import Change
from pipeline.serving import live_days
from pipeline.serving.version import Version
from pipeline.settings.retraining import Retraining
from pipeline.tracking import by_day, store

ROOT = Path(__file__).parents[2]
FIRST = 20_000  # days since 1970


@pytest.fixture
def version(project):
    run = store.client().create_run(store.experiment())
    yield Version(3, run.info.run_id, "", {}, ())
    shutil.rmtree(paths.SCORED, ignore_errors=True)  # other tests share the project


def scored(key, day, records, alarms, version=3):
    when = datetime.fromtimestamp((day + 0.5) * by_day.DAY, UTC).isoformat()
    counts = {"p99": {"alarms": alarms, "expected": 0.01 * records}}
    about = {"time": when, "version": version, "records": records, "alarms": counts}
    write_json(paths.SCORED / "summaries" / f"{key}.json", about)


def figures(version, name):
    history = store.client().get_metric_history(version.run_id, f"versions/3/live/{name}")
    return {point.step: point.value for point in history}


def test_each_whole_day_is_written_once(version):
    scored("a", FIRST, 300, 6)
    scored("b", FIRST, 100, 6)
    scored("c", FIRST + 1, 50, 50)
    scored("d", FIRST, 999, 999, version=2)
    now = (FIRST + 1.9) * by_day.DAY
    assert live_days.log(version, now) == [FIRST]
    assert live_days.log(version, now) == []
    shutil.rmtree(paths.SCORED / live_days.ROOM)  # MLflow itself says what it has
    assert live_days.log(version, now) == []
    assert figures(version, "records") == {FIRST: 400}
    assert figures(version, "alarms/p99") == {FIRST: 0.03}
    assert figures(version, "promised/p99") == {FIRST: 0.01}
    assert live_days.log(version, now + by_day.DAY) == [FIRST + 1]
    assert figures(version, "alarms/p99") == {FIRST: 0.03, FIRST + 1: 1.0}


def test_drift_is_written_to_its_day(version):
    rules = config.load(Retraining, ROOT / "params.yaml")
    moved, kept = (Change("x", size, 0.0, 9, 9) for size in (0.9, 0.1))
    live_days.log_drift(version, (Change("score", 0.25, 0.0, 9, 9), moved, kept), rules, (FIRST + 0.3) * by_day.DAY)
    live_days.log_drift(version, (), rules, (FIRST + 1.3) * by_day.DAY)
    assert figures(version, "drift/score") == {FIRST: 0.25}
    assert figures(version, "drift/features") == {FIRST: 0.5}


def test_a_run_that_is_gone_is_said_and_stops_nothing(version, caplog):
    gone = Version(3, "0" * 32, "", {}, ())
    scored("a", FIRST, 300, 6)
    live_days.log(gone, (FIRST + 1) * by_day.DAY)
    assert "were not written to MLflow" in caplog.text


def not_written(caplog):
    return [each.getMessage() for each in caplog.records if "was not written to MLflow" in each.getMessage()]


@pytest.mark.parametrize(
    "summary", [{"alarms": {}}, {"records": 5, "alarms": {"p99": {}}}, {"records": "5", "alarms": []}]
)
def test_a_summary_that_lacks_what_is_counted_is_said_and_stops_nothing(version, caplog, summary):
    when = datetime.fromtimestamp((FIRST + 0.5) * by_day.DAY, UTC).isoformat()
    write_json(paths.SCORED / "summaries" / "a.json", {"time": when, "version": 3, **summary})
    assert live_days.log(version, (FIRST + 1) * by_day.DAY) == []
    assert len(not_written(caplog)) == 1


def test_a_folder_that_cannot_be_written_is_said_and_stops_nothing(version, caplog):
    scored("a", FIRST, 300, 6)
    (paths.SCORED / live_days.ROOM).write_text("no folder")
    assert live_days.log(version, (FIRST + 1) * by_day.DAY) == []
    assert "what version 3 made of live traffic was not written to MLflow: " in not_written(caplog)[0]


@pytest.mark.parametrize(
    "error", [ArtifactError("it is no store"), OSError("disk is full"), KeyError("p"), TypeError("no")]
)
def test_a_store_that_fails_under_a_drift_check_is_said_and_stops_nothing(version, caplog, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(by_day, "write", fail)
    rules = config.load(Retraining, ROOT / "params.yaml")
    live_days.log_drift(version, (Change("score", 0.25, 0.0, 9, 9),), rules, FIRST * by_day.DAY)
    assert len(not_written(caplog)) == 1

"""A file that is scored hands its alerts to the sinks, and no sink keeps it from being scored."""

import json
import shutil

import pytest

from pipeline.artifacts import paths
from pipeline.base.errors import ArtifactError, ConfigError
from pipeline.serving import arrivals, batch, intake, scored
from pipeline.serving.alerts import delivery, stored
from pipeline.serving.alerts.spool import Spool
from pipeline.serving.bundle import Bundle
from pipeline.settings.alerts import Sinks
from tests.serving.alerts.sinks import made, receivers
from tests.serving.alerts.sinks.test_syslog import closed_port
from tests.settings import alerts_with


@pytest.fixture
def file(prepared, week, tmp_path):
    source = next(path for path in week.iterdir() if "Wednesday" in path.name)
    (tmp_path / "new").mkdir()
    (found,) = arrivals.find(shutil.copy(source, tmp_path / "new" / "wednesday.csv"))
    return found


def rules(*active, **plugins):
    sinks = Sinks(
        active, (), 100_000, 400, 60.0, "whole", plugins={"eve": {"file": str(paths.DATA / "eve.json")}} | plugins
    )
    return alerts_with(level="p95", sensor="edge", sinks=sinks)


def logged():
    lines = (paths.DATA / "eve.json").read_text().splitlines()
    return [json.loads(line)["alert"]["metadata"]["tag"][0].removeprefix("key=") for line in lines]


def test_each_alert_of_a_file_stands_in_the_log_once_however_often_it_is_scored(file):
    bundle = Bundle.of_project()
    first = intake.score(file, bundle, 3, alerts=rules("eve"))
    keys = stored.read().column("alert").to_pylist()
    assert first["delivery"] == [f"eve: {len(keys):,} delivered"]
    assert len(keys) > 5 and logged() == keys
    scored.summary_path(file.key(3)).unlink()
    again = intake.score(file, bundle, 3, alerts=rules("eve"))
    assert again["delivery"] == ["eve: 0 delivered"] and logged() == keys


def test_a_receiver_that_is_away_does_not_keep_a_file_from_being_scored(file, tmp_path):
    (tmp_path / "secret").write_text("secret")
    hook = {"secret_variable": "", "secret_file": str(tmp_path / "secret")}
    away = rules("webhook", webhook={"url": f"http://127.0.0.1:{closed_port()}/", **hook})
    summary = intake.score(file, Bundle.of_project(), 3, alerts=away)
    (line,) = summary["delivery"]
    assert " wait (http://127.0.0.1" in line and scored.is_scored(file, 3)
    with receivers.webhook() as (port, received):
        there = rules("webhook", webhook={"url": f"http://127.0.0.1:{port}/", **hook})
        delivery.flush(there.sinks, is_patient=False)
        assert received.taken() == stored.read().column("alert").to_pylist()


def test_a_run_that_has_no_new_file_delivers_what_waits(file):
    delivery.hand_over([made.alert(1)], rules("eve").sinks)
    result = intake.Result.of(3, "0" * 64, [None], rules("eve").sinks)
    assert result.delivery == ("eve: 1 delivered",) and logged() == [made.alert(1).alert]


def test_a_file_counts_as_scored_only_when_its_alerts_are_in_the_spool(file, monkeypatch):
    """A kill between the two loses nothing: the file is scored again, and the spool knows each key."""

    def full(*_):
        raise ArtifactError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Spool, "put", full)
        with pytest.raises(ArtifactError, match="disk is full"):
            batch.score(file, Bundle.of_project(), 3, alerts=rules("eve"))
    assert not scored.is_scored(file, 3)
    batch.score(file, Bundle.of_project(), 3, alerts=rules("eve"))
    (state,) = delivery.states(rules("eve").sinks)
    assert state.state.waiting == stored.read().num_rows > 0


def test_wrong_settings_are_refused_before_anything_is_scored(file):
    with pytest.raises(ConfigError, match="evee"):
        batch.score(file, Bundle.of_project(), 3, alerts=rules("evee"))
    assert not [*paths.SCORED.rglob("*.parquet")]

"""The flows around scored records: one model for a whole run, and three outcomes of a look at what came in."""

import math
import re
import shutil
from base64 import b64decode
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from flows import drift_check, scoring
from pipeline import config
from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json
from pipeline.artifacts.tables import read_table
from pipeline.base.errors import ArtifactError, ConfigError
from pipeline.calibration.calibration import Calibration
from pipeline.evaluation import alarm_share
from pipeline.serving import batch, loading, scored
from pipeline.serving.version import Version
from pipeline.settings.retraining import Retraining

SETTINGS = config.load(Retraining, Path(__file__).parents[2] / "params.yaml")


def run(*given):
    return scoring.scoring.fn(*given)


def test_a_folder_is_scored_once(task, store, folder):
    state = run(str(folder))
    result = state.result()
    assert (len(result.scored), result.passed_over, result.refused, result.version) == (8, 0, (), 3)
    assert len(list(paths.SCORED.glob("*.parquet"))) == 8
    page = store.shown["scoring-summary"]
    n = sum(summary["records"] for summary in result.scored)
    share = store.bundle.calibration.promises()["p99"]
    assert f"| p99 | {sum(s['alarms']['p99']['alarms'] for s in result.scored):,} | {round(n * share, 1)} (" in page
    assert [row["source"] for row in store.shown["scoring-files"]] == sorted(path.name for path in folder.iterdir())
    before = {path: path.read_bytes() for path in paths.SCORED.rglob("*") if path.is_file()}
    again = run(str(folder)).result()
    assert (len(again.scored), again.passed_over) == (0, 8)
    assert {path: path.read_bytes() for path in paths.SCORED.rglob("*") if path.is_file()} == before


def test_the_champion_is_asked_for_once(task, store, folder, monkeypatch):
    made = batch.score

    def meanwhile(*given):
        store.number = 4  # somebody promotes
        return made(*given)

    monkeypatch.setattr(batch, "score", meanwhile)
    run(str(folder))
    assert store.asked == ["champion"]
    versions = [read_table(path, ["model_version"]) for path in paths.SCORED.glob("*.parquet")]
    assert set(pa.concat_tables(versions).column(0).to_pylist()) == {3}


def test_an_equal_file_is_scored_once(task, store, folder):
    one = sorted(folder.iterdir())[0]
    shutil.copy(one, folder / "zzz.csv")
    result = run(str(folder)).result()
    assert (len(result.scored), result.passed_over) == (8, 1)


def test_without_a_champion_nothing_is_scored(store, folder):
    state = run(str(folder), "previous")
    assert state.is_failed() and isinstance(state.data, ArtifactError)
    assert "no version 'previous'" in state.message


# The watch.

REFERENCE = np.random.default_rng(0).gamma(2.0, size=(2, 4000))


@pytest.fixture
def watched(store, monkeypatch, tmp_path):
    """A champion with a calibration of many records."""
    calibration = Calibration.fit(*REFERENCE)
    store.bundle = store.bundle.with_calibration(calibration)
    monkeypatch.setattr(loading, "load", lambda alias: (Version(3, "run", store.bundle.digest, {}, ()), store.bundle))
    monkeypatch.setattr(config, "load", lambda section: SETTINGS)
    monkeypatch.setattr("flows.promotion.promotion", store_gate(store))
    return store


def store_gate(store):
    def promotion(version, return_state):
        store.promoted.append(version)
        return SimpleNamespace(message="promoted: as good", name="Promoted")

    return promotion


def judged(ids):
    """By the decision for all."""
    return np.full(len(ids), "", dtype=object)


def recent(scores, monkeypatch, samples=None):
    ids = np.arange(len(scores), dtype=np.uint64) + np.uint64(10**9)
    monkeypatch.setattr(scored, "recent", lambda *_: scored.Recent(ids, np.asarray(scores), samples, 2, judged(ids)))


def drawn(store, n=5000, seed=1):
    """Fused scores of records like those of the calibration."""
    random = np.random.default_rng(seed)
    return store.bundle.calibration.score(random.gamma(2.0, size=n), random.gamma(2.0, size=n))


def check(**given):
    return drift_check.drift_check.fn(**given).result()


def test_traffic_as_at_calibration_is_stable(watched, monkeypatch):
    recent(drawn(watched), monkeypatch)
    found = check()
    assert found.outcome == "stable"
    assert found.path.max() < math.log(100)
    assert not watched.registered and not watched.events
    page = watched.shown["drift-check"]
    assert "Drift: stable" in page
    (picture,) = re.findall(r"!\[[^]]+\]\(data:image/svg\+xml;base64,([^)]+)\)", page)
    assert b64decode(picture) == (paths.DRIFT / "drift.svg").read_bytes()


def test_the_alarms_of_all_thresholds_together_are_held_against_alpha(watched, monkeypatch):
    """At 95 % for each of several thresholds, a few strange benign records in a thousand would be called attacks."""
    recent(drawn(watched), monkeypatch)
    found = check()
    calibrated = watched.bundle.calibration.reference.size
    for each in found.alarms:
        low, high = alarm_share.promised(each.records, each.promised, calibrated, 1 - 0.01 / len(found.alarms))
        assert (each.low, each.high) == (low, high)
        assert each.high >= alarm_share.promised(each.records, each.promised, calibrated)[1]


def test_a_wave_of_attacks_over_known_traffic_is_alarms_and_no_drift(watched, monkeypatch):
    recent(np.random.default_rng(2).permutation([*drawn(watched), *np.full(2000, 60.0)]), monkeypatch)
    found = check()
    assert found.outcome == "attacks"
    assert ("2,0" in found.reason and "alarms at p99 where" in found.reason) or "p99.9 where" in found.reason
    assert not watched.registered and not watched.promoted
    assert [name for name, _ in watched.events] == ["flowsculpt.attacks-under-way"]
    assert "Look at the alarms" in watched.shown["drift-check"]


def test_another_network_is_said_to_be_unknown_and_moves_no_threshold(watched, monkeypatch):
    recent(drawn(watched) + 2.5, monkeypatch)
    found = check()
    assert found.outcome == "unknown" and "the model does not know this network" in found.reason
    assert "were promised" in found.reason
    assert not watched.registered and not watched.promoted
    assert [name for name, _ in watched.events] == ["flowsculpt.network-unknown"]
    assert "flowsculpt adopt" in watched.shown["drift-check"]


def test_too_few_records_are_undecided_and_say_how_many_are_needed(watched, monkeypatch):
    recent(drawn(watched, 100), monkeypatch)
    state = drift_check.drift_check.fn()
    assert state.name == "Waiting"
    assert state.message.startswith("undecided: ") and "needed are 1,000" in state.message


def test_a_small_drift_recalibrates_through_the_gate(watched, monkeypatch):
    old = watched.bundle
    scores = drawn(watched) + 0.35
    recent(scores, monkeypatch)
    found = check()
    assert (found.outcome, found.registered, watched.promoted) == ("recalibrate", 9, ["9"])
    ((new, run_id, tags),) = watched.registered
    assert (run_id, tags["flowsculpt.recalibrates"]) == ("run", "3")
    fresh = drawn(watched, 40_000, seed=5) + 0.35
    for name, threshold in new.calibration.thresholds.items():
        assert threshold > old.calibration.thresholds[name]
        level = 1 - float(name[1:]) / 100
        assert abs((fresh > threshold).mean() - level) < abs((fresh > old.calibration.thresholds[name]).mean() - level)
    assert new.calibration.intervals.low == new.calibration.thresholds["p95"]
    assert (np.diff(new.calibration.reference) >= 0).all()
    assert set(new.used.tolist()) > set(old.used.tolist())
    assert "promoted: as good" in watched.shown["drift-check"]


def test_a_dry_run_registers_nothing(watched, monkeypatch):
    recent(drawn(watched) + 0.35, monkeypatch)
    assert check(dry_run=True).outcome == "recalibrate"
    assert not watched.registered and not watched.promoted


def test_a_large_drift_asks_for_training_and_promotes_nothing(watched, monkeypatch):
    recent(drawn(watched) * 0.5, monkeypatch)
    found = check()
    assert found.outcome == "train"
    assert not watched.registered and not watched.promoted
    ((name, given),) = watched.events
    assert name == "flowsculpt.training-asked-for"
    assert given["resource"] == {"prefect.resource.id": "flowsculpt.model.3"}
    assert watched.days == [3] and watched.drift == [found.changes]
    assert "flowsculpt train" in watched.shown["drift-check"]


def test_the_reports_are_written(watched, monkeypatch):
    recent(drawn(watched), monkeypatch)
    check()
    assert {path.name for path in paths.DRIFT.iterdir()} == {"drift.svg", "drift.csv", "drift.json"}
    told = read_json(paths.DRIFT / "drift.json")
    assert (told["outcome"], told["version"], told["records"]) == ("stable", 3, 5000)


def test_too_few_records_tell_nothing(watched, monkeypatch):
    recent(drawn(watched, 999), monkeypatch)
    state = drift_check.drift_check.fn()
    assert (state.name, state.is_completed()) == ("Waiting", True)
    assert "has scored 999 records, needed are 1,000" in state.message


def test_features_are_compared_with_those_of_the_calibration(store, monkeypatch, task, folder):
    """All of what was scored: benign features as ever, until one of them is changed."""
    run(str(folder))
    settings = replace(SETTINGS, min_records=50, looks=0.1)
    seen = scored.recent(3, 10**6)
    found = drift_check.check(3, store.bundle, seen, settings)
    assert {change.name for change in found.changes} == {"score", *store.bundle.features.columns}
    assert not [change.name for change in found.changes if change.exceeds(1e-4, 0.0)]
    at = seen.samples.column_names.index("idle_min")
    moved = seen.samples.set_column(at, "idle_min", pa.array(np.full(seen.samples.num_rows, 1e9)))
    again = drift_check.check(3, store.bundle, replace(seen, samples=moved), settings)
    assert [change.name for change in again.changes if change.exceeds(1e-4, 0.2)] == ["idle_min"]


def test_features_of_another_project_are_not_compared(store, task, folder):
    run(str(folder))
    shutil.rmtree(paths.PROCESSED)
    settings = replace(SETTINGS, min_records=50, looks=0.1)
    found = drift_check.check(3, store.bundle, scored.recent(3, 10**6), settings)
    assert [change.name for change in found.changes] == ["score"]


@pytest.mark.parametrize("change", [{"looks": 0.3}, {"small": 0.2}, {"step": 1.0}, {"records": 999}])
def test_settings_out_of_order_are_refused(prepared, change):
    for name, value in change.items():
        prepared.set(f"retraining.{name}", value)
    with pytest.raises(ConfigError, match=next(iter(change)) if "step" in change else "less than"):
        config.load(Retraining)

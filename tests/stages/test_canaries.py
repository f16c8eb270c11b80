"""A model that no longer finds what it found is refused wherever it judges, and canaries are counted nowhere."""

import logging
import threading
import warnings
from argparse import Namespace
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.champions import serve
from flows import score, scoring, watch
from flows.runtime import events as prefect_events
from flows.triage import champion
from pipeline import AlarmModel
from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json, write_json
from pipeline.artifacts.samples import read_samples
from pipeline.artifacts.tables import read_table
from pipeline.base.errors import SilentModelError
from pipeline.calibration.surprisal import Surprisal
from pipeline.serving import batch, canaries, canary_check, packaging
from pipeline.serving.arrivals import identify
from pipeline.serving.bundle import Bundle
from pipeline.serving.manifest import HashedFolder
from pipeline.serving.two_stage import TwoStage
from pipeline.stages.reports import cards
from tests.stages.test_cards import METRICS, MODELS
from tests.stages.test_rescoring import moved

NEVER = 1e9  # a threshold that no score exceeds
OPTIONAL = {*canaries.FILES}


@pytest.fixture
def bundle(prepared, tmp_path, monkeypatch):
    """A trained model; nobody answers where the registry should be."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setattr(paths, "INCOMING", tmp_path)
    monkeypatch.setattr(canary_check, "_ASKED", canary_check._Asked())
    return Bundle.of_project()


@pytest.fixture
def file(week, tmp_path):
    """Records of a day with attacks."""
    path = tmp_path / "new" / "flows.csv"
    path.parent.mkdir()
    path.write_bytes(next(path for path in week.iterdir() if "DDos" in path.name).read_bytes())
    return path


def silenced(bundle):
    """The same model whose thresholds no score exceeds, which was given canaries anew."""
    names = dict.fromkeys(bundle.calibration.thresholds, NEVER)
    return bundle.with_calibration(moved(bundle.calibration, names))


def swapped(bundle):
    """The same, with the canaries of the sound model."""
    other = silenced(bundle).sealed
    files = other.files | {name: bundle.sealed.files[name] for name in OPTIONAL}
    return Bundle.of_sealed(HashedFolder(bundle.sealed.about, files), paths.DATA)


def stripped(bundle):
    """The same model as one of the time before canaries."""
    about = {name: value for name, value in bundle.sealed.about.items() if name != canaries.NAME}
    files = {name: value for name, value in bundle.sealed.files.items() if name not in OPTIONAL}
    return Bundle.of_sealed(HashedFolder(about, files), paths.DATA)


def judged(bundle, file):
    """Every column that a scoring leaves, by table."""
    batch.score(identify(file, file), bundle, 1)
    found = {path.relative_to(paths.SCORED): read_table(path) for path in paths.SCORED.rglob("*.parquet")}
    for path in paths.SCORED.rglob("*.*"):
        path.unlink()
    return {name: table.replace_schema_metadata() for name, table in found.items()}


def _same(one, other):
    """Whether two columns are equal; NaN equals NaN."""
    return one.type == other.type and str(one.to_pylist()) == str(other.to_pylist())


def tables():
    found = {path.relative_to(paths.SCORED): path.read_bytes() for path in paths.SCORED.rglob("*.parquet")}
    for path in paths.SCORED.rglob("*.*"):
        path.unlink()
    return found


# Which records they are.


def test_they_are_seen_attacks_of_val_and_benign_records_of_calibration_and_none_of_a_test(bundle):
    known = bundle.canaries()
    ids = known.records["record_id"].to_numpy()
    val, calibration = (read_samples(paths.PROCESSED, split) for split in ("val", "calibration"))
    assert known.must_alarm.sum() == known.is_attack.sum() > 3 and (~known.is_attack).sum() == canaries.BENIGN
    assert known.is_attack.sum() <= canaries.ATTACKS and len({*known.attack[known.is_attack]}) > 1
    assert {*ids[known.is_attack].tolist()} <= {*val.record_id[val.y == 1].tolist()}
    assert {*ids[~known.is_attack].tolist()} <= {*calibration.record_id[calibration.y == 0].tolist()}
    assert np.isin(ids, bundle.used).all()
    for split in ("test_seen", "test_unseen"):
        assert not np.isin(ids, read_samples(paths.PROCESSED, split).record_id).any()
    names = dict(zip(val.record_id.tolist(), val.attack.tolist(), strict=True))
    told = zip(ids[known.is_attack].tolist(), known.attack[known.is_attack].tolist(), strict=True)
    assert all(names[each] == name for each, name in told)
    about = bundle.sealed.about[canaries.NAME]
    assert sum(about["attacks"].values()) == known.is_attack.sum() and about["must_alarm"] == known.must_alarm.sum()


def test_a_sound_model_finds_them_again_after_it_was_stored_and_calibrated_anew(bundle, tmp_path):
    bundle.save(tmp_path / "bundle")
    loaded = Bundle.load(tmp_path / "bundle")
    whole = bundle.calibration.decisions[""].thresholds
    higher = bundle.with_calibration(moved(bundle.calibration, {name: edge + 0.5 for name, edge in whole.items()}))
    for each in (bundle, loaded, higher):
        assert canary_check.faults(each) == ()
        assert canary_check.require(each, "refuse") == ""
    assert higher.canaries().records.equals(bundle.canaries().records)


def test_a_model_that_saw_no_attack_has_benign_ones(project):
    def benign(cells):
        for row in cells[1:]:
            row[-1] = "BENIGN"

    project.only("Monday")
    project.edit("Monday", benign)
    project.run("ingest", "preprocess", "stage1", "stage2", "calibrate")
    bundle = Bundle.of_project()
    known = bundle.canaries()
    assert not known.is_attack.any() and len(known.attack) == canaries.BENIGN
    assert canary_check.faults(bundle) == ()
    card = cards.model_card(METRICS, "p99", MODELS, bundle.sealed.about[canaries.NAME])
    assert "It has no planted attack" in card and "5 benign records show" in card


def test_the_model_card_says_how_many_there_are(bundle):
    about = bundle.sealed.about[canaries.NAME]
    card = cards.model_card(METRICS, "p99", MODELS, about)
    assert f"asked about {sum(about['attacks'].values())} planted attacks" in card
    assert all(f"| {name} | {count} |" in card for name, count in about["attacks"].items())
    assert "no record was fit for one" in cards.model_card(METRICS, "p99", MODELS)


# A model that is out of work.


@pytest.mark.parametrize("broken", [silenced, swapped])
def test_a_silenced_model_is_refused_by_scoring_the_watch_the_triage_page_and_alarm_model(
    bundle, broken, file, tmp_path, capsys
):
    version = serve(broken(bundle))
    assert score.main([str(file)]) == 1
    said = capsys.readouterr().err
    assert "version 1: it " in said and "alerts.silence.action is refuse" in said and "flowsculpt rollback" in said
    assert file.exists() and not paths.SCORED.exists()
    with pytest.raises(SilentModelError, match=r"version 1: it .*alerts\.silence\.action"):
        watch.watch(Namespace(path=str(tmp_path / "new"), alias="champion"), threading.Event())
    assert champion.main() == 0
    assert "The champion cannot be asked: version 1: it " in capsys.readouterr().out
    with pytest.raises(SilentModelError, match=r"planted attacks|attacks that it found"):
        AlarmModel.load("champion")
    assert AlarmModel.load("champion", canaries="off").bundle_.digest == version.digest


@pytest.mark.parametrize("broken", [silenced, swapped])
def test_a_silenced_model_is_refused_where_mlflow_serves_it(bundle, broken, tmp_path):
    import mlflow

    sealed, about = broken(bundle).sealed, SimpleNamespace(artifact_location=str(tmp_path), model_id=None)
    with warnings.catch_warnings(), packaging.hushed():
        packaging.save(tmp_path, sealed, about, None)
        with pytest.raises(Exception, match=r"the model: it .*raises an alarm on none|misses .* attacks"):
            mlflow.pyfunc.load_model(str(tmp_path / "model"))
        mlflow.pyfunc.load_model(str(tmp_path / "model"), model_config={"canaries": "off"})


def test_a_flow_raises_an_event(store, task, file, monkeypatch):
    events = []
    monkeypatch.setattr(
        prefect_events, "emit_event", lambda name, **given: events.append((name, given["payload"]["reason"]))
    )
    monkeypatch.setattr(Surprisal, "surprise", lambda self, scores: np.zeros(len(scores)))
    assert scoring.scoring.fn(str(file)).is_failed()
    ((name, reason),) = events
    assert name == "flowsculpt.model-refused" and "version 3: it misses" in reason


def _nan(monkeypatch):
    scores = TwoStage.scores
    monkeypatch.setattr(TwoStage, "scores", lambda self, x: scores(self, x) * np.float32(np.nan))


def _other_library(monkeypatch):
    scores = TwoStage.scores
    monkeypatch.setattr(TwoStage, "scores", lambda self, x: scores(self, x) * np.float32(1.05))


def _deaf(monkeypatch):
    monkeypatch.setattr(Surprisal, "surprise", lambda self, scores: np.zeros(len(scores)))


@pytest.mark.parametrize(
    ("broken", "said"),
    [(_nan, "cannot be scored"), (_other_library, "have another score"), (_deaf, "it misses")],
)
def test_a_model_that_breaks_while_it_scores_is_found(bundle, broken, said, file, monkeypatch):
    batch.score(identify(file, file), bundle, 1)
    broken(monkeypatch)
    assert canary_check.require(bundle, "refuse") == ""  # it was asked just now
    monkeypatch.setattr(canary_check, "EVERY", 0.0)
    with pytest.raises(SilentModelError, match=said):
        batch.score(identify(file, file), bundle, 1)


def test_a_running_watch_ends_and_leaves_what_it_has_not_judged(bundle, file, tmp_path, prepared, monkeypatch):
    for name, value in {"port": 0, "poll": 0.01, "settle": 0.0, "batch": 100}.items():
        prepared.set(f"watch.{name}", value)
    serve(bundle)
    header, *rows = file.read_bytes().splitlines(keepends=True)
    rows *= 90 // len(rows) + 1
    log = tmp_path / "log" / "flows.csv"
    log.parent.mkdir()
    log.write_bytes(header + b"".join(rows[:50]))

    def begun():
        return watch.begun(Namespace(path=str(log), alias="champion"), lambda *_, **__: None)

    first = begun()
    first.step()
    assert first.gauges.value("records_total") == 50 and first.gauges.value("silent") == 0
    with log.open("ab") as opened:
        opened.write(b"".join(rows[50:90]))
    with monkeypatch.context() as patch:
        _deaf(patch)
        patch.setattr(canary_check, "EVERY", 0.0)
        with pytest.raises(SilentModelError):
            first.run(threading.Event())
    monkeypatch.setattr(canary_check, "_ASKED", canary_check._Asked())
    second = begun()
    second.recover()
    stopped = threading.Event()
    stopped.set()
    second.run(stopped)
    counts = [read_json(path)["records"] for path in (paths.SCORED / "summaries").glob("*.json")]
    assert sorted(counts) == [40, 50]


# What is counted.


def test_canaries_are_in_no_table(bundle, file, prepared):
    plain, found = judged(stripped(bundle), file), judged(bundle, file)
    assert plain.keys() == found.keys()
    for name, table in plain.items():
        differs = {column for column in table.column_names if not _same(table[column], found[name][column])}
        assert differs <= ({"alert", "model_digest"} if "alerts" in name.parts else set())
    found = []
    for action in ("off", "warn", "refuse"):
        prepared.set("alerts.silence.action", action)
        batch.score(identify(file, file), bundle, 1)
        found.append(tables())
    assert found[0] == found[1] == found[2] and len(found[0]) == 5


def test_a_warning_is_said_once_and_the_model_goes_on(bundle, file, prepared, caplog):
    prepared.set("alerts.silence.action", "warn")
    serve(silenced(bundle))
    other = file.with_name("other.csv")
    other.write_bytes(file.read_bytes().replace(b"BENIGN", b"Benign"))
    with caplog.at_level(logging.WARNING, "flowsculpt"):
        assert score.main([str(file)]) == 0
        assert score.main([str(other)]) == 0
    assert len([each for each in caplog.messages if "planted attacks" in each]) == 1
    assert len(list((paths.SCORED / "summaries").glob("*.json"))) == 2


def test_a_model_from_before_scores_and_the_log_says_once_that_it_has_none(bundle, file, caplog):
    older = stripped(bundle)
    with caplog.at_level(logging.WARNING, "flowsculpt"):
        for name in ("one.csv", "two.csv"):
            batch.score(replace(identify(file, file), name=name), older, 1)
    assert len([each for each in caplog.messages if "older than canaries" in each]) == 1
    assert older.canaries() is None and canary_check.faults(older) == ()


def test_canaries_that_were_taken_out_are_missed(bundle):
    files = {name: value for name, value in bundle.sealed.files.items() if name not in OPTIONAL}
    robbed = Bundle.of_sealed(HashedFolder(bundle.sealed.about, files), paths.DATA)
    with pytest.raises(SilentModelError, match="canaries are gone"):
        canary_check.require(robbed, "refuse")


def test_a_note_that_is_torn_counts_as_none(bundle, file):
    write_json(paths.SCORED / "silence" / f"1-{bundle.digest[:16]}.json", ["torn"])
    assert "silent" not in batch.score(identify(file, file), bundle, 1)

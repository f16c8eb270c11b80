"""After a promotion a file is not judged again unless that is asked for, and then it is said what changed."""

import threading

import pytest

from benchmarks.champions import signed
from flows import score, scoring
from flows.triage.grouping import grouped
from pipeline import config
from pipeline.artifacts import paths
from pipeline.artifacts.files import sha256_of
from pipeline.serving import arrivals, intake, registry, scored
from pipeline.serving.alerts import incident_store, stored
from pipeline.serving.alerts.schema import alerts_of
from pipeline.serving.bundle import Bundle
from pipeline.serving.version import Version
from pipeline.settings.alerts import Alerts


@pytest.fixture(autouse=True)
def inbox(tmp_path, monkeypatch):
    """Whatever a test makes has come in."""
    monkeypatch.setattr(paths, "INCOMING", tmp_path)


@pytest.fixture
def promoted(store, tmp_path, monkeypatch):
    """Makes version 4 the champion: another model, whose thresholds lie elsewhere."""

    def promote(shift):
        calibration = store.bundle.calibration
        whole = calibration.decisions[""]
        names = {name: value + shift for name, value in whole.thresholds.items()}
        other = store.bundle.with_calibration(moved(calibration, names))
        other.save(tmp_path / "other")
        version = signed(Version(4, "run", other.digest, {}, ("champion",)))
        monkeypatch.setattr(registry, "find_version", lambda _: version)
        monkeypatch.setattr(registry, "fetch", lambda _: tmp_path / "other")
        return Bundle.load(tmp_path / "other")

    return promote


def moved(calibration, names):
    """The same calibration with other thresholds for all records."""
    about, arrays = calibration.state()
    about = {**about, "thresholds": names}
    return type(calibration).load(about, arrays)


def test_a_promotion_raises_no_alert_twice(task, store, folder, promoted):
    scoring.scoring.fn(str(folder))
    before, n = stored.read(), len(list(paths.SCORED.glob("*.parquet")))
    assert before.num_rows
    promoted(-1.0)
    state = scoring.scoring.fn(str(folder))
    assert f"0 files scored, {n} passed over" in state.message
    assert stored.read().equals(before)


def test_of_two_processes_with_a_promotion_between_them_one_scores_a_file(store, folder, promoted):
    file = next(path for path in folder.iterdir() if "DDos" in path.name)
    begun, over, found = threading.Event(), threading.Event(), {}

    def first(incoming):
        begun.set()
        over.wait(1.0)  # meanwhile the other one looks whether this file was scored
        return intake.score(incoming, store.bundle, 3)

    def take(version, score, **given):
        found[version] = intake.take_in(file, folder, version, score, **given)
        over.set()

    other = promoted(-1.0)
    threads = [threading.Thread(target=take, args=(3, first))]
    threads[0].start()
    begun.wait()
    left = intake.take_in(file, folder, 4, None, waits=False)  # as a watch does
    assert isinstance(left, intake.Claimed) and "another process scores it" in left.reason
    threads.append(threading.Thread(target=take, args=(4, lambda each: intake.score(each, other, 4))))
    threads[1].start()
    for each in threads:
        each.join()
    assert found[3]["version"] == 3 and found[4] is None
    assert {*stored.read()["model_version"].to_pylist()} == {3}
    assert not [*(paths.SCORED / "claims").iterdir()]
    take(4, lambda each: intake.score(each, other, 4), rescore=True)
    assert found[4]["rescored"]["version"] == 3


def test_a_claim_that_a_killed_process_has_left_keeps_nobody_waiting(store, folder):
    file = next(path for path in folder.iterdir() if "DDos" in path.name)
    (paths.SCORED / "claims").mkdir(parents=True)
    (paths.SCORED / "claims" / f"{arrivals.content_hash(file)}.lock").touch()
    done = intake.take_in(file, folder, 3, lambda each: intake.score(each, store.bundle, 3), waits=False)
    assert done["version"] == 3


def test_rescore_judges_again_and_says_what_changed(task, store, folder, promoted, capsys):
    file = next(path for path in folder.iterdir() if "DDos" in path.name)
    score.here([file])
    (identified,) = arrivals.find(file)
    old = scored.summary(identified)
    promoted(-1.0)
    assert score.main([str(file)]) == 0
    said = capsys.readouterr().out
    assert "records scored before by version 3\n" in said
    assert "version 4 is the champion now; it judges this file again with --rescore" in said
    assert f"flowsculpt explain {file} --alias 3" in said
    assert score.main([str(file), "--rescore"]) == 0
    new = scored.summary(identified)
    changes = new["rescored"]
    assert (new["version"], changes["version"]) == (4, old["version"])
    assert changes["same"] + changes["gone"] == stored.read(3).num_rows
    assert changes["same"] + changes["new"] == stored.read(4).num_rows
    assert changes["new"] and not changes["gone"]
    assert f"beside version 3: {changes['new']:,} alerts are new, 0 are gone" in capsys.readouterr().out
    assert score.main([str(file), "--rescore"]) == 0
    assert "scored before by version 4 (champion)" in capsys.readouterr().out


def test_the_flow_judges_again_where_it_is_asked(task, store, folder, promoted):
    scoring.scoring.fn(str(folder))
    promoted(1.0)
    scoring.scoring.fn(str(folder), rescore=True)
    assert "## Judged again" in store.shown["scoring-summary"]
    assert scored.recent(4, 10**6).score.size == scored.recent(3, 10**6).score.size


def test_alerts_that_a_newer_version_does_not_raise_again_are_in_no_incident(task, store, folder, promoted, prepared):
    file = next(path for path in folder.iterdir() if "DDos" in path.name)
    rules = config.load(Alerts).incidents
    score.here([file])
    old = stored.read(3)
    before = incident_store.read(rules)
    assert sum(each.alerts for each in before) == old.num_rows > 0
    prepared.set("alerts.silence.action", "off")
    promoted(1e6)  # no record exceeds such a threshold
    score.here([file], rescore=True)
    assert stored.read(4).num_rows == 0
    assert stored.read().num_rows == old.num_rows
    assert incident_store.read(rules) == []
    assert incident_store.read(rules, version=3) == before
    assert grouped(stored.read()).of.tolist() == [-1] * old.num_rows


def test_a_file_that_was_not_judged_again_keeps_its_incidents(task, store, folder, promoted, prepared):
    files = sorted(path for path in folder.iterdir())
    judged, rules = next(path for path in files if "DDos" in path.name), config.load(Alerts).incidents
    score.here(files)
    before = {each.source_sha256 for each in alerts_of(stored.read())}
    prepared.set("alerts.silence.action", "off")
    promoted(1e6)
    score.here([judged], rescore=True)
    assert {*incident_store.newest(stored.read()).column("source_sha256").to_pylist()} == before - {sha256_of(judged)}
    assert sha256_of(judged) in before and len(before) > 1
    assert incident_store.read(rules)


def test_a_new_champion_has_no_records_of_its_own_until_files_come(task, store, folder, promoted):
    """So the drift check waits, while the gate goes on looking at the samples that any version left."""
    scoring.scoring.fn(str(folder))
    samples = [each.sha256 for each in scored.last_samples(3)]
    promoted(1.0)
    scoring.scoring.fn(str(folder))
    assert scored.recent(4, 10**6).score.size == 0
    assert [each.sha256 for each in scored.last_samples(4)] == samples


def test_a_file_that_grew_is_one_alert_for_each_record(store, folder):
    file = next(path for path in folder.iterdir() if "DDos" in path.name)
    whole = file.read_text()
    lines = whole.splitlines(keepends=True)
    file.write_text("".join(lines[: len(lines) // 2]))
    score.here([file])
    half = {*stored.read()["alert"].to_pylist()}
    file.write_text(whole)
    score.here([file])
    found = stored.read()["alert"].to_pylist()
    assert len(found) == len({*found}) and half < {*found}

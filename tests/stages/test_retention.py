"""What scoring left is removed when it is old: never what is needed, and no alert is raised twice for that."""

import os
import shutil
import time
from functools import partial

import pytest

from flows import score
from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json, write_json
from pipeline.serving import arrivals, batch, claims, intake, quarantine, retention, scored
from pipeline.serving.alerts import delivery, spool
from pipeline.serving.bundle import Bundle
from pipeline.tracking.removal import DAY
from tests.settings import ALERTS

DAYS = 30
LATER = time.time() + 2 * DAYS * DAY


@pytest.fixture
def bundle(prepared):
    return Bundle.of_project()


@pytest.fixture
def inbox(week, tmp_path):
    """Two days of records that have come in."""
    folder = tmp_path / "new"
    folder.mkdir()
    for day in ("Tuesday", "Wednesday"):
        shutil.copy(next(path for path in week.iterdir() if day in path.name), folder / f"{day}.csv")
    return folder


@pytest.fixture
def judge(bundle, inbox):
    """Scores the files that are new, as a scheduled run does; returns how many there were."""

    def judge(version=3, rescore=False):
        def scores(file):
            return batch.score(file, bundle, version)

        found = [intake.take_in(path, inbox, version, scores, rescore) for path in arrivals.listed(inbox)]
        return sum(isinstance(each, dict) for each in found)

    return judge


def prunable(needed=0, serving=3, days=DAYS, now=LATER):
    return [*retention.scored_files(days, needed, serving, ALERTS.sinks, now)]


def left():
    """The tables of scored files that are there."""
    return {path.parent.name for path in paths.SCORED.rglob("*.parquet")}


def test_old_files_go_with_all_their_tables_and_their_sizes_are_told(judge):
    assert judge() == 2
    assert not prunable(now=time.time())
    assert not prunable(days=0)
    found = prunable()
    assert [each.name.partition("-")[0] for each in found] == ["Tuesday.csv", "Wednesday.csv"]
    there = [*paths.SCORED.rglob("*.parquet"), *(paths.SCORED / "summaries").iterdir()]
    assert sum(each.size for each in found) == sum(path.stat().st_size for path in there)
    assert all(each.remove() for each in found)
    assert not left() and not [*(paths.SCORED / "summaries").iterdir()]
    assert not prunable()


def test_a_file_whose_tables_are_gone_is_not_scored_again_unless_that_is_asked_for(judge, inbox):
    judge()
    assert [each.remove() for each in prunable()] == [True, True]
    assert judge() == 0 and judge(version=4) == 0
    assert score._as_before(inbox / "Tuesday.csv", "champion", 3, False, None) == [
        f"{inbox / 'Tuesday.csv'}: was scored before; its tables were pruned, and --rescore makes new ones"
    ]
    assert judge(rescore=True) == 2
    assert len([*paths.SCORED.glob("*.parquet")]) == 2


def test_what_the_drift_check_and_the_gate_read_stays(judge):
    judge()
    numbers = {each["source"]: each["records"] for each in scored.summaries().values()}
    last = [*numbers.values()][-1]
    assert [each.name.partition("-")[0] for each in prunable(needed=last)] == ["Tuesday.csv"]
    assert not prunable(needed=last + 1)
    judge(version=4, rescore=True)
    own = {each.name.rpartition("-v")[2] for each in prunable(needed=1, serving=3)}
    assert own == {"3", "4"}  # the last of the champion, 3, and the last of all, 4, stay
    assert len(prunable(needed=1, serving=3)) == 2


def test_alerts_that_a_sink_does_not_have_yet_stay(judge, monkeypatch):
    judge()
    held = f"{next(iter(scored.summaries()))}.parquet"
    (paths.SCORED / delivery.ROOM).mkdir(exist_ok=True)
    state = spool.State(0, 0, 0, (held,), (), "", "", 0, 0.0)
    monkeypatch.setattr(delivery, "states", lambda rules: [delivery.Delivered("eve", 0, state)])
    assert [f"{each.name}.parquet" for each in prunable()] == [f"{key}.parquet" for key in [*scored.summaries()][1:]]


def test_a_file_that_another_process_looks_at_stays(judge):
    judge()
    first, second = prunable()
    with claims.claimed(first.name.rpartition("-v")[0][-64:]):
        assert (first.remove(), second.remove()) == (False, True)
    assert [each.name for each in prunable()] == [first.name]


def test_what_a_killed_call_left_is_removed_by_the_next(judge, monkeypatch):
    judge()
    first, _ = prunable()
    real = type(paths.SCORED).unlink

    def killed(path, missing_ok=False):
        if path.suffix == ".parquet":
            raise KeyboardInterrupt
        real(path, missing_ok)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(type(paths.SCORED), "unlink", killed)
        first.remove()
    assert judge() == 0  # it counts as scored: no alert is raised twice
    assert first.name not in scored.summaries()
    assert first.name in {each.name for each in prunable()}
    assert all(each.remove() for each in prunable())
    assert not left()


def test_a_quarantined_file_goes_with_its_reason_and_is_looked_at_again(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "INCOMING", tmp_path)
    bad = tmp_path / "bad.csv"
    bad.write_text("a,b\n1,2\n")
    (file,) = arrivals.find(bad)
    held = quarantine.put(bad, "bad.csv", file.sha256, 3, "it has no columns")
    assert not [*retention.quarantined(0, LATER)] and not [*retention.quarantined(DAYS, time.time())]
    (found,) = retention.quarantined(DAYS, LATER)
    assert found.name == held.path.rpartition("/")[2] and found.size > bad_size(held)
    assert found.remove()
    assert not [*paths.QUARANTINE.iterdir()]
    assert quarantine.known(file.sha256, 3) is None


def bad_size(held):
    return len("a,b\n1,2\n") if held else 0


def test_copies_of_versions_without_an_alias_go(prepared):
    names = ["1-0123456789abcdef", "2-fedcba9876543210"]
    for name in names:
        (paths.REGISTERED / name).mkdir(parents=True)
        (paths.REGISTERED / name / "manifest.json").write_text("{}")
        os.utime(paths.REGISTERED / name, (0, 0))
    about = {"number": 2, "digest": "fedcba9876543210ffff", "run_id": "r", "tags": {}}
    write_json(paths.REGISTERED / "serving.json", {"flowsculpt": {"champion": about}})
    copies = partial(retention.copies, now=time.time())
    assert not [*copies(0)]
    (found,) = copies(DAYS)
    assert (found.name, found.size, found.remove()) == (names[0], 2, True)
    assert sorted(path.name for path in paths.REGISTERED.iterdir()) == [names[1], "serving.json"]
    assert read_json(paths.REGISTERED / "serving.json")

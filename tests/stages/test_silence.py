"""A model that raises no alert for longer than its promise makes likely is refused, and not a record earlier."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from flows import scoring
from flows.runtime import events as prefect_events
from pipeline import config
from pipeline.artifacts import paths
from pipeline.base.errors import SilentModelError
from pipeline.calibration.calibration import Calibration
from pipeline.calibration.decisions import Promise
from pipeline.calibration.thresholds.conformal import Guarantee
from pipeline.evaluation.alarm_share import none_at_all
from pipeline.serving import batch, silence
from pipeline.serving.arrivals import identify
from pipeline.serving.bundle import Bundle
from pipeline.serving.tally import Tally
from pipeline.settings.alerts import Alerts


@pytest.fixture
def bundle(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "INCOMING", tmp_path)
    return Bundle.of_project()


@pytest.fixture
def rules(bundle):
    """What params.yaml says, with records that count as independent."""
    found = config.load(Alerts)
    return replace(found, silence=replace(found.silence, alike=1))


def tally(bundle, records, alerts=0):
    """Of so many records."""
    found = Tally(bundle.calibration)
    found.decided = Counter({"": records})
    found.alarms["p99"] = alerts
    return found


def enough(bundle, rules):
    """The smallest number of records without an alert that is too improbable."""
    rate = bundle.calibration.promises()["p99"]
    size = bundle.calibration.reference.size
    n = 1
    while none_at_all([Promise(n, rate, size)]) >= rules.silence.chance:
        n *= 2
    low, high = n // 2, n
    while high - low > 1:
        middle = (low + high) // 2
        if none_at_all([Promise(middle, rate, size)]) >= rules.silence.chance:
            low = middle
        else:
            high = middle
    return high


@given(st.integers(0, 5_000), st.floats(0.001, 0.05), st.integers(1_000, 50_000))
def test_it_is_the_beta_binomial_chance_of_none(n, share, size):
    rank = Guarantee().rank(size, share)
    expected = stats.betabinom(n, rank, size + 1 - rank).pmf(0)
    assert none_at_all([Promise(n, share, size)]) == pytest.approx(expected, rel=1e-6, abs=1e-300)


@given(st.integers(1, 5_000), st.floats(0.001, 0.05), st.integers(1_000, 50_000))
def test_a_threshold_that_may_have_come_out_high_is_given_more_time(n, share, size):
    rank = Guarantee().rank(size, share)
    assert none_at_all([Promise(n, share, size)]) >= (1 - rank / (size + 1)) ** n * (1 - 1e-9)
    assert none_at_all([Promise(n, share, size)], 10) >= none_at_all([Promise(n, share, size)])
    assert none_at_all([Promise(n + 1, share, size)]) < none_at_all([Promise(n, share, size)])
    twice = [Promise(n, share, size)] * 2
    assert none_at_all(twice) == pytest.approx(none_at_all(twice[:1]) ** 2)


def test_benign_records_are_silent_as_seldom_as_that():
    random, n, size = np.random.default_rng(0), 150, 400
    silent = 0
    for _ in range(4_000):
        edge = np.partition(random.random(size), size - 4)[size - 4]  # p99 of 400 scores: the fourth from the top
        silent += not (random.random(n) > edge).any()
    expected = none_at_all([Promise(n, 0.01, size)])
    assert abs(silent / 4_000 - expected) < 4 * np.sqrt(expected / 4_000)


def test_a_model_is_silent_from_one_record_on_and_is_told_once(bundle, rules, caplog):
    n = enough(bundle, rules)
    assert silence.note(bundle, 1, rules, tally(bundle, n - 1)) == ""
    assert silence.require(bundle, 1, rules) == silence.found(bundle, 1, rules) == ""
    said = silence.note(bundle, 1, rules, tally(bundle, 1))
    assert f"version 1: none of the last {n:,} records is an alert at p99" in said
    assert "alerts.silence.chance" in said and said in caplog.messages
    assert silence.note(bundle, 1, rules, tally(bundle, 1)) == ""
    with pytest.raises(SilentModelError, match=r"none of the last .*alerts\.silence\.action is refuse.*rollback"):
        silence.require(bundle, 1, rules)
    assert silence.require(bundle, 2, rules) == ""
    for other in ({"action": "warn"}, {"action": "off"}, {"chance": 0.0}, {"alike": 10}):
        assert silence.require(bundle, 1, replace(rules, silence=replace(rules.silence, **other))) == ""


def test_an_alert_begins_the_count_anew(bundle, rules):
    n = enough(bundle, rules)
    for alerts in (0, 1, 0):
        assert silence.note(bundle, 1, rules, tally(bundle, n - 1, alerts)) == ""
    assert "none of the last" in silence.note(bundle, 1, rules, tally(bundle, n, 0))


def test_what_is_off_or_promises_nothing_is_never_silent(bundle, rules):
    off = replace(rules, silence=replace(rules.silence, action="off"))
    assert silence.note(bundle, 1, off, tally(bundle, 10**9)) == ""
    assert not (paths.SCORED / silence.ROOM).exists()
    scores = np.random.default_rng(0).normal(size=(len(bundle.calibration.surprisals), 300))
    published = bundle.with_calibration(Calibration.fit(*scores, "cascade", [99.0]))
    assert silence.note(published, 1, rules, tally(published, 10**9)) == ""
    assert silence.found(published, 1, rules) == ""


def test_files_without_an_alert_make_a_version_silent_and_the_next_one_is_refused(
    bundle, prepared, week, tmp_path, monkeypatch
):
    prepared.set("alerts.silence.alike", 1)
    prepared.set("alerts.silence.chance", 0.04)
    events = []
    monkeypatch.setattr(
        prefect_events, "emit_event", lambda name, **given: events.append((name, given["payload"]["reason"]))
    )
    quiet = _quiet(bundle, next(week.glob("Monday*")), tmp_path)
    found = [batch.score(identify(path, path), bundle, 1) for path in quiet[:2]]
    assert [each["alarms"]["p99"]["alarms"] for each in found] == [0, 0]
    assert "silent" not in found[0] and "none of the last" in found[1]["silent"]
    scoring._announce(found)
    ((name, reason),) = events
    assert name == "flowsculpt.model-silent" and reason == found[1]["silent"]
    with pytest.raises(SilentModelError, match="none of the last"):
        batch.score(identify(quiet[2], quiet[2]), bundle, 1)


def _quiet(bundle, monday, folder):
    """Three files of so many records of low scores that two of them are too many."""
    header, *rows = monday.read_bytes().splitlines(keepends=True)
    rules = config.load(Alerts)
    n = enough(bundle, rules) // 2 + 1
    path = folder / "monday.csv"
    path.write_bytes(monday.read_bytes())
    batch.score(identify(path, path), bundle, 9)
    import pyarrow.parquet as pq

    (table,) = (pq.read_table(each) for each in paths.SCORED.glob("*-v9.parquet"))
    low = [rows[place] for place in np.argsort(table["score"].to_numpy())[: len(rows) // 2].tolist()]
    made = []
    for number in range(3):
        some = [low[(number + place) % len(low)] for place in range(n)]
        made.append(folder / f"quiet{number}.csv")
        made[-1].write_bytes(header + b"".join(some))
    return made

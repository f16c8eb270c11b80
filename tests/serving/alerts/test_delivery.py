"""From alerts to sinks: nothing is lost and nothing doubled, whoever is away, full or killed."""

import json
import logging
import threading
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from pipeline.base.errors import ArtifactError, ConfigError
from pipeline.serving import own_model
from pipeline.serving.alerts import delivery, stored
from pipeline.serving.alerts.schema import SCHEMA
from pipeline.serving.alerts.sinks.base import Sink
from pipeline.serving.alerts.sinks.eve import Eve
from pipeline.serving.alerts.sinks.parquet import row
from pipeline.serving.alerts.sinks.registry import SINKS
from pipeline.serving.watching import handing_over
from pipeline.settings.alerts import Sinks
from tests.serving.alerts.sinks import made, receivers, rfc5424
from tests.serving.alerts.sinks.test_syslog import closed_port

ALERTS = [made.alert(number) for number in range(30)]
KEYS = [each.alert for each in ALERTS]


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(own_model, "name", lambda: "flowsculpt")
    (tmp_path / "data" / "scored" / "alerts").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")


def rules(*active, most=1000, incidents=(), **plugins):
    settings = {"eve": {"file": "eve.json"}, "ecs": {"file": "ecs.json"}, "parquet": {"folder": "table"}} | plugins
    return Sinks(active, incidents, most, 400, 60.0, "whole", plugins=settings)


def hook(port):
    return {"webhook": {"url": f"http://127.0.0.1:{port}/", "secret_variable": "", "secret_file": "secret"}}


def table(name, alerts):
    """A table of alerts as scoring writes it."""
    path = own_model.scored() / stored.ROOM / name
    rows = [row(each.content) for each in made.messages(*alerts)]
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path)
    return path


def logged(name="eve.json"):
    return [Eve(file="-").key_of(json.loads(line)) for line in Path(name).read_text().splitlines()]


class Failing(Sink):
    """A sink with a fault of its own."""

    def send(self, messages, mark):
        raise ZeroDivisionError("a fault of the program")


def test_without_sinks_nothing_happens_and_nothing_is_read(tmp_path):
    delivery.hand_over_table(tmp_path / "there is none", rules())
    assert delivery.deliver(ALERTS, rules()) == []
    assert not (tmp_path / "data" / "scored" / "spool").exists()


def test_each_sink_gets_each_alert_once_in_order():
    with receivers.webhook() as (port, received):
        wanted = rules("eve", "ecs", "parquet", "webhook", **hook(port))
        for part in (ALERTS[:20], ALERTS[10:], ALERTS):
            done = delivery.deliver(part, wanted)
        assert [each.sent for each in done] == [0, 0, 0, 0] and all(each.is_clear for each in done)
        assert received.taken() == KEYS
    assert logged() == KEYS
    assert pa.dataset.dataset("table").to_table().column("alert").to_pylist() == KEYS


def test_texts_that_somebody_made_to_break_a_log_break_none():
    with receivers.webhook() as (port, received), receivers.stream() as (syslog, streams):
        everywhere = rules(
            *SINKS, **hook(port), syslog={"transport": "tcp", "address": f"127.0.0.1:{syslog}"}, incidents=("ecs",)
        )
        delivery.hand_over_incidents([made.evil_incident()], everywhere)
        done = delivery.deliver([made.evil(number) for number in range(4)], everywhere)
        assert {each.sink: each.sent for each in done} == dict.fromkeys(SINKS, 4) | {"ecs": 5}
        assert len(rfc5424.octet_counted(streams[0])) == len(received.taken()) == len(logged()) == 4


def test_a_sink_that_is_away_gets_everything_later_in_order_and_the_others_at_once():
    port = closed_port()
    wanted = rules("webhook", "eve", **hook(port))
    away, there = delivery.deliver(ALERTS[:20], wanted)
    assert (away.sent, away.state.waiting, there.sent) == (0, 20, 20)
    assert "20 wait" in away.sentence and "refused" in away.sentence
    delivery.hand_over(ALERTS[20:], wanted)
    with receivers.webhook() as (port, received):
        away, _ = delivery.flush(rules("webhook", "eve", **hook(port)), is_patient=False)
        assert (away.sent, away.is_clear, away.state.fault) == (30, True, "")
        assert received.taken() == KEYS
    assert logged() == KEYS


def test_a_sink_that_failed_is_left_alone_for_a_while():
    with receivers.webhook() as (port, received):
        received.answers = [503]
        wanted = rules("webhook", **hook(port))
        for _ in range(3):
            (done,) = delivery.deliver(ALERTS[:3], wanted)
        assert (len(received.requests), done.state.failures, done.state.waiting) == (1, 1, 3)
        (done,) = delivery.flush(wanted, is_patient=False)
        assert received.taken() == KEYS[:3] and done.is_clear


def test_the_pause_grows_with_each_failure_and_has_a_limit(monkeypatch):
    monkeypatch.setattr(delivery.time, "time", lambda: 0.0)
    wanted = rules("webhook", **hook(closed_port()))
    delivery.hand_over(ALERTS[:1], wanted)
    pauses = [delivery.flush(wanted, is_patient=False)[0].state.ask_at for _ in range(12)]
    assert pauses[:4] == [2, 4, 8, 16] and pauses[-1] == delivery.LONGEST_PAUSE


def test_one_message_that_is_refused_keeps_no_other_waiting():
    with receivers.webhook() as (port, received):
        received.answers = [200, 422, 422]  # it is asked again, first of its batch
        wanted = rules("webhook", **hook(port))
        (done,) = delivery.deliver(ALERTS[:4], wanted)
        assert received.taken() == [KEYS[0], KEYS[2], KEYS[3]]
        assert (done.state.refused, done.state.waiting, done.is_clear) == (1, 0, False)
        assert delivery.ask_again(wanted) == 1
        (done,) = delivery.flush(wanted)
        assert received.taken()[-1] == KEYS[1] and done.is_clear


def test_a_fault_of_a_sink_is_logged_and_ends_nothing(monkeypatch, caplog):
    monkeypatch.setitem(SINKS, "ecs", Failing)
    with caplog.at_level(logging.ERROR):
        failed, done = delivery.deliver(ALERTS, rules("ecs", "eve", ecs={}))
    assert "ZeroDivisionError: a fault of the program" in failed.sentence and "Traceback" in caplog.text
    assert done.sent == 30


def test_alerts_that_do_not_fit_into_the_spool_follow_from_their_tables():
    first, second = table("a.parquet", ALERTS[:20]), table("b.parquet", ALERTS[20:])
    away = rules("webhook", most=8, **hook(closed_port()))
    for path in (first, second, first):
        delivery.hand_over_table(path, away)
    (done,) = delivery.states(away)
    assert (done.state.waiting, done.state.held) == (8, ("a.parquet", "b.parquet"))
    assert "alerts of 2 files wait in their tables" in done.sentence and not done.is_clear
    with receivers.webhook() as (port, received):
        (done,) = delivery.flush(rules("webhook", most=8, **hook(port)), is_patient=False)
        assert received.taken() == KEYS
    assert done.is_clear and done.sent == 30


def test_a_table_that_was_removed_while_it_waited_is_said_to_be_lost(caplog):
    path = table("a.parquet", ALERTS[:20])
    delivery.hand_over_table(path, rules("eve", most=8))
    path.unlink()
    (done,) = delivery.flush(rules("eve", most=8))
    assert logged() == KEYS[:8]
    assert "lost: 1 table of alerts was removed" in done.sentence and not done.is_clear
    assert "removed before its alerts were delivered" in caplog.text


def test_a_process_that_finds_another_one_at_work_leaves_it_to_that_one():
    wanted = rules("eve")
    delivery.hand_over(ALERTS, wanted)
    with delivery._spools(wanted, wanted.active)["eve"].alone():
        (done,) = delivery.flush(wanted)
        assert (done.sent, done.state.waiting) == (0, 30)
        (done,) = delivery.flush(wanted, seconds=0.1, is_patient=False)
        assert (done.sent, done.state.waiting) == (0, 30)
    (done,) = delivery.flush(wanted)
    assert done.sent == 30


def test_alerts_that_come_while_the_lock_is_let_go_are_not_forgotten(monkeypatch):
    """The process that put them found the lock taken, and went away."""
    wanted = rules("eve")
    once, sent = [ALERTS[20:]], delivery._sent

    def late(*given):
        found = sent(*given)
        if once:
            delivery.hand_over(once.pop(), wanted)
        return found

    monkeypatch.setattr(delivery, "_sent", late)
    (done,) = delivery.deliver(ALERTS[:20], wanted)
    assert (done.sent, logged()) == (30, KEYS)


def test_scoring_hears_of_faults_and_is_not_stopped_by_them(tmp_path):
    wanted = rules("eve")
    delivery.hand_over(ALERTS, wanted)
    assert delivery.after_scoring(wanted) == ["eve: 30 delivered"]
    (tmp_path / "data" / "scored" / "spool" / "eve.sqlite").write_bytes(b"damaged" * 1000)
    (line,) = delivery.after_scoring(wanted)
    assert line.startswith("alerts were not delivered") and "eve.sqlite" in line


def test_incidents_go_to_the_sinks_that_get_them_once_for_each_severity():
    wanted, one = rules("ecs", incidents=("eve",)), made.Incident()
    told = [one, replace(one, alerts=99), replace(one, severity="critical"), one]
    hidden = [{"severity": "low"}, {"suppressed_by": "backup"}, {"merged_into": "00"}]
    delivery.hand_over_incidents([*told, *(replace(one, incident="f", **each) for each in hidden)], wanted)
    delivery.hand_over(ALERTS, wanted)
    assert [(each.sink, each.sent) for each in delivery.flush(wanted)] == [("ecs", 30), ("eve", 2)]
    assert logged() == [f"{one.incident}-high", f"{one.incident}-critical"]


@pytest.mark.parametrize(
    ("wanted", "wrong"),
    [
        (lambda: rules("evee"), "'evee' is not known .did you mean 'eve'"),
        (lambda: rules("webhook", webhook={"url": "http://siem.example/"}), "https"),
        (lambda: rules("eve", eve={"fil": "x"}), "unknown setting 'fil'"),
        (lambda: rules("eve", evee={}), "no plug-in"),
        (lambda: rules(incidents=("evee",)), "alerts.sinks.incidents: 'evee' is not known"),
        (lambda: rules(incidents=("parquet",)), "takes no incident"),
    ],
)
def test_wrong_settings_are_refused(wanted, wrong):
    with pytest.raises(ConfigError, match=wrong):
        delivery.built(wanted())


def test_a_spool_that_cannot_be_read_for_a_moment_does_not_end_the_delivery(monkeypatch, caplog):
    monkeypatch.setattr(handing_over, "SECONDS", 0.01)
    failed, states = threading.Event(), delivery.states

    def once(given):
        if not failed.is_set():
            failed.set()
            raise ArtifactError("the disk is full")
        return states(given)

    monkeypatch.setattr(delivery, "states", once)
    with handing_over.delivering(rules("eve")) as take:
        assert failed.wait(60)
        take(pa.Table.from_pylist([row(each.content) for each in made.messages(*ALERTS)], schema=SCHEMA))
        begun = time.monotonic()
        while not Path("eve.json").exists():
            assert time.monotonic() - begun < 60
            time.sleep(0.01)
    assert logged() == KEYS


def test_a_lock_that_cannot_be_made_makes_no_scoring_fail(monkeypatch):
    delivery.hand_over(ALERTS, rules("eve"))
    (own_model.scored() / delivery.ROOM / "eve.lock").mkdir()
    (line,) = delivery.after_scoring(rules("eve"))
    assert "eve.lock: cannot be written" in line

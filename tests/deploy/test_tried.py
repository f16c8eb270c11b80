"""The table of what was tried on the stack."""

import socket

import httpx
import pytest

from deploy.notified import PATIENCE, wait_for
from deploy.receiver import notified, receiving
from deploy.tried import Table, require
from deploy.visitor import until
from pipeline.base.errors import FlowsculptError


def _refuses():
    require(False, "it is down\nas its log says")
    return "never said"


def test_what_does_not_hold_is_counted_and_what_follows_is_tried_all_the_same(capsys):
    table = Table()
    assert table.attempt("one holds", lambda: "seen")
    assert not table.attempt("one does not", _refuses)
    table.skip("one is not tried", "no disk")
    assert table.attempt("another holds", lambda: "seen too")
    assert table.failed == 1
    lines = str(table).splitlines()
    assert [line.split("  ")[0] for line in lines] == ["held", "FAILED", "", "not tried", "held", lines[-1]]
    assert "FlowsculptError: it is down" in lines[1] and lines[2].strip() == "as its log says"
    assert lines[-1] == "2 held, 1 FAILED, 1 not tried"
    assert "one does not" in capsys.readouterr().out


def test_what_the_rest_needs_is_tried_whatever_was_asked_for():
    table = Table(only="killed|away")
    tried = {"it comes up": True, "a rollback": False, "mlflow is killed": False, "the store is away": False}
    for what, needed in tried.items():
        table.attempt(what, lambda: "seen", needed)
    assert [row.what for row in table.rows] == ["it comes up", "mlflow is killed", "the store is away"]


def test_a_receiver_counts_each_key():
    with receiving() as receiver:
        host, _, port = receiver.address.partition(":")
        for _ in range(2):
            with socket.create_connection((host, int(port))) as sender:
                sender.sendall(b'<133>1 - [flowsculpt@32473 key="abc"] one')
        assert until(lambda: receiver.count("abc") == 2, 30, "both")
        assert receiver.count("ab") == 0


def test_a_sink_finds_a_notification_by_its_title_and_a_word_and_forgets_no_other():
    with notified() as sink:
        for title in ("flowsculpt: a run failed", "flowsculpt: a run does not start"):
            httpx.post(sink.address, json={"title": title, "text": "flow run one"}).raise_for_status()
        assert sink.count == 2
        assert wait_for(sink, "a run failed", "one", 0) < PATIENCE
        assert not sink.find("a run failed", "two")
        assert not sink.find("a run failed", "one", since=1)


def test_waiting_ends_with_the_name_of_what_did_not_come():
    with pytest.raises(FlowsculptError, match="the end did not come within 0 s"):
        until(lambda: None, 0, "the end")

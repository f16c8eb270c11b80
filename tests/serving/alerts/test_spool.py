"""A spool keeps each key once, in order, for several processes, and loses nothing silently."""

import os
import sqlite3
import subprocess
import sys
import time

import pytest

from pipeline.base.errors import ArtifactError
from pipeline.serving.alerts import spool as spools
from pipeline.serving.alerts.spool import Spool, SpoolFullError
from tests.serving.alerts.sinks import made

PUT = """
import sys
from pathlib import Path
from pipeline.serving.alerts.spool import Spool
from tests.serving.alerts.sinks import made
spool = Spool(Path(sys.argv[1]), "eve", 10_000)
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    spool.put(made.of(number))
"""


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "spool", "eve", 5)


def keys(*numbers):
    return [each.key for each in made.of(*numbers)]


def waiting(spool, most=100):
    return [each.message.key for each in spool.next(most)]


def test_messages_wait_in_their_order_and_each_key_once(spool):
    assert spool.put(made.of(3, 1))
    assert spool.put(made.of(1, 2, 3))
    assert waiting(spool) == keys(3, 1, 2)
    assert waiting(spool, 1) == keys(3)


def test_what_was_delivered_is_known_and_waits_no_more(spool):
    spool.put(made.of(1, 2, 3))
    spool.delivered(spool.next(2), "here")
    spool.put(made.of(1, 2, 4))
    assert waiting(spool) == keys(3, 4)
    state = spool.state()
    assert (state.waiting, state.delivered, state.mark) == (2, 2, "here")


def test_another_process_sees_the_same(spool):
    spool.put(made.of(1, 2))
    spool.failed("no route", 3, 17.0)
    again = Spool(spool.path.parent, "eve", 5)
    assert waiting(again) == keys(1, 2)
    assert (again.state().fault, again.state().failures, again.state().ask_at) == ("no route", 3, 17.0)


def test_a_full_spool_refuses_what_has_no_table(spool):
    spool.put(made.of(1, 2, 3, 4))
    with pytest.raises(SpoolFullError, match="5 messages wait for eve"):
        spool.put(made.of(4, 5, 6))
    assert waiting(spool) == keys(1, 2, 3, 4)
    assert spool.put(made.of(1, 4, 5))  # of these one is new


def test_a_full_spool_notes_the_tables_whose_alerts_did_not_fit_in(spool):
    assert not spool.put(made.of(1, 2, 3, 4, 5, 6), "a.parquet")
    assert not spool.put(made.of(7), "b.parquet")
    spool.delivered(spool.next(5), "")
    assert not spool.put(made.of(8), "c.parquet")  # there is room, but others were first
    assert spool.state().held == ("a.parquet", "b.parquet", "c.parquet")
    with pytest.raises(SpoolFullError):
        spool.put(made.of(9))
    for name, numbers in {"a.parquet": range(1, 7), "b.parquet": [7], "c.parquet": [8]}.items():
        assert spool.held() == name
        assert spool.put(made.of(*numbers), name, is_refill=True)
        spool.released(name)
    assert waiting(spool) == keys(6, 7, 8)
    assert spool.put(made.of(9))


def test_a_table_that_is_gone_keeps_nobody_waiting_and_is_not_forgotten(spool):
    spool.put(made.of(1, 2, 3, 4, 5, 6), "a.parquet")
    spool.released("a.parquet", is_gone=True)
    spool.delivered(spool.next(5), "")
    assert spool.put(made.of(7))
    assert (spool.state().held, spool.state().gone) == ((), ("a.parquet",))


def test_what_is_lost_is_forgotten_when_somebody_says_so(spool):
    spool.put(made.of(*range(6)), "a.parquet")
    spool.released("a.parquet", is_gone=True)
    spool.refused(spool.next(1)[0], "422")
    assert spool.give_up() == 2
    assert (spool.state().gone, spool.state().refused, spool.state().waiting) == ((), 0, 4)
    spool.put(made.of(0))
    assert waiting(spool) == keys(1, 2, 3, 4)


def test_what_was_refused_is_kept_and_can_wait_again(spool):
    spool.put(made.of(1, 2))
    spool.refused(spool.next(1)[0], "422")
    assert waiting(spool) == keys(2)
    assert spool.state().refused == 1
    assert spool.ask_again() == 1
    assert waiting(spool) == keys(1, 2)


def test_keys_are_forgotten_after_some_days(spool, monkeypatch):
    spool.put(made.of(1, 2))
    spool.delivered(spool.next(1), "")
    spool.forget(30)
    spool.put(made.of(1))
    assert waiting(spool) == keys(2)
    later = time.time() + 31 * 86_400
    monkeypatch.setattr(spools.time, "time", lambda: later)
    spool.forget(30)
    spool.put(made.of(1))
    assert waiting(spool) == keys(2, 1)


def test_one_process_delivers_at_a_time(spool):
    with spool.alone() as is_first, Spool(spool.path.parent, "eve", 5).alone() as is_second:
        assert (is_first, is_second) == (True, False)
    with spool.alone() as is_third:
        assert is_third


def test_two_processes_put_at_once(tmp_path):
    calls = [[sys.executable, "-c", PUT, str(tmp_path), *map(str, span)] for span in ((0, 60), (30, 90))]
    running = [subprocess.Popen(call) for call in calls]
    assert [each.wait() for each in running] == [0, 0]
    found = waiting(Spool(tmp_path, "eve", 10_000))
    assert len(found) == 90 and {*found} == {*keys(*range(90))}


def test_a_process_that_is_killed_leaves_what_it_had_put(tmp_path):
    call = [sys.executable, "-c", PUT, str(tmp_path), "0", "100000"]
    with subprocess.Popen(call) as process:
        spool = Spool(tmp_path, "eve", 10_000)
        while len(seen := waiting(spool, 10_000)) < 20:
            time.sleep(0.01)
        process.kill()
    found = waiting(spool, 10_000)
    assert found[: len(seen)] == seen
    assert found == keys(*range(len(found)))
    assert spool.put(made.of(len(found)))


def test_what_ended_a_transaction_is_named(spool):
    """A full disk ends it by itself; nothing can be rolled back then."""
    with pytest.raises(ArtifactError, match="disk is full"), spool._opened() as database, spools._transaction(database):
        database.execute("ROLLBACK")
        raise sqlite3.OperationalError("database or disk is full")


def test_a_damaged_file_is_named_with_what_to_do(spool):
    spool.path.write_bytes(b"no database " * 500)
    with pytest.raises(ArtifactError, match=r"eve\.sqlite: cannot be used .* deliver --stored"):
        spool.put(made.of(1))


def test_a_spool_of_a_newer_version_is_left_alone(spool):
    with sqlite3.connect(spool.path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(ArtifactError, match="newer flowsculpt"):
        Spool(spool.path.parent, "eve", 5)


def test_nobody_else_may_read_it(spool):
    assert spool.path.parent.stat().st_mode & 0o077 == 0 or os.geteuid() != spool.path.stat().st_uid

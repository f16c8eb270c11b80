"""Faults that are injected are counted, and what they leave is judged; a fault that gives way is seen as one."""

import errno
import gc
import os
import random
import shutil
import time
from pathlib import Path

import pytest

from benchmarks.injected import __main__ as injected
from benchmarks.injected import calls, children, keeping, limits, races, writes
from benchmarks.injected.bench import Bench, Found, Trial, spread
from benchmarks.injected.operations import Operation

NEEDS_STRACE = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


def world():
    Path("data").mkdir()
    Path("data/a").write_text("old")


def look():
    return {"a": Path("data/a").read_text() if Path("data/a").exists() else "absent"}


def careless():
    """What this project does nowhere: the old content is gone before the new one is there."""
    with Path("data/a").open("w") as stream:
        stream.write("new")


def bench(tmp_path):
    made = Bench(Operation("careless", world, careless, look), tmp_path)
    made.prepare()
    return made


@NEEDS_STRACE
def test_whoever_writes_in_place_is_found(tmp_path):
    found = {trial.fault: trial.found.faults for trial in writes.trials(bench(tmp_path), 9, 0)}
    (write,) = [faults for fault, faults in found.items() if " at write 1 " in fault]
    assert write == ["a is neither the old nor the new ()"]
    assert len(found) == 3  # openat, write, close


@NEEDS_STRACE
def test_a_fault_that_meets_another_call_is_tried_again_where_the_calls_are_then(tmp_path, monkeypatch):
    made, count, shifted = bench(tmp_path), writes.counted, []

    def late(bench):
        """What was counted before something else came to lie in front: one call too few."""
        found = count(bench)
        if shifted:
            return found
        shifted.append(True)
        return [calls.Call(call.name, call.number + 1, call.path, call.is_first) for call in found]

    monkeypatch.setattr(writes, "counted", late)
    assert {trial.kind for trial in writes.trials(made, 9, 0)} == {"openat", "write", "close"}


@NEEDS_STRACE
def test_how_soon_a_child_gets_going_changes_no_count(tmp_path, monkeypatch):
    made, opened, parent = bench(tmp_path), os.open, os.getpid()
    expected = writes.counted(made)

    def slow(path, *given, **named):
        time.sleep(0 if os.getpid() == parent else 0.5)
        return opened(path, *given, **named)

    monkeypatch.setattr(children.os, "open", slow)
    assert writes.counted(made) == expected


@NEEDS_STRACE
def test_no_fault_at_a_call_of_the_journal_and_of_keys_gives_way(tmp_path):
    for operation in (keeping.OPERATIONS[1], keeping.OPERATIONS[2]):
        made = Bench(operation, tmp_path)
        made.prepare()
        tried = [*writes.trials(made, 6, 0)]
        assert [trial.fault for trial in tried if trial.found.faults] == []
        assert len(tried) == 6
        assert {trial.found.ended.end for trial in tried} >= {children.REFUSED, children.KILLED}


@NEEDS_STRACE
def test_a_folder_that_vanishes_is_refused_or_does_no_harm(tmp_path):
    made = Bench(keeping.OPERATIONS[0], tmp_path)
    made.prepare()
    tried = [*races.vanishing(made, 3, 0)]
    assert [trial.found.faults for trial in tried] == [[], [], []]


def test_few_descriptors_are_refused_and_clocks_do_no_harm(tmp_path):
    made = Bench(keeping.OPERATIONS[1], tmp_path)
    made.prepare()
    tried = [*limits.descriptors(made, 0, 0)]
    assert [trial.found.ended.end for trial in (tried[0], tried[-1])] == [children.DONE, children.REFUSED]
    tried += limits.clocks(made, 0, 0)
    assert [trial.fault for trial in tried if trial.found.faults] == []


def test_what_a_run_ends_with_is_told_apart(tmp_path):
    def killed():
        os.kill(os.getpid(), 9)

    def refused():
        raise OSError(errno.ENOSPC, "full", "data/a")

    def wrong():
        raise ValueError("a fault")

    ends = [children.run(act, tmp_path) for act in (dict, killed, refused, wrong)]
    assert [each.end for each in ends] == ["done", "killed", "refused", "traceback"]
    assert ends[2].said == "data/a: No space left on device; free some space, and run again"


LOG = """\
openat(AT_FDCWD</w>, "data/a", O_RDONLY|O_CLOEXEC) = 3</w/data/a>
close(3</w/data/a>) = 0
openat(AT_FDCWD</w>, "data/b", O_WRONLY|O_CREAT|O_CLOEXEC, 0666) = 3</w/data/b>
write(3</w/data/b>, ""..., 12) = 12
write(2</dev/null>, ""..., 12) = 12
write(3</w/data/b>, ""..., 12) = -1 EIO (Input/output error) (INJECTED)
close(3</w/data/b>) = 0
rename("data/b", "/w/data/c") = 0
unlinkat(4</w/data>, "d", 0) = 0
mkdir("/elsewhere/e", 0777) = 0
"""


def test_calls_that_write_in_the_folder_are_counted_as_strace_counts_them():
    found = [(call.name, call.number, call.path) for call in calls.within(LOG, Path("/w"), 1)]
    assert found == [
        ("openat", 2, "data/b"),
        ("write", 1, "data/b"),
        ("write", 3, "data/b"),
        ("close", 2, "data/b"),
        ("rename", 1, "data/c"),
        ("unlinkat", 1, "data/d"),
    ]
    assert calls.hit(LOG, Path("/w")) == "data/b"
    assert calls.hit(LOG, Path("/v")) is None


def test_faults_that_are_drawn_come_from_each_call(tmp_path):
    many = [calls.Call("write", number, "a") for number in range(90)]
    few = [calls.Call("fsync", number, "a") for number in range(10)]
    drawn = spread([*many, *few], 20, random.Random(0))
    assert [sum(call.name == name for call in drawn) for name in ("write", "fsync")] == [18, 2]
    assert spread(few, 20, random.Random(0)) == few


def test_the_table_names_what_gave_way():
    held = Trial("fsync", "EIO at fsync 1 (a)", _found([]))
    broken = Trial("write", "EIO at write 1 (a)", _found(["a is gone"]))
    table = injected.table({"ingest": [held, broken]})
    assert "| ingest | fsync 1, write 1 | 2 | 1 | 1 |" in table
    assert table.endswith("- ingest: EIO at write 1 (a): refused; a is gone")


def _found(faults):
    return Found(children.Ended("refused", "no"), faults)


def test_a_child_collects_no_garbage_which_would_shift_the_counts_of_its_calls(tmp_path):
    assert gc.isenabled()
    assert children.run(gc.isenabled, tmp_path).value is False

"""A command in the background runs when it is asked for, one run at a time, and once more at the end."""

import sys
import threading
import time
from pathlib import Path

import pytest

from flows.runtime import background
from flows.runtime.background import Background


class Counted:
    """A command that appends a line to a file, and what is said of its runs."""

    def __init__(self, code, seconds=0.0):
        self.done, self.failed = threading.Semaphore(0), []
        body = f"import os; open('runs', 'a').write(f'{{os.getpriority(os.PRIO_PROCESS, 0)}}\\n'); {code}"
        self.background = Background([sys.executable, "-c", body], seconds, self.done.release, self.failed.append)

    @property
    def runs(self):
        return Path("runs").read_text().splitlines() if Path("runs").exists() else []


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(background, "PAUSE", 0.01)


def test_it_runs_when_somebody_asks_with_the_lowest_priority():
    counted = Counted("pass")
    with counted.background.running():
        for _ in range(2):
            counted.background.ask()
            assert counted.done.acquire(timeout=60)
    assert counted.runs == ["19", "19"] and not counted.failed


def test_what_was_asked_for_at_the_end_is_done_before_the_block_ends():
    counted = Counted("pass", seconds=1e6)
    with counted.background.running():
        counted.background.ask()
        assert counted.done.acquire(timeout=60)
        counted.background.ask()  # not due yet
    assert len(counted.runs) == 2


def test_nothing_runs_where_nobody_asks():
    counted = Counted("pass")
    with counted.background.running():
        time.sleep(0.1)
    assert not counted.runs


def test_a_run_that_fails_is_told_and_repeated():
    counted = Counted("import sys; os.path.exists('good') or sys.exit('no room')")
    with counted.background.running():
        counted.background.ask()
        while not counted.failed:
            time.sleep(0.01)
        Path("good").touch()
        assert counted.done.acquire(timeout=60)
    assert {*counted.failed} == {"no room"}


def test_a_run_that_takes_too_long_at_the_end_is_ended(monkeypatch):
    monkeypatch.setattr(background, "LAST", 0.1)
    counted = Counted("import time; time.sleep(1000)")
    with counted.background.running():
        counted.background.ask()
        while not counted.runs:
            time.sleep(0.01)
        monkeypatch.setattr(background.processes, "SECONDS_OF_GRACE", 1.0)
    assert counted.failed == ["it took too long"] * 2

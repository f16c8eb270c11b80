import io
import os
import signal
import stat
import subprocess
import sys
import threading
import time

import psutil
import pytest

from flows.runtime import processes


def _alive(pids):
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


def _gone(pids):
    """Whether they end, within a time that is long enough for a busy machine."""
    deadline = time.monotonic() + 30
    while _alive(pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not _alive(pids)


def _started(process, count):
    """The process ids that the lines of a process say."""
    return [process.pid, *(int(line) for _, line in zip(range(count), processes.lines(process.stdout), strict=False))]


def test_an_interruption_leaves_no_child_and_no_grandchild(tmp_path):
    script = "echo $$; sleep 300 & echo $!; sh -c 'sleep 300 & echo $!; wait' & wait"
    with pytest.raises(KeyboardInterrupt), processes.group(["sh", "-c", script], os.environ, tmp_path) as process:
        family = _started(process, 3)
        assert len(_alive(family)) >= 3
        raise KeyboardInterrupt
    assert _alive(family) == []


def test_a_process_of_a_session_of_its_own_is_ended_as_well(tmp_path):
    start = "p = subprocess.Popen(['sleep', '300'], start_new_session=True)"
    script = f"import subprocess; {start}; print(p.pid, flush=True); p.wait()"
    with pytest.raises(SystemExit), processes.group([sys.executable, "-c", script], os.environ, tmp_path) as process:
        family = _started(process, 1)
        raise SystemExit(143)
    assert _alive(family) == []


def test_a_process_that_will_not_end_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "SECONDS_OF_GRACE", 0.3)
    script = "trap '' TERM; echo $$; while true; do sleep 0.1; done"
    with pytest.raises(KeyboardInterrupt), processes.group(["sh", "-c", script], os.environ, tmp_path) as process:
        family = _started(process, 1)
        raise KeyboardInterrupt
    assert _alive(family) == []


def test_a_process_left_behind_is_ended_and_nobody_waits_for_it(tmp_path):
    with processes.group(["sh", "-c", "sleep 300 & echo $!; exit 5"], os.environ, tmp_path) as process:
        family = [int(line) for line in processes.lines(process.stdout)]
        assert process.wait() == 5
    assert len(family) == 1
    assert _alive(family) == []


PARENT = """
import os, sys
from pathlib import Path
from flows.runtime import processes
script = "setsid sleep 300 & echo $!; sleep 300 & echo $!; wait"
with processes.group(["sh", "-c", script], os.environ, Path.cwd()) as process:
    said = processes.lines(process.stdout)
    print(process.pid, next(said), next(said), flush=True)
    process.wait()
"""


def test_a_starter_that_is_killed_takes_its_family_along(tmp_path):
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as starter:
        family = [int(word) for word in starter.stdout.readline().split()]
        family += [each.pid for each in psutil.Process(family[0]).children(recursive=True)]
        assert len(_alive(family)) >= 4
        starter.kill()
    assert _gone(family)


def test_a_guard_that_is_killed_leaves_no_process_either(tmp_path):
    with processes.group(["sh", "-c", "sleep 300 & echo $!; wait"], os.environ, tmp_path) as process:
        family = _started(process, 1)
        process.kill()
    assert _gone(family)


def test_a_head_that_looks_after_its_children_is_told_alone_and_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "SECONDS_OF_GRACE", 1)
    child = "sh -c 'trap \"echo told\" TERM; sleep 300 & wait; sleep 300'"
    script = f"{child} & trap 'trap - TERM; echo once' TERM; echo ready; wait; while true; do sleep 0.1; done"
    with processes.group(["sh", "-c", script], os.environ, tmp_path, told="head") as process:
        said = processes.lines(process.stdout)
        assert next(said) == "ready"
        family = [each.pid for each in psutil.Process(process.pid).children(recursive=True)]
        process.terminate()
        assert list(said) == ["once"]
        assert process.wait() == 128 + signal.SIGTERM
    assert _gone(family)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt")
def test_a_process_left_behind_that_dies_is_waited_for(tmp_path):
    script = "(sleep 0.1 & echo $!); sleep 300"
    with processes.group(["sh", "-c", script], os.environ, tmp_path) as process:
        left = int(next(processes.lines(process.stdout)))
        deadline = time.monotonic() + 30
        while psutil.pid_exists(left) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not psutil.pid_exists(left)


def test_a_command_that_is_not_there_says_so(tmp_path):
    with processes.group(["no-such-command"], os.environ, tmp_path) as process:
        assert list(processes.lines(process.stdout)) == ["no-such-command: No such file or directory"]
        assert process.wait() == 127


def test_a_program_that_is_kept_is_started_again_until_it_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "SECONDS_BEFORE_AGAIN", 0.01)
    between = threading.Event()
    log = tmp_path / "log"
    command = ["sh", "-c", "echo $$; sleep 300"]
    with processes.Kept("sleeper", command, os.environ, log, between=between.set) as kept:
        first = _line(log, 0)
        os.kill(first, signal.SIGKILL)
        second = _line(log, 1)
        assert between.is_set()
    assert kept.codes == [128 + signal.SIGKILL]
    assert first != second
    assert _gone([first, second])


def test_nobody_else_reads_what_a_program_that_is_kept_writes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = tmp_path / "log"
    with processes.Kept("writer", ["sh", "-c", "touch made; mkdir inside; echo $$; sleep 300"], os.environ, log):
        _line(log, 0)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("log", "made", "inside")] == [
        0o600,
        0o600,
        0o700,
    ]


def _line(log, number):
    """The process id in a line of a log, waited for."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = log.read_text().splitlines() if log.exists() else []
        if len(found) > number:
            return int(found[number])
        time.sleep(0.02)
    raise AssertionError(f"line {number} never came")


def test_lines_come_as_they_are_printed(tmp_path):
    script = "echo ready; for i in $(seq 200); do [ -f go ] && exit 0; sleep 0.05; done; exit 1"
    with processes.group(["sh", "-c", script], os.environ, tmp_path) as process:
        for line in processes.lines(process.stdout):
            assert line == "ready"
            (tmp_path / "go").touch()
        assert process.wait() == 0


def test_of_a_progress_bar_only_a_sample_is_shown_and_colours_are_not(monkeypatch):
    now = iter(range(0, 1000, 4))
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    redraws = b"".join(b"\x1b[32mepoch %d\x1b[0m\r" % i for i in range(9))
    shown = list(processes.lines(io.BytesIO(b"start\n" + redraws + b"\xff end\r\nlast")))
    assert shown[0] == "start"
    assert shown[-2:] == ["\N{REPLACEMENT CHARACTER} end", "last"]
    assert 1 < len(shown) - 3 < 9
    assert all(line.startswith("epoch ") for line in shown[1:-2])

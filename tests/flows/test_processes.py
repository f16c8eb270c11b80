import io
import os
import sys
import time

import psutil
import pytest

from flows import processes


def _alive(pids):
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


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

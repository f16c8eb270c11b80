"""The sign of life of a step: it comes while the step is silent, and only where somebody waits."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.runtime import heartbeat as module
from flows.runtime.heartbeat import heartbeat


@pytest.fixture(autouse=True)
def _no_worker(monkeypatch):
    monkeypatch.delenv(module.WORKERS_RUN, raising=False)


def _wait_for(capsys, text):
    said, deadline = "", time.monotonic() + 60
    while text not in said and time.monotonic() < deadline:
        time.sleep(0.01)
        said += capsys.readouterr().err
    assert text in said
    return said


def test_a_silent_step_says_that_it_goes_on(capsys):
    with heartbeat("stage2", 0.01):
        assert _wait_for(capsys, "s\n  stage2 … 0 s").startswith("  stage2 … 0 s\n")
    capsys.readouterr()
    time.sleep(0.05)
    assert capsys.readouterr().err == ""


def test_a_step_that_speaks_or_ends_soon_is_left_alone(capsys):
    with heartbeat("stage2", 600) as spoken:
        spoken()
    assert capsys.readouterr() == ("", "")


def test_the_run_of_a_worker_has_none(capsys, monkeypatch):
    monkeypatch.setenv(module.WORKERS_RUN, "1")
    with heartbeat("stage2", 0.01) as spoken:
        spoken()
        time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_it_ends_with_a_step_that_fails(capsys):
    with pytest.raises(KeyboardInterrupt), heartbeat("stage2", 0.01):
        raise KeyboardInterrupt
    capsys.readouterr()
    time.sleep(0.05)
    assert capsys.readouterr().err == ""


def test_as_a_program_it_needs_python_alone_and_ends_as_the_command(tmp_path):
    command = [sys.executable, "-I", "-S", "-P", str(Path(module.__file__)), "installing", sys.executable, "-c"]
    done = subprocess.run([*command, "print('said'); raise SystemExit(3)"], cwd=tmp_path, capture_output=True)
    assert (done.returncode, done.stdout.strip()) == (3, b"said")

"""Logs are text, or JSON where a variable says so."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.runtime import logs

ROOT = Path(__file__).parents[2]
PROGRAM = """
from flows import arguments
arguments.parse("worker", [])
from pipeline.base import escaping
escaping.log("flowsculpt").warning("a file named %s", "a\\nb")
from flows.runtime import logs
logs.say("worker", "polls cpu")
from prefect.logging import get_logger
from prefect.logging.configuration import setup_logging
setup_logging()
get_logger().info("it %s", "goes", extra={"flow_run_name": "calm-fox"})
try:
    1 / 0
except ZeroDivisionError:
    get_logger().exception("it ended")
"""


def logged(tmp_path, **variables):
    """What a program logs, on standard output and standard error."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "PREFECT_HOME": str(tmp_path)} | variables
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_logs_are_json_where_the_variable_says_so(tmp_path):
    out, err = logged(tmp_path, FLOWSCULPT_LOG_FORMAT="json")
    said, warned, went, ended = (json.loads(line) for line in (out + err).splitlines())
    assert (said["logger"], said["message"], said["level"]) == ("worker", "polls cpu", "info")
    assert (warned["logger"], warned["message"], warned["level"]) == ("flowsculpt", "a file named a\\nb", "warning")
    assert (went["message"], went["flow_run_name"]) == ("it goes", "calm-fox")
    assert ended["level"] == "error" and "ZeroDivisionError" in ended["traceback"]
    assert all(each["time"].endswith("+00:00") for each in (said, warned, went, ended))


def test_logs_are_text_otherwise(tmp_path):
    out, err = logged(tmp_path)
    assert out == "worker: polls cpu\n"
    assert err.startswith("a file named a\\nb\n") and "| INFO    | prefect - it goes" in err


@pytest.mark.parametrize(("value", "found"), [("json", True), (" JSON", True), ("text", False), ("", False)])
def test_the_variable_is_read_as_people_write_it(monkeypatch, value, found):
    monkeypatch.setenv(logs.VARIABLE, value)
    assert logs.is_json() is found

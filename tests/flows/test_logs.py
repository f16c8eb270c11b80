"""Logs are text, or JSON where a variable says so."""

import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from prefect.logging.formatters import PrefectFormatter
from uvicorn.logging import AccessFormatter

from flows.runtime import logs
from flows.runtime.log_addresses import ShortRecord, short

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


# The log of the Prefect server.

SECRET = "T0/B0/its-secret"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (f"for url 'https://hooks.example/{SECRET}'", "for url 'https://hooks.example/***"),
        (
            "POST https://who:knows@hooks.example:8443?key=its-secret failed",
            "POST https://hooks.example:8443/*** failed",
        ),
        ("https://hooks.example/a@its-secret/b, again", "https://hooks.example/*** again"),
        ("runs on http://127.0.0.1:4200 now", "runs on http://127.0.0.1:4200 now"),
        ("see 'http://127.0.0.1:4200/'.", "see 'http://127.0.0.1:4200/'."),
        ("postgresql+asyncpg://who:knows@db:5432/prefect", "postgresql+asyncpg://db:5432/***"),
        ("a/b://", "a/b://"),
        ("/api/flow_runs/1", "/api/flow_runs/1"),
    ],
)
def test_an_address_in_the_log_of_the_server_ends_with_its_host(given, expected):
    assert short(given) == expected


@pytest.mark.parametrize(
    "form", [logging.Formatter("%(message)s"), logs.JsonFormatter(), PrefectFormatter("%(message)s")]
)
def test_the_address_of_a_call_that_failed_is_in_no_log_of_the_server(form):
    request = httpx.Request("POST", f"https://hooks.example/{SECRET}")
    written, logger = io.StringIO(), logging.getLogger("prefect.server.consumer")
    handler = logging.StreamHandler(written)
    handler.setFormatter(form)
    try:
        try:
            httpx.Response(500, request=request).raise_for_status()
        except httpx.HTTPStatusError as error:
            raise RuntimeError(f"not sent to {request.url}") from error
    except RuntimeError:
        about = (logger.name, logging.ERROR, __file__, 1, "%s failed", (request.url,), sys.exc_info())
        handler.handle(ShortRecord(*about))
    said = written.getvalue()
    assert "its-secret" not in said
    assert said.count("https://hooks.example/***") == 3 and "HTTPStatusError" in said and "RuntimeError" in said


def test_the_log_of_requests_keeps_its_parts():
    """Uvicorn's formatter takes them one by one."""
    parts = ("127.0.0.1:5", "GET", "/?next=http://a/b", "1.1", 200)
    record = ShortRecord("uvicorn.access", logging.INFO, __file__, 1, '%s - "%s %s HTTP/%s" %d', parts, None)
    assert "GET /?next=http://a/b HTTP/1.1 200" in AccessFormatter("%(request_line)s %(status_code)s").format(record)

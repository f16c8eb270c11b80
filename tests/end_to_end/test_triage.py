"""The triage page as a program, in a real browser: five marks by keyboard, one of them taken back."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from benchmarks import made_alerts
from pipeline.artifacts import labels
from pipeline.artifacts.tables import read_table
from tests.end_to_end.browser import PROGRAM, browser
from tests.end_to_end.triage import ROOT, log_in, mark, mark_until_killed, open_incident, serving

A4 = 688  # CSS pixels between the margins of the style sheet


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made_alerts.project(tmp_path)
    made_alerts.write(300)
    return tmp_path


def marked():
    return [(label.record_id, label.attack) for label in labels.read()]


@pytest.mark.skipif(PROGRAM is None, reason="needs Chromium")
def test_five_alerts_are_marked_by_keyboard_and_one_is_taken_back(project):
    with serving(project) as (address, _), browser() as page:
        page.size(1400, 900)
        page.open(address, "Your name", "Secret")
        page.wait("document.activeElement.name === 'name'")
        log_in(page, address)
        assert page.script("getComputedStyle(document.querySelector('.top')).display") == "flex"  # the style is let in
        page.keys("?")
        assert page.script("document.querySelector('dialog').open") is True
        page.script("document.querySelector('dialog').close()")
        page.keys("/")
        assert page.script("document.activeElement.name") == "host"
        page.type("172.16.0.23")
        page.keys("Enter")
        page.wait("location.search.includes('172.16.0.23') && document.querySelector('tr.at')")
        assert page.script("document.querySelectorAll('tr[data-row]').length") == 1
        page.keys("Enter")
        page.wait("location.pathname.startsWith('/incident/') && document.querySelector('tr.at')")
        wanted = page.script("[...document.querySelectorAll('td.tick input')].slice(0, 5).map(x => x.value).join()")
        page.keys("x", "j", "x", "j", "x", "j", "x")
        assert page.script("document.querySelector('[data-count]').textContent") == "4 chosen"
        page.keys("a")
        assert page.script("document.activeElement.name") == "name"
        page.type("port scan")
        page.keys("Enter")
        page.wait("document.querySelector('.message')?.textContent.includes('4 alerts marked port_scan')")
        page.keys("j", "b")
        page.wait("document.querySelector('.message')?.textContent.includes('1 alert marked benign')")
        records = _records(wanted.split(","))
        assert marked() == [(number, "port_scan") for number in records[:4]] + [(records[4], "benign")]
        page.keys("z")
        page.wait("document.querySelector('.message')?.textContent.includes('1 mark taken back')")
        assert marked()[5:] == [(records[4], "taken_back")]
        page.keys("2")
        page.wait("location.pathname == '/marks' && document.readyState == 'complete'")
        assert page.text().count("port_scan") == 4
    in_force = labels.in_force(labels.read())
    assert {number: label.attack for number, label in in_force.items()} == dict.fromkeys(records[:4], "port_scan")
    assert {label.by for label in in_force.values()} == {"ada"}


@pytest.mark.skipif(PROGRAM is None, reason="needs Chromium")
def test_an_attack_that_nobody_has_named_is_marked_by_its_new_name(project):
    with serving(project) as (address, _), browser() as page:
        page.size(1400, 900)
        log_in(page, address)
        keys = open_incident(page, address, "host=203.0.113.77")
        assert mark(page, 5, "attack", "tea pot", is_new=True) == "5 alerts marked tea_pot."
    assert marked() == [(number, "tea_pot") for number in _records(keys[:5])]


def _records(keys):
    (path,) = Path("data/scored/alerts").iterdir()
    rows = read_table(path, ["alert", "record_id"]).to_pylist()
    numbers = {row["alert"]: row["record_id"] for row in rows}
    return [numbers[key] for key in keys]


@pytest.mark.skipif(PROGRAM is None, reason="needs Chromium")
@pytest.mark.parametrize(("width", "media"), [(390, "screen"), (A4, "print")])
def test_no_page_is_wider_than_a_phone_or_than_paper(project, width, media):
    with serving(project) as (address, _), browser() as page:
        page.size(width, 844)
        page.call("Emulation.setEmulatedMedia", media=media)
        log_in(page, address)
        incident, key = page.script("document.querySelector('a.open').pathname"), _first_key()
        for path in ("/", incident, f"/alert/{key}", "/marks", "/model"):
            page.open(f"{address}{path}", "flowsculpt")
            page.wait("document.documentElement.className == 'script'")  # the style is there by then
            assert page.script("document.documentElement.scrollWidth") <= width, path


def _first_key():
    (path,) = Path("data/scored/alerts").iterdir()
    return read_table(path, ["alert"]).column(0)[0].as_py()


def test_a_kill_at_any_moment_loses_no_mark_that_was_acknowledged(project):
    (path,) = Path("data/scored/alerts").iterdir()
    rows = read_table(path, ["alert", "record_id"]).to_pylist()
    acknowledged = []
    for seed in range(2):
        with serving(project) as (address, process):
            delay = random.Random(seed).uniform(0.1, 0.6)
            acknowledged += mark_until_killed(address, process, rows[seed * 150 : (seed + 1) * 150], delay)[1]
    there = {number for number, _ in marked()}
    assert len(acknowledged) > 0
    assert {*acknowledged} <= there
    for line in Path("data/labels.jsonl").read_text().splitlines()[:-1]:
        json.loads(line)  # half a line is at most the last


def test_the_first_start_makes_a_secret_and_a_signal_ends_the_page(project):
    env = {name: value for name, value in os.environ.items() if name != "FLOWSCULPT_TRIAGE_SECRET"}
    command = [sys.executable, "-m", "flows.triage", "--port", "0"]
    process = subprocess.Popen(
        command, cwd=project, env=env | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    )
    try:
        said = process.stdout.readline()
        assert "asks for the line in .triage/secret" in said
        secret = Path(".triage/secret").read_text().strip()
        assert secret not in said
        address = re.search(r"http://\S+", said)[0]
        answer = httpx.post(f"{address}/login", data={"name": "ada", "secret": secret}, trust_env=False)
        assert answer.status_code == 303 and answer.headers["location"] == "/"
        taken = subprocess.run(
            [*command[:-1], address.rpartition(":")[2]],
            cwd=project, env=env | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        )  # fmt: skip
        assert taken.returncode == 1 and "choose another" in taken.stderr
        process.send_signal(signal.SIGTERM)
        start = time.monotonic()
        process.wait(30)
        assert time.monotonic() - start < 30
    finally:
        process.kill()
        process.wait(30)
        process.stdout.close()

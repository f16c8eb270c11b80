"""The triage page of a project as a program, and a person who works with it in a browser."""

import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
SECRET = "the secret of an end"


@contextmanager
def serving(folder):
    """The page of a project; gives its address and its process."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "FLOWSCULPT_TRIAGE_SECRET": SECRET, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "flows.triage", "--port", "0"]
    with (folder / "triage.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            said = process.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:\d+", said)
            assert found, said + (folder / "triage.log").read_text()
            yield found[0], process
        finally:
            process.kill()
            process.wait(30)
            process.stdout.close()


def mark_until_killed(address, process, rows, seconds):
    """Mark alerts until the page is killed; gives how many marks were sent, and ids of the acknowledged records."""
    acknowledged = []
    with httpx.Client(base_url=address, trust_env=False, timeout=60) as client:
        client.post("/login", data={"name": "ada", "secret": SECRET})
        token = re.search(r'name="csrf" value="([^"]+)"', client.get("/").text)[1]
        killer = threading.Timer(seconds, lambda: process.send_signal(signal.SIGKILL))
        killer.start()
        sent = 0
        for row in rows:
            sent += 1
            form = {"csrf": token, "what": "benign", "alert": row["alert"], "back": "/"}
            try:
                assert client.post("/marks", data=form).status_code == 303
            except httpx.TransportError:
                break
            acknowledged.append(row["record_id"])
        killer.join()
    return sent, acknowledged


def log_in(page, address, name="ada"):
    """Log in by keyboard; the page shows the queue then."""
    page.open(f"{address}/login", "Your name", "Secret")
    for field, text in (("name", name), ("secret", SECRET)):
        page.fill(f"form.login [name={field}]", text)
    page.keys("Enter")
    page.wait("document.querySelector('nav.top') && document.documentElement.className == 'script'")


def open_incident(page, address, query=""):
    """Open the first incident that fits a filter, such as ``host=10.0.0.7``; gives the keys of the alerts it shows."""
    page.open(f"{address}/?{query}", "Incidents")
    page.wait("document.querySelector('tr.at')")
    page.keys("Enter")
    page.wait("location.pathname.startsWith('/incident/') && document.querySelector('tr.at')")
    return page.script("[...document.querySelectorAll('td.tick input')].map(each => each.value).join()").split(",")


def mark(page, rows, what, name="", is_new=False):
    """Mark the first ``rows`` alerts or incidents of the page by keyboard: ``attack``, ``benign`` or ``unsure``."""
    page.script("go(0)")
    for row in range(rows):
        page.keys(*("j" * (row > 0)), "x")
    if is_new:
        page.script("document.querySelector('[name=new]').checked = true")
    page.keys({"attack": "a", "benign": "b", "unsure": "u"}[what])
    if what == "attack":
        page.type(name)
        page.keys("Enter")
    page.wait("document.querySelector('.message')?.textContent.match(/alerts? marked/)")
    return page.script("document.querySelector('.message span').textContent")

"""A desk with a few alerts, and a browser without a window that talks to the page."""

import asyncio
import re
import shutil
from html import unescape
from pathlib import Path

import httpx
import pytest

from benchmarks import made_alerts
from flows.triage.app import build
from flows.triage.desk import Desk
from flows.triage.sessions import Sessions
from pipeline.artifacts import labels

ROOT = Path(__file__).parents[3]
SECRET = "a secret of the tests"
BASE = "http://127.0.0.1:4300"


class Page:
    """One person in one browser."""

    def __init__(self, app, base=BASE, address="127.0.0.1"):
        self.app, self.base, self.address, self.cookies = app, base, address, httpx.Cookies()

    def ask(self, method, path, follow=True, **given):
        async def answer():
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(self.app, client=(self.address, 50_000)),
                base_url=self.base,
                cookies=self.cookies,
            ) as client:
                found = await client.request(method, path, follow_redirects=follow, **given)
                self.cookies = client.cookies
                return found

        return asyncio.run(answer())

    def get(self, path, **given):
        return self.ask("GET", path, **given)

    def post(self, path, fields, **given):
        return self.ask("POST", path, data=fields, **given)

    def log_in(self, name="ada", secret=SECRET, **given):
        return self.post("/login", {"name": name, "secret": secret}, **given)

    @property
    def token(self):
        return unescape(re.search(r'name="csrf" value="([^"]+)"', self.get("/").text)[1])

    def mark(self, what, alerts=(), **fields):
        """Mark alerts, and go where the page leads."""
        return self.post("/marks", {"csrf": self.token, "what": what, "alert": [*alerts], "back": "/", **fields})


@pytest.fixture(scope="session")
def scored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scored")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        made_alerts.project(folder)
        made_alerts.write(400, records=390)
    return folder


@pytest.fixture
def place(scored, tmp_path, monkeypatch):
    monkeypatch.chdir(shutil.copytree(scored, tmp_path / "project"))
    return Path.cwd()


@pytest.fixture
def desk(place):
    made = Desk()
    made.refresh()
    assert not made.fault
    return made


@pytest.fixture
def app(desk):
    return build(desk, Sessions(SECRET))


@pytest.fixture
def page(app):
    made = Page(app)
    made.log_in()
    return made


@pytest.fixture
def marked():
    """What the log says of each record."""
    return lambda: {number: label.attack for number, label in labels.last(labels.read()).items()}

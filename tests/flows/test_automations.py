"""Notifications: what a Prefect server tells people of, by way of real blocks, to a sink on this machine."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

from flows import automations
from flows.runtime import access, channels, servers
from flows.runtime.notices import NOTICES
from pipeline.settings.notify import RUN_BOOK

ROOT = Path(__file__).parents[2]
LOGIN = "who:knows"
PATIENCE = 60  # seconds


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """A Prefect server with its services: they evaluate triggers and send notifications."""
    home = tmp_path_factory.mktemp("prefect")
    with pytest.MonkeyPatch.context() as patch, temporary_settings({PREFECT_HOME: home}):
        patch.setenv("PREFECT_HOME", str(home))
        server = servers.prefect(servers.free_port(), login=LOGIN, options=("--no-ui", "--log-level", "ERROR"))
        with server as api, temporary_settings({PREFECT_API_URL: api, PREFECT_LOGGING_TO_API_ENABLED: False}):
            patch.setenv("PREFECT_API_URL", api)
            patch.setenv(access.PREFECT_CLIENT, LOGIN)
            yield api


@contextmanager
def listening(status=200):
    """An HTTP sink: its address, and what it got."""
    got = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.put((dict(self.headers), json.loads(body)))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/told", got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def sink():
    with listening() as made:
        yield made


@pytest.fixture
def project(tmp_path, monkeypatch, sink):
    """A project that tells its sink; ``project(again=900)`` changes a setting."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prefect.yaml").write_text((ROOT / "prefect.yaml").read_text())
    monkeypatch.setenv(channels.variable("webhook"), f"{sink[0]}\nAuthorization: Bearer abc")

    def write(model="flowsculpt", **changed):
        notify = {"channels": ["webhook"], "run_book": "https://docs.example/run-book", "late": 10, "again": 0}
        text = f"tracking: {{experiment: {model}, model: {model}}}\nnotify: {json.dumps(notify | changed)}\n"
        (tmp_path / "params.yaml").write_text(text)

    write()
    return write


@flow(name="training", persist_result=False)
def failing():
    raise ValueError("the disk is full")


def run(deployment):
    """Run a flow of that name as a worker does."""
    with get_client(sync_client=True) as client:
        made = client.create_deployment(client.create_flow(failing), deployment)
        run = client.create_flow_run_from_deployment(made)
    return run_flow(failing, flow_run=run, return_type="state")


def next_of(sink):
    try:
        return sink[1].get(timeout=PATIENCE)
    except Empty:
        pytest.fail("nothing came")


def test_a_run_that_fails_is_told_with_its_entry_in_the_run_book(api, project, sink, capsys):
    assert automations.main(["apply"]) == 0
    assert "flowsculpt-run-failed: made" in capsys.readouterr().out
    assert run("training").is_failed()
    headers, told = next_of(sink)
    assert headers["Authorization"] == "Bearer abc"
    assert told["title"] == "flowsculpt: a run failed"
    assert "the disk is full" in told["text"] and "of the deployment training" in told["text"]
    assert told["text"].endswith("What to do: https://docs.example/run-book#run-failed")


@pytest.mark.parametrize("notice", NOTICES, ids=lambda each: each.name)
def test_each_notification_links_to_an_entry_of_the_run_book(notice):
    page = ROOT / RUN_BOOK
    assert f"\n## {notice.name}\n" in page.read_text()
    assert notice.body(RUN_BOOK).endswith(f"{page.relative_to(ROOT)}#{notice.name}")

"""No credential of the tracking store stands in anything that a stage leaves behind."""

import os
import subprocess
import sys
import textwrap
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from pipeline import tracking
from pipeline.base import escaping
from pipeline.base.errors import ConfigError, DataError
from pipeline.tracking import store

SECRET = "pl4nted-s3cret"
STAGE = """
    import os, sys
    from pathlib import Path
    from pipeline import tracking

    note = Path("note.txt")
    note.write_text("hello")
    told = os.environ["MLFLOW_TRACKING_URI"], os.environ.get("MLFLOW_TRACKING_PASSWORD", "")
    settings = {"uri": told[0], "word": told[1]}
    with tracking.stage("told", settings, {}, lambda: "x") as run:
        run.metrics({"loss": 1.0})
        run.file(note)
        run.dataset("records", told[0], "0" * 36, 1, {"x": "float32"}, "training")
        if sys.argv[1] == "fail":
            raise ValueError(f"cannot reach {told[0]} with {told[1]}")
"""


class Answers(BaseHTTPRequestHandler):
    """Always the same, and remembers who asked."""

    asked: list[str]

    def do_GET(self):
        self.server.asked.append(f"{self.path} {self.headers['Authorization']}")
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.send_response(self.server.answer)
        self.end_headers()

    do_POST = do_PUT = do_GET  # noqa: N815

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        server.asked, server.answer = [], 503
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _left(root):
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _stage(root, how, **variables):
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "FLOWSCULPT_"))}
    outer |= tracking.environment() | {"PYTHONPATH": str(Path(tracking.__file__).parents[2])} | variables
    (root / "params.yaml").touch()
    command = [sys.executable, "-c", textwrap.dedent(STAGE), how]
    return subprocess.run(command, cwd=root, env=outer, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("how", ["succeed", "fail"])
def test_a_password_in_the_address_or_beside_it_is_told_to_the_server_and_to_nobody_else(how, tmp_path, server):
    uri = f"http://user:{SECRET}@127.0.0.1:{server.server_port}"
    done = _stage(tmp_path, how, MLFLOW_TRACKING_URI=uri, MLFLOW_TRACKING_PASSWORD=SECRET)
    assert done.returncode == (how == "fail"), done.stderr
    kept = _left(tmp_path / "mlflow.outbox")
    assert b'"call": "open"' in b"".join(kept.values())  # the server was away: all of it lies there
    assert [path for path, content in _left(tmp_path).items() if SECRET.encode() in content] == []
    said = done.stdout + done.stderr.partition("Traceback")[0]  # the stage's own error is its own affair
    assert "kept in" in said
    assert SECRET not in said
    assert server.asked
    assert all(asked.endswith("Basic dXNlcjpwbDRudGVkLXMzY3JldA==") for asked in server.asked)


def test_what_the_store_holds_has_no_password(project, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRET)
    note = tmp_path / "note.txt"
    note.write_text("hello")
    with pytest.raises(ValueError, match=SECRET), tracking.stage("told", {"word": SECRET}, {}, lambda: "x") as run:
        run.file(note)
        run.dataset("records", f"http://user:{SECRET}@host", "5" * 36, 1, {"x": "float32"}, "training")
        raise ValueError(f"cannot log in with {SECRET}")
    left = _left(project)
    assert project / "mlflow.db" in left
    assert [path for path, content in left.items() if SECRET.encode() in content] == []


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        (f"http://user:{SECRET}@host:5000/path", "http://host:5000/path"),
        (f"https://user:{SECRET}@ssw0rd@host", "https://host"),
        (f"postgresql://user:{SECRET}@host/name", "postgresql://host/name"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        (f"https://host/?token={SECRET}&a=1", "https://host/?token=***&a=1"),
        (f"https://{SECRET}@host", "https://host"),
    ],
)
def test_the_address_that_is_shown_has_no_credentials(uri, shown, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert tracking.tracking_uri() == shown
    assert tracking.redact(f"cannot open {uri}, says '{uri}'") == f"cannot open {shown}, says '{shown}'"


def test_the_signing_key_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "MC4CAQAwBQYDK2VwBCIEIJ"
    monkeypatch.setenv("FLOWSCULPT_SIGNING_KEY", f"-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n")
    shown = tracking.redact(f"cannot read -----BEGIN PRIVATE KEY-----\n{secret}")
    assert secret not in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"cannot open s3://key:{SECRET}@bucket/x", "cannot open s3://bucket/x"),
        (f"https://a/b?x=1&X-Amz-Signature={SECRET}#c", "https://a/b?x=1&X-Amz-Signature=***#c"),
        (f"https://a/b?api_key={SECRET} and http://c?sig={SECRET}", "https://a/b?api_key=*** and http://c?sig=***"),
        ("abfs://container@account/x", "abfs://container@account/x"),
        ("http://127.0.0.1:5000 says a@b", "http://127.0.0.1:5000 says a@b"),
        ("https://a/b?design=1&sigma=2&author=me", "https://a/b?design=1&sigma=2&author=me"),
        ("see https://x.example?mail=ada@b.example", "see https://x.example?mail=ada@b.example"),
    ],
)
def test_an_error_and_a_log_show_no_secret_of_an_address(text, shown, caplog):
    assert str(DataError(text)) == shown
    escaping.log("flowsculpt").warning(text)
    assert caplog.messages == [shown]


@pytest.mark.parametrize(
    "name",
    ["AWS_SECRET_ACCESS_KEY", "MY_TOKEN", "DB_PASSWORD", "MYSQL_PWD", "PREFECT_API_AUTH_STRING", "PREFECT_API_KEY"],
)
def test_the_value_of_a_variable_that_holds_a_secret_is_never_shown(name, monkeypatch):
    monkeypatch.setenv(name, f"user:{SECRET}")
    assert SECRET not in str(DataError(f"it says user:{SECRET}, or {SECRET} alone"))
    monkeypatch.setenv(name, "on")  # too short to be one
    assert str(DataError("one is on")) == "one is on"


def test_a_token_in_the_address_of_a_server_is_refused(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"https://host/?token={SECRET}")
    with pytest.raises(ConfigError, match=r"ends before `\?`; give a token as MLFLOW_TRACKING_TOKEN") as found:
        store.current()
    assert SECRET not in str(found.value)


def test_a_word_that_holds_a_secret_is_no_secret(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "training")
    assert str(DataError("retraining of training_set, and training")) == "retraining of training_set, and ***"
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "mlflow.example")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example")
    assert tracking.tracking_uri() == "https://mlflow.example"  # whoever is asked is known


def test_the_key_within_a_connection_string_is_hidden(monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", f"AccountName=me;AccountKey={SECRET}==;EndpointSuffix=x.net")
    assert str(DataError(f"the key {SECRET}== of me is refused")) == "the key *** of me is refused"


def test_a_token_that_stands_for_a_user_is_hidden_wherever_it_stands(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"https://{SECRET}@host")
    assert str(DataError(f"{SECRET} is refused")) == "*** is refused"
    monkeypatch.setenv("PWD", "/home/somebody")
    assert str(DataError("/home/somebody is full")) == "/home/somebody is full"


@pytest.mark.parametrize("text", ["://" + ":" * 100_000, "://?" + "token_" * 20_000, "http://" * 20_000])
def test_a_text_of_any_kind_is_searched_in_a_moment(text):
    assert str(DataError(text)) == text

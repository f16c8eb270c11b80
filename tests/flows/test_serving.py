"""Which servers ``serve`` starts, which it finds elsewhere, and what it says of either."""

import os
import shlex
import shutil
import threading
from base64 import b64encode
from contextlib import ExitStack, contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, PREFECT_HOME, temporary_settings

from flows import arguments, serve
from flows.runtime import access, central, processes, servers
from pipeline.base.errors import ConfigError
from pipeline.tracking import store

ROOT = Path(__file__).parents[2]
VARIABLES = (central.SERVED, central.MLFLOW, central.PREFECT, central.TOKEN, central.PREFECT_KEY, *access.MLFLOW_CLIENT)
VARIABLES += (access.PREFECT_CLIENT, access.PREFECT_SERVER, access.MLFLOW_SERVER, access.MLFLOW_KEY)


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """An empty project whose environment says nothing."""
    for name in (*VARIABLES, "DVC_ROOT", store.ROOT_VARIABLE, "FLOWSCULPT_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    yield tmp_path


def chosen(*words, **environ):
    return central.chosen(arguments.parse("serve", words), environ)


def test_without_options_the_servers_are_its_own():
    assert chosen() == central.OWN
    assert not central.OWN.hands_out


def test_options_name_stores_and_servers(project):
    found = chosen("--backend", "postgresql://mlflow@db/mlflow", "--artifacts", "files")
    assert (found.backend, found.artefacts) == ("postgresql://mlflow@db/mlflow", str(project / "files"))
    assert found.hands_out
    assert chosen("--backend", "sqlite:///own.db").backend == f"sqlite:///{project}/own.db"
    assert chosen("--artifacts", "s3://bucket/a").artefacts == "s3://bucket/a"
    found = chosen("--mlflow-uri", "https://mlflow.example/", "--prefect-url", "https://prefect.example/api/")
    assert (found.mlflow, found.prefect) == ("https://mlflow.example/", "https://prefect.example/api")


def test_what_the_environment_names_counts_as_an_option():
    found = chosen(MLFLOW_TRACKING_URI="https://mlflow.example", PREFECT_API_URL="https://prefect.example/api")
    assert (found.mlflow, found.prefect) == ("https://mlflow.example", "https://prefect.example/api")
    assert chosen(MLFLOW_TRACKING_URI="sqlite:////srv/own.db").mlflow == "sqlite:////srv/own.db"


@pytest.mark.parametrize(
    ("words", "environ", "said"),
    [
        (
            ["--backend", "db.example"],
            {},
            r"--backend: 'db.example' is no database that MLflow knows; give one such as",
        ),
        (["--backend", "redis://me:hush@db/0"], {}, r"--backend: 'redis://db/0' is no database"),
        (["--mlflow-uri", "http:///x"], {}, r"--mlflow-uri: 'http:///x' is no address of a server"),
        (["--prefect-url", "https://p.example"], {}, r"is no API of Prefect; that of https://box.example is"),
        (
            ["--mlflow-uri", "https://me:hush@a.example"],
            {"MLFLOW_TRACKING_URI": "https://you:whisper@b.example"},
            r"--mlflow-uri says https://a.example, and MLFLOW_TRACKING_URI says https://b.example; leave out",
        ),
        (
            ["--artifacts", "s3://bucket"],
            {"MLFLOW_TRACKING_URI": "https://you:whisper@b.example"},
            r"--artifacts is for .* named: https://b.example; leave out --artifacts, or unset MLFLOW_TRACKING_URI",
        ),
        (
            ["--backend", "sqlite:///a.db", "--mlflow-uri", "https://b.example"],
            {},
            r"--backend is for .*leave out --mlflow-uri",
        ),
    ],
)
def test_what_contradicts_itself_is_refused_without_a_secret(words, environ, said):
    with pytest.raises(ConfigError, match=said) as refused:
        chosen(*words, **environ)
    assert "hush" not in str(refused.value)
    assert "whisper" not in str(refused.value)


# Servers elsewhere.


@pytest.fixture
def elsewhere():
    """A server that stands for MLflow and Prefect; its status can be set, and it remembers how it was asked."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            server.asked.append((self.path, self.headers.get("Authorization", "")))
            self.send_response(server.status)
            if server.status == 302:
                server.status = 200
                self.send_header("Location", f"http://localhost:{server.server_address[1]}/elsewhere")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    server.status, server.asked = 200, []
    server.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def basic(login):
    return f"Basic {b64encode(login.encode()).decode()}"


def test_a_server_elsewhere_is_asked_with_the_login_that_the_environment_has(elsewhere):
    central.require_mlflow(elsewhere.address, dict(zip(access.MLFLOW_CLIENT, ("me", "hush"), strict=True)))
    central.require_mlflow(elsewhere.address.replace("//", "//you:whisper@"), {})
    central.require_mlflow(elsewhere.address, {central.TOKEN: "hidden"})
    central.require_prefect(f"{elsewhere.address}/api", {access.PREFECT_CLIENT: "who:knows"})
    central.require_prefect(f"{elsewhere.address}/api", {})
    path = "/api/2.0/mlflow/experiments/search?max_results=1"
    assert elsewhere.asked == [
        (path, basic("me:hush")),
        (path, basic("you:whisper")),
        (path, "Bearer hidden"),
        ("/api/admin/version", basic("who:knows")),
        ("/api/admin/version", ""),
    ]


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, r"refuses the login of this environment \(401\); set MLFLOW_TRACKING_USERNAME"),
        (404, "says 404, and should say 200; nothing is served"),
        (503, "says 503, and should say 200; nothing is served"),
    ],
)
def test_a_server_elsewhere_that_cannot_be_used_ends_it(elsewhere, status, said):
    elsewhere.status = status
    with pytest.raises(ConfigError, match=said):
        central.require_mlflow(elsewhere.address, {})


@pytest.mark.parametrize(
    "login", [{central.TOKEN: "hidden"}, {access.MLFLOW_CLIENT[0]: "me", access.MLFLOW_CLIENT[1]: "hush"}]
)
def test_a_redirect_carries_no_login_elsewhere(elsewhere, login):
    elsewhere.status = 302
    central.require_mlflow(elsewhere.address, login)
    (_, first), (path, second) = elsewhere.asked
    assert (bool(first), path, second) == (True, "/elsewhere", "")


def test_a_server_elsewhere_that_does_not_answer_is_named_without_its_login():
    with pytest.raises(ConfigError, match=r"Prefect server: http://127.0.0.1:1/api does not answer; nothing is served"):
        central.require_prefect("http://127.0.0.1:1/api", {})
    with pytest.raises(ConfigError, match=r"MLflow server: http://127.0.0.1:1 does not answer"):
        central.require_mlflow("http://me:hush@127.0.0.1:1", {})


# The program.


@pytest.fixture
def served(project, monkeypatch, capsys):
    """Runs ``serve`` until it has said its words; nothing is started. Gives words, calls, environment and shell."""
    calls, environ = [], {}

    @contextmanager
    def started(name, address):
        yield address

    def pretend(name, address):
        def start(*given, **named):
            calls.append((name, named.get("use")))
            return started(name, address)

        return start

    monkeypatch.setattr(servers, "prefect", pretend("prefect", "http://127.0.0.1:4200/api"))
    monkeypatch.setattr(servers, "mlflow", pretend("mlflow", "http://127.0.0.1:5000"))
    monkeypatch.setattr(servers, "triage", pretend("triage", "http://127.0.0.1:4300"))
    monkeypatch.setattr(serve.tracking, "require_handed_out", lambda: calls.append(("handed out", None)))
    monkeypatch.setattr(access, "require", lambda *_: None)
    monkeypatch.setattr(serve, "_gpu_workers", lambda: ())
    monkeypatch.setattr(serve.working_copy, "check", lambda _: None)

    @contextmanager
    def worker(name, command, env, told):
        environ.update(env)
        yield

    monkeypatch.setattr(processes, "Kept", worker)

    def run(*words, **variables):
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        calls.clear()
        environ.clear()
        blank = {PREFECT_HOME: project / ".prefect", PREFECT_API_URL: None, PREFECT_API_AUTH_STRING: None}
        with temporary_settings(blank), ExitStack() as held:
            kept = dict(os.environ)
            try:
                serve.serve(arguments.parse("serve", [*run.options, *words]), held, threading.Event())
            finally:
                os.environ.clear()
                os.environ.update(kept)
            shell = shlex.split((project / ".prefect" / "env").read_text())
        pairs = dict(word.split("=", 1) for word in shell if word != "export")
        return capsys.readouterr().out, [name for name, _ in calls], dict(environ), pairs

    run.calls, run.options = calls, ["--no-deploy"]
    return run


def test_by_itself_it_starts_both_servers_and_says_that_files_stay_here(served):
    said, calls, environ, shell = served()
    assert calls == ["prefect", "mlflow", "triage"]
    assert environ[central.MLFLOW] == shell[central.MLFLOW] == "http://127.0.0.1:5000"
    assert environ[central.PREFECT] == shell[central.PREFECT] == "http://127.0.0.1:4200/api"
    lines = said.splitlines()
    assert lines[0].startswith("serve: starting a Prefect server, an MLflow server and a worker;")
    assert lines[1] == "a shell logs in to both by: . .prefect/env"
    assert lines[2] == "Prefect   http://127.0.0.1:4200   asks for the line in .prefect/secret"
    assert lines[3].startswith("MLflow    http://127.0.0.1:5000   asks for user and secret of .prefect/secret")
    assert "keeps runs in mlflow.db, files in mlruns of this folder; --artifacts hands them out" in lines[4]
    assert lines[5].startswith("Triage    http://127.0.0.1:4300")
    assert environ[access.PREFECT_CLIENT].partition(":")[2] not in said


def test_a_backend_with_a_password_is_shown_without_it(served):
    said, calls, _, shell = served(
        "--backend", "postgresql://mlflow:hush-hush@db/mlflow", "--artifacts", "s3://bucket/mlflow"
    )
    use = dict(served.calls)["mlflow"]
    assert (use.backend, use.artefacts) == ("postgresql://mlflow:hush-hush@db/mlflow", "s3://bucket/mlflow")
    assert "handed out" in calls
    assert "keeps runs in postgresql://db/mlflow, files in s3://bucket/mlflow, handed out to every machine" in said
    assert "hush-hush" not in said + str(shell)


def test_servers_elsewhere_are_used_and_nothing_that_the_user_set_is_overwritten(served, elsewhere):
    user = {
        central.MLFLOW: elsewhere.address,
        central.PREFECT: f"{elsewhere.address}/api",
        access.PREFECT_CLIENT: "who:knows-well",
        **dict(zip(access.MLFLOW_CLIENT, ("me", "hush-hush"), strict=True)),
    }
    said, calls, environ, shell = served(**user)
    assert calls == ["triage"]
    assert {name: environ[name] for name in user} == user
    assert shell == user
    assert access.PREFECT_SERVER not in environ
    assert said.startswith("serve: starting a worker;")
    assert f"Prefect   {elsewhere.address}   runs elsewhere, and goes on when this ends" in said
    assert f"MLflow    {elsewhere.address}   runs elsewhere, and goes on when this ends" in said
    assert "hush" not in said and "knows" not in said


def test_an_option_names_a_server_as_the_variable_does(served, elsewhere):
    address = elsewhere.address.replace("//", "//me:hush-hush@")
    said, calls, environ, _ = served("--mlflow-uri", address, "--no-triage")
    assert calls == ["prefect"]
    assert environ[central.MLFLOW] == address
    assert f"MLflow    {elsewhere.address}   runs elsewhere" in said
    assert "hush" not in said
    assert not said.splitlines()[-1].startswith("Triage")


def test_a_shell_that_knows_the_servers_of_an_earlier_serve_starts_them_again(served):
    _, _, _, shell = served()
    said, calls, environ, again = served("--no-triage", **shell)
    assert calls == ["prefect", "mlflow"]
    assert said.startswith("serve: starting a Prefect server, an MLflow server and a worker;")
    assert again == shell
    assert central.SERVED not in environ


def test_what_the_user_has_named_since_counts(served, elsewhere):
    _, _, _, shell = served()
    own = {**shell, central.PREFECT: f"{elsewhere.address}/api"}
    _, calls, environ, again = served("--no-triage", **own)
    assert calls == ["mlflow"]
    assert environ[central.PREFECT] == again[central.PREFECT] == f"{elsewhere.address}/api"
    assert again[central.SERVED] == "http://127.0.0.1:5000"


@pytest.mark.parametrize(
    ("words", "environ", "said"),
    [
        ((), {central.PREFECT: "http://127.0.0.1:1/api"}, "to start one here: unset PREFECT_API_URL"),
        ((), {central.MLFLOW: "http://127.0.0.1:1"}, "to start one here: unset MLFLOW_TRACKING_URI"),
        (("--prefect-url", "http://127.0.0.1:1/api"), {}, "to start one here: leave out --prefect-url"),
        (("--mlflow-uri", "http://127.0.0.1:1"), {}, "to start one here: leave out --mlflow-uri"),
    ],
)
def test_a_refusal_says_how_a_server_is_started_here(served, words, environ, said):
    with pytest.raises(ConfigError, match=f"does not answer; nothing is served; {said}"):
        served(*words, **environ)


def test_it_deploys_and_then_applies_the_notifications_and_goes_on_without_them(served, monkeypatch):
    done = []
    monkeypatch.setattr(serve.worker, "connected", nullcontext)
    monkeypatch.setattr(serve.worker, "prepare", lambda _: done.append("pools"))
    monkeypatch.setattr(serve.deploy, "put", lambda _: done.append("deployments"))
    monkeypatch.setattr(serve.deploy, "notify", lambda: done.append("notifications") or ["warning: no notifications"])
    served.options.clear()
    said, calls, _, _ = served()
    assert done == ["pools", "deployments", "notifications"]
    assert "serve: warning: no notifications\n" in said
    assert calls == ["prefect", "mlflow", "triage"]
    served("--no-deploy")
    assert len(done) == 3


def test_a_store_without_a_server_stays_the_store(served):
    said, calls, environ, _ = served(MLFLOW_TRACKING_URI="sqlite:////srv/own.db")
    assert calls == ["prefect", "triage"]
    assert environ[central.MLFLOW] == "sqlite:////srv/own.db"
    assert "MLflow    sqlite:////srv/own.db   has no server" in said

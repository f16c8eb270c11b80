"""Which version serves: the registry says it each time, without MLflow; where it is away, the disk does."""

import json
import logging
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from benchmarks.champions import signed
from flows import promotion
from flows.reports import decisions
from pipeline import tracking
from pipeline.artifacts import paths
from pipeline.base.errors import ArtifactError
from pipeline.serving import champion, loading, manifest, own_model, registry
from pipeline.serving.manifest import HashedFolder
from pipeline.serving.registry import DIGEST
from pipeline.serving.trust import chain
from pipeline.serving.version import Version
from pipeline.tracking import direct
from pipeline.tracking import store as stores


@pytest.fixture
def project(project):
    """The project with a store in which no version has an alias."""
    yield project
    chain.place().unlink(missing_ok=True)
    found = stores.client().search_registered_models(f"name = '{own_model.name()}'")
    for alias in found[0].aliases if found else ():
        stores.client().delete_registered_model_alias(own_model.name(), alias)


@pytest.fixture
def two(project, bundle, tmp_path, request):
    """Two sound versions."""
    made = []
    for number in range(2):
        about = {**bundle.sealed.about, "dataset": f"data {number} of {request.node.name}"}
        HashedFolder(about, bundle.sealed.files).save(tmp_path / str(number))
        run = tracking.open_parent("training", {})
        tracking.close_parent(run)
        made.append(registry.register(tmp_path / str(number), run, {}))
    return made


def served():
    version, bundle = loading.load()
    assert bundle.digest == version.digest
    return version.number


def test_what_the_file_says_is_what_mlflow_says(two):
    first, second = two
    registry.promote(first, None)
    registry.promote(second, first)
    for which in ("champion", "previous", "candidate", str(first.number)):
        told, known = direct.ask(own_model.name(), which), registry.find_version(which)
        assert (told.number, told.run_id, told.tags) == (known.number, known.run_id, known.tags)
        assert told.aliases == known.aliases
        assert loading.find(which) == known
    assert direct.ask(own_model.name(), "nobody") is None
    assert direct.ask("no such model", "champion") is None
    assert direct.ask(own_model.name(), "999999") is None


def test_a_version_that_was_deleted_is_none(two):
    first, _ = two
    stores.client().delete_model_version(own_model.name(), str(first.number))
    assert direct.ask(own_model.name(), str(first.number)) is None


def test_a_promotion_and_a_rollback_count_from_the_next_call_on(two):
    first, second = two
    registry.promote(first, None)
    assert served() == first.number
    registry.promote(second, first)
    assert served() == second.number
    registry.rollback()
    assert served() == first.number


def test_with_the_store_away_the_version_serves_that_served_last(two, monkeypatch, caplog):
    first, second = two
    registry.promote(first, None)
    served()
    registry.promote(second, first)
    served()
    registry.rollback()  # notes what serves now, though nobody asks
    with monkeypatch.context() as away, caplog.at_level(logging.WARNING):
        away.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        assert served() == first.number
    assert f"the registry is away: version {first.number} serves" in caplog.text


def test_with_the_store_away_a_rollback_has_swapped_previous_too(two, monkeypatch):
    first, second = two
    registry.promote(first, None)
    registry.promote(second, first)
    registry.rollback()
    with monkeypatch.context() as away:
        away.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        assert (loading.find("champion").number, loading.find("previous").number) == (first.number, second.number)


def test_a_rollback_that_was_killed_between_two_aliases_goes_on(two, monkeypatch):
    before = None
    for version in two:
        after = registry.promote(version, before)
        decisions.log(decisions.Outcome("promoted", after, before, ()), "")
        before = after
    client, move = type(stores.client()), type(stores.client()).set_registered_model_alias

    def dies(self, name, alias, number):
        if alias == registry.PREVIOUS:
            raise KeyboardInterrupt
        move(self, name, alias, number)

    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(client, "set_registered_model_alias", dies)
        promotion.roll_back()
    assert served() == two[0].number
    assert promotion.roll_back().kind == "rolled back"
    assert served() == two[0].number
    assert registry.find_version("previous").number == two[1].number
    assert registry.find_version("previous").tags[promotion.ROLLED_BACK]
    assert not registry.find_version("champion").tags[promotion.ROLLED_BACK]
    assert chain.read(thorough=True).lines[-1]["champion"] == two[1].number


def test_a_rollback_while_the_registry_answers_is_not_forgotten(tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "project_root", lambda: tmp_path)
    monkeypatch.setattr(own_model, "name", lambda: "m")
    (tmp_path / paths.REGISTERED).mkdir(parents=True)
    asked, before = [], signed(Version(2, "r", "0f", {DIGEST: "0f"}, (), "m"))

    def ask(*_):
        asked.append(1)
        if len(asked) == 1:  # what a rollback notes, behind this answer
            champion.keep(signed(Version(1, "r", "1f", {DIGEST: "1f"}, (), "m")), "champion")
            return direct.Registered(2, "r", before.tags, ())
        return direct.Registered(1, "r", champion.known("m", "champion")["tags"], ())

    monkeypatch.setattr(direct, "ask", ask)
    assert loading.find().number == 1
    assert champion.known("m", "champion")["number"] == 1


WHOLE = {"number": 3, "digest": "0f", "run_id": "r", "tags": {}}
BROKEN = [3, {"champion": 4}, {"champion": {"number": "x"}}, *({"champion": WHOLE | {each: None}} for each in WHOLE)]


@pytest.mark.parametrize("note", BROKEN)
def test_a_note_that_is_not_whole_is_none(tmp_path, monkeypatch, note):
    monkeypatch.setattr(stores, "project_root", lambda: tmp_path)
    (tmp_path / paths.REGISTERED).mkdir(parents=True)
    pointer = tmp_path / paths.REGISTERED / champion.POINTER
    pointer.write_text(json.dumps({"m": note, "other": {"champion": WHOLE}}))
    assert champion.known("m", "champion") is None and champion.known("m", "3") is None
    champion.keep(Version(5, "r", "1f", {}, (), "m"), "champion")
    assert champion.known("m", "champion")["number"] == 5
    assert champion.known("other", "champion") == WHOLE


def served_and_damaged(version):
    """Serve a version, and change a file of its bundle on the disk; gives the file."""
    registry.promote(version, None)
    served()
    damaged = champion.folder_of(version.number, version.digest) / "detector.json"
    damaged.write_bytes(damaged.read_bytes() + b" ")
    return damaged


def test_a_bundle_that_was_changed_on_the_disk_is_fetched_again(two, caplog):
    first, _ = two
    damaged = served_and_damaged(first)
    with caplog.at_level(logging.WARNING):
        assert served() == first.number
    assert "it is fetched again" in caplog.text
    assert manifest.load(damaged.parent).digest == first.digest


def test_with_the_store_away_a_changed_bundle_is_refused(two, monkeypatch):
    first, _ = two
    served_and_damaged(first)
    monkeypatch.setattr(registry, "fetch", _away)
    with pytest.raises(ArtifactError, match="away"):
        loading.load()


def _away(_):
    raise ArtifactError("the store is away")


CODE = """
import sys
from pipeline.serving import loading
version, bundle = loading.load()
print(version.number, bundle.digest, sorted({"mlflow", "sqlalchemy", "prefect"} & {*sys.modules}))
"""


def test_mlflow_is_not_imported_for_a_version_that_is_on_the_disk(two):
    first, _ = two
    registry.promote(first, None)
    served()
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert done.stdout.split() == [str(first.number), first.digest, "[]"], done.stderr


# A server.


class Server(HTTPServer):
    """Answers as MLflow's REST API does."""

    def __init__(self, answers):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.server.asked.append((self.path, self.headers.get("Authorization")))
                code, content = answers(self.path)
                self.send_response(code)
                if self.server.location:
                    self.send_header("Location", self.server.location)
                self.end_headers()
                self.wfile.write(json.dumps(content).encode())

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.asked, self.location = [], ""

    def __enter__(self):
        self.thread = threading.Thread(target=self.serve_forever, args=(0.05,))
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.thread.join()
        self.server_close()


FOUND = {"model_version": {"name": "m", "version": "7", "run_id": "r", "tags": [{"key": "k", "value": "v"}]}}
ABSENT = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no"}


def test_a_server_is_asked_over_http(monkeypatch):
    with Server(lambda path: (200, FOUND) if "champion" in path or "version=7" in path else (404, ABSENT)) as server:
        address = f"http://ada:s%20ecret@127.0.0.1:{server.server_port}/prefix"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        assert direct.ask("m", "champion") == direct.Registered(7, "r", {"k": "v"}, ())
        assert direct.ask("m", "7") == direct.Registered(7, "r", {"k": "v"}, ())
        assert direct.ask("m", "previous") is None
    (first, user), (second, _), _ = server.asked
    assert first == "/prefix/api/2.0/mlflow/registered-models/alias?name=m&alias=champion"
    assert second == "/prefix/api/2.0/mlflow/model-versions/get?name=m&version=7"
    assert user == "Basic YWRhOnMgZWNyZXQ="
    assert direct.ask("m", "champion") == "away"


@pytest.mark.parametrize("code", [502, 503, 504])
def test_a_server_that_is_away_behind_another_one_is_away(monkeypatch, code):
    with Server(lambda _: (code, {})) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        assert direct.ask("m", "champion") == "away"


def test_another_server_gets_no_password(monkeypatch):
    with Server(lambda _: (200, FOUND)) as other, Server(lambda _: (302, {})) as server:
        server.location = f"http://localhost:{other.server_port}/"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ada:secret@127.0.0.1:{server.server_port}")
        direct.ask("m", "champion")
    assert server.asked[0][1] and other.asked == [("/", None)]


def test_what_does_not_speak_http_says_nothing(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            asker, _ = server.accept()
            with asker:
                asker.recv(4096)
                asker.sendall(b"SSH-2.0-other\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert direct.ask("m", "champion") == "unknown"
        thread.join()


@pytest.mark.parametrize("answer", [(500, {}), (403, {"error_code": "PERMISSION_DENIED"}), (200, {"else": 1})])
def test_an_answer_that_says_nothing_is_no_answer(monkeypatch, answer):
    with Server(lambda _: answer) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        assert direct.ask("m", "champion") == "unknown"


def test_what_is_no_store_of_mlflow_is_not_understood(monkeypatch, tmp_path):
    (tmp_path / "odd.db").write_bytes(b"no database")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/odd.db")
    assert direct.ask("m", "champion") == "unknown"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none.db")
    assert direct.ask("m", "champion") == "away"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/odd.db?timeout=20")  # only MLflow reads such
    assert direct.ask("m", "champion") == "unknown"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://box/db")
    assert direct.ask("m", "champion") == "unknown"

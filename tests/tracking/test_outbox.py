"""Nothing that is logged is lost, doubled or put out of order, whenever the server goes and comes back."""

import errno
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import requests

from pipeline.base.errors import ArtifactError
from pipeline.tracking import outbox
from pipeline.tracking import store as stores
from pipeline.tracking.outbox import Outbox


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Ask again at once."""
    monkeypatch.setattr(outbox, "SHORTEST_PAUSE", 0.0)
    monkeypatch.setattr(outbox, "LONGEST_PAUSE", 0.0)


class Server:
    """Takes operations, twice without harm, at the moments at which it is up."""

    def __init__(self, moments=lambda: True):
        self.moments, self.taken, self.refuses = moments, {}, ()

    def apply(self, operation):
        if not self.moments():
            raise requests.ConnectionError("connection refused")
        if operation["n"] in self.refuses:
            raise ValueError("no such run")
        content = Path(operation["path"]).read_text() if "path" in operation else None
        self.taken.setdefault(operation["n"], content)
        if not self.moments():
            raise requests.Timeout("it was taken, but the answer was lost")
        return operation["n"]


def _operations(count):
    return [{"call": "log", "run": "r", "n": n} for n in range(count)]


@pytest.mark.parametrize("seed", range(5))
def test_whatever_the_outages_all_arrives_once_and_in_order(seed, tmp_path):
    rng = random.Random(seed)
    server = Server(lambda: rng.random() < 0.7)
    boxes = [Outbox(tmp_path, server.apply) for _ in range(2)]  # as two processes that share a folder
    for operation in _operations(60):
        rng.choice(boxes).write(operation)
        if rng.random() < 0.1:
            boxes[0].deliver()
    server.moments = lambda: True
    assert [box.deliver() for box in boxes] == [0, 0]
    assert list(server.taken) == list(range(60))
    assert boxes[0].journal.empty
    taken = dict(server.taken)
    assert boxes[1].deliver() == 0
    assert server.taken == taken


def test_a_server_that_answers_is_written_to_directly(tmp_path):
    box = Outbox(tmp_path / "box", Server().apply)
    assert [box.write(operation) for operation in _operations(3)] == [0, 1, 2]
    assert not (tmp_path / "box").exists()


def test_what_the_server_refuses_is_an_error_at_once(tmp_path):
    server = Server()
    server.refuses = {0}
    box = Outbox(tmp_path, server.apply)
    with pytest.raises(ValueError, match="no such run"):
        box.write({"n": 0})
    assert box.journal.empty


def test_what_the_server_refuses_later_is_put_aside_and_holds_up_nothing(tmp_path, caplog):
    server = Server(lambda: False)
    box = Outbox(tmp_path, server.apply)
    for operation in _operations(3):
        box.write(operation)
    server.moments, server.refuses = lambda: True, {1}
    assert box.deliver() == 0
    assert list(server.taken) == [0, 2]
    (refused,) = map(json.loads, (tmp_path / "refused.jsonl").read_text().splitlines())
    assert (refused["n"], refused["reason"]) == (1, "ValueError: no such run")
    assert "refused" in caplog.text


def test_a_password_that_is_refused_refuses_nothing_that_was_written(tmp_path, caplog):
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import UNAUTHENTICATED

    server = Server(lambda: False)
    box = Outbox(tmp_path, server.apply)
    box.write({"n": 0})

    def shut():
        raise MlflowException("You are not authenticated", UNAUTHENTICATED)

    server.moments = shut
    assert box.deliver() == 1
    assert "You are not authenticated" in caplog.text
    server.moments = lambda: True
    assert box.deliver() == 0
    assert list(server.taken) == [0]


def _answer(status):
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(str(status), response=response)


class StoreError(Exception):
    """As those of botocore are: of a family of their own."""


def _waiting(folder, error):
    """Two operations that wait, and the server, at which the first delivery meets an error."""
    server, left = Server(lambda: False), [error]
    box = Outbox(folder, server.apply)
    for operation in _operations(2):
        box.write(operation)

    def moment():
        if left:
            raise left.pop()
        return True

    server.moments = moment
    return box, server


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "no space left"),
        PermissionError(errno.EACCES, "denied"),
        OSError(errno.EIO, "input/output error"),
        requests.exceptions.SSLError("certificate"),
        requests.exceptions.InvalidURL("http://"),
        _answer(401),
        _answer(429),
        _answer(404),
        _answer(507),
        MemoryError("short"),
        sqlite3.OperationalError("database or disk is full"),
        ModuleNotFoundError("No module named 'boto3'"),
        StoreError("SlowDown"),
    ],
    ids=repr,
)
def test_what_is_no_fault_of_what_was_written_refuses_nothing(error, tmp_path, caplog):
    box, server = _waiting(tmp_path, error)
    assert box.deliver() == 2
    assert str(error) in caplog.text
    assert box.deliver() == 0
    assert list(server.taken) == [0, 1]
    assert not (tmp_path / "refused.jsonl").exists()


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError("gone"),
        OSError(errno.ENAMETOOLONG, "too long"),
        TypeError("no such call"),
        KeyError("run"),
        _answer(413),
    ],
    ids=repr,
)
def test_what_can_never_be_delivered_holds_up_nothing(error, tmp_path):
    box, server = _waiting(tmp_path, error)
    assert box.deliver() == 0
    assert list(server.taken) == [1]


def test_a_file_is_kept_as_it_was_when_it_was_logged(tmp_path):
    server = Server(lambda: False)
    box = Outbox(tmp_path / "box", server.apply)
    note = tmp_path / "note.txt"
    for n, text in enumerate(("first", "second")):
        note.write_text(text)
        box.write({"call": "file", "n": n, "path": str(note)})
    note.unlink()
    server.moments = lambda: True
    assert box.deliver() == 0
    assert server.taken == {0: "first", 1: "second"}
    assert not (tmp_path / "box" / "files").exists()


def test_a_store_that_another_process_writes_to_for_a_while_is_waited_for(tmp_path, monkeypatch):
    import sqlite3

    (tmp_path / "params.yaml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    connect, seen = sqlite3.connect, []
    monkeypatch.setattr(
        sqlite3.dbapi2, "connect", lambda *args, **named: (seen.append(named), connect(*args, **named))[1]
    )
    stores.connect(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path)
    assert seen[-1]["timeout"] == stores.PATIENCE


def test_a_store_that_mlflow_cannot_open_is_named(tmp_path):
    import sqlite3
    from contextlib import closing

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    stores.connect(uri, tmp_path)
    other = tmp_path / "other.db"
    (tmp_path / "mlflow.db").rename(other)
    with closing(sqlite3.connect(other)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'of a later mlflow'")
    with pytest.raises(ArtifactError, match=r"other\.db: cannot be opened as a store of MLflow \("):
        stores.connect(f"sqlite:///{other}", tmp_path)


def test_copies_that_cannot_be_removed_now_go_with_the_next_delivery(tmp_path, monkeypatch):
    from pipeline.tracking import journal

    artefact, server = tmp_path / "artefact", Server(lambda: False)
    artefact.write_text("content")
    box = Outbox(tmp_path / "box", server.apply)
    box.write({"n": 0, "path": str(artefact)})
    server.moments = lambda: True
    with monkeypatch.context() as short:  # of file descriptors, say
        short.setattr(journal.shutil, "rmtree", lambda *_, **__: None)
        assert box.deliver() == 0
    assert (tmp_path / "box" / "files").exists()
    assert box.deliver() == 0
    assert not (tmp_path / "box" / "files").exists()
    assert box.journal.empty
    assert server.taken == {0: "content"}


def test_a_server_that_is_away_is_not_asked_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr(outbox, "SHORTEST_PAUSE", 1e6)
    monkeypatch.setattr(outbox, "LONGEST_PAUSE", 1e6)
    asked = []
    box = Outbox(tmp_path, lambda operation: asked.append(operation) or Server(lambda: False).apply(operation))
    for operation in _operations(20):
        box.write(operation)
    assert box.ask(lambda: asked.append("question"), "unknown") == "unknown"
    assert len(asked) == 1
    assert len(box.journal.pending()) == 20


def test_a_line_that_a_killed_process_did_not_finish_is_as_if_it_had_never_been(tmp_path):
    server = Server(lambda: False)
    box = Outbox(tmp_path, server.apply)
    box.write({"n": 0})
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write('{"call": "log", "n": 1, "ta')
    assert [operation["n"] for operation in box.journal.pending()] == [0]
    box.write({"n": 2})
    server.moments = lambda: True
    assert box.deliver() == 0
    assert list(server.taken) == [0, 2]


WORK = """
    import os, random, signal, sys
    from pathlib import Path
    import requests
    from pipeline.tracking.outbox import Outbox

    folder, name, seed, count, kill_at = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
    rng = random.Random(seed)
    steps = 0

    def apply(operation):
        global steps
        steps += 1
        if steps % 7 < 3:
            raise requests.ConnectionError("away")
        with (folder / "taken").open("a") as file:
            file.write(f"{operation['n']}\\n")
        if steps == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    import pipeline.tracking.outbox as module
    module.SHORTEST_PAUSE = module.LONGEST_PAUSE = 0.0
    box = Outbox(folder / "box", apply)
    for n in range(count):
        box.write({"call": "log", "n": f"{name}-{n}"})
        with (folder / f"{name}.written").open("a") as file:
            file.write(f"{name}-{n}\\n")
    while box.deliver():
        pass
"""


def _work(folder, name, count, kill_at=-1):
    command = [sys.executable, "-c", textwrap.dedent(WORK), str(folder), name, "0", str(count), str(kill_at)]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(Path(outbox.__file__).parents[2])})


def test_two_processes_deliver_what_both_kept_each_in_its_order(tmp_path):
    processes = [_work(tmp_path, name, 40) for name in "ab"]
    assert [process.wait(60) for process in processes] == [0, 0]
    taken = (tmp_path / "taken").read_text().split()
    for name in "ab":
        assert [each for each in taken if each.startswith(name)] == [f"{name}-{n}" for n in range(40)]


@pytest.mark.parametrize("moment", [4, 13, 26])
def test_a_process_that_is_killed_while_it_delivers_loses_nothing(moment, tmp_path):
    assert _work(tmp_path, "a", 40, kill_at=moment).wait(60) == -signal.SIGKILL
    assert _work(tmp_path, "b", 3).wait(60) == 0
    taken = list(dict.fromkeys((tmp_path / "taken").read_text().split()))  # what was taken as it was killed comes twice
    written = (tmp_path / "a.written").read_text().split()
    assert len(written) > 0
    arrived = [each for each in taken if each.startswith("a")]
    assert arrived in (written, [*written, f"a-{len(written)}"])  # the last was being written
    assert [each for each in taken if each.startswith("b")] == ["b-0", "b-1", "b-2"]


def _wrapped(cause):
    from mlflow.exceptions import MlflowException

    try:
        try:
            raise cause
        except Exception as error:
            raise MlflowException(f"API request failed with exception {error}")  # noqa: B904  # as MLflow does it
    except MlflowException as error:
        return error


def test_only_what_can_heal_is_waited_for():
    from mlflow.exceptions import MlflowException, RestException

    for cause in (requests.ConnectionError(), requests.Timeout(), requests.exceptions.RetryError()):
        assert outbox.is_transient(_wrapped(cause))
    for error in (
        RestException({"error_code": "INVALID_PARAMETER_VALUE", "message": "no"}),
        MlflowException("no such run"),
        _wrapped(requests.exceptions.SSLError()),
        requests.HTTPError("404"),
        ValueError(),
        OSError("disk full"),
    ):
        assert not outbox.is_transient(error)

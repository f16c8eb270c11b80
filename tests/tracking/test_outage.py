"""A real MLflow server that is killed and comes back: the runs end as if it had never been away."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import pytest

from pipeline import tracking
from pipeline.tracking import outbox

SECONDS_TO_START = 120


@contextmanager
def _server(root, port):
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    stores = ["--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", str(root / "artefacts")]
    outer = os.environ | tracking.environment() | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    outer.pop("MLFLOW_TRACKING_URI", None)
    with (root / "server.log").open("a") as log:
        process = subprocess.Popen(
            [*command, *stores], cwd=root, env=outer, stdout=log, stderr=log, start_new_session=True
        )
        try:
            _wait(f"http://127.0.0.1:{port}/health", process)
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(address, process):
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail("the MLflow server does not start")


@pytest.fixture
def port(store, project, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (project / "mlflow.db").exists() or tracking.open_parent("warm", {})  # a fresh store takes the server longer
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    return port


def test_training_goes_on_without_its_server_and_loses_nothing(project, port, monkeypatch, tmp_path, caplog):
    from mlflow import MlflowClient

    note = tmp_path / "note.txt"
    flow = {tracking.FLOW_RUN: "outage"}
    with _server(project, port):
        parent = tracking.open_parent("training", flow)
        monkeypatch.setenv(tracking.PARENT_VARIABLE, parent)
        with tracking.stage("first", {"a": 1}, {}, lambda: "one") as first:
            first.metrics({"loss": 1.0}, step=0)
    with tracking.stage("second", {"a": 1}, {"first": lambda: "one"}, lambda: "two") as second:
        for epoch in range(5):
            second.metrics({"loss": 1 / (1 + epoch)}, step=epoch)
        note.write_text("hello")
        second.file(note, "deep")
        second.dataset("records", "data", "7" * 36, 3, {"x": "float32"}, "training")
    note.unlink()
    with pytest.raises(ValueError, match="bad"), tracking.stage("third", {}, {"second": lambda: "two"}, str):
        raise ValueError("bad")
    tracking.close_parent(parent, "stage 'third' failed")
    again = tracking.open_parent("training", {tracking.FLOW_RUN: "in the dark"})
    assert tracking.children(again) == {}
    assert tracking.page(again) == ""
    tracking.close_parent(again)
    assert caplog.text.count("is kept in") == 1
    logged_by = int(time.time() * 1000)
    time.sleep(0.01)
    with _server(project, port):
        assert tracking.deliver() == 0
        assert outbox.main() == 0
        client = MlflowClient(tracking.tracking_uri())
        child = client.get_run(tracking.resolve(second.run_id))
        assert (child.info.status, child.data.tags["mlflow.parentRunId"]) == ("FINISHED", parent)
        points = client.get_metric_history(child.info.run_id, "loss")
        assert [(point.step, point.value) for point in points] == [(n, 1 / (1 + n)) for n in range(5)]
        assert max(point.timestamp for point in points) < logged_by
        assert child.info.end_time <= logged_by
        assert client.get_metric_history(child.info.run_id, "system/cpu_utilization_percentage")
        assert [file.path for file in client.list_artifacts(child.info.run_id, "deep")] == ["deep/note.txt"]
        assert [each.dataset.name for each in child.inputs.dataset_inputs] == ["records"]
        known = {name: (each.state, each.run_id) for name, each in tracking.children(parent).items()}
        assert known.keys() == {"first", "second", "third"}
        assert known["first"] == ("ran", first.run_id)
        assert known["second"] == ("ran", child.info.run_id)
        assert client.get_run(parent).info.status == "FAILED"
        assert client.get_run(tracking.resolve(again)).info.status == "FINISHED"
        assert tracking.open_parent("training", flow) == parent

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from prefect import State
from prefect.logging import disable_run_logger
from prefect.states import Completed

from flows import training
from flows.reports import summary, tables
from flows.runtime import dvc, graph, servers, working_copy
from pipeline import tracking
from pipeline.artifacts import paths
from pipeline.base.errors import ConfigError

METRICS = {
    "seen": {
        "auroc": 0.91234567,
        "auprc": 0.8,
        "thresholds": {"p99": {"recall": 0.5, "fpr": 0.01}, "p95": {"fpr": 0.05}},
    },
    "unseen": {"auroc": 0.7, "auprc": 0.6, "thresholds": {"p99": {"recall": 0.4, "fpr": 0.01}}},
    "dataset": "synthetic",
}
ROWS = [summary.Row("ingest", "ran", 1.5, "a" * 32, "#/a"), summary.Row("evaluate", "cached", 0.7, "", "#/")]
STAGE = graph.Stage("ingest", "python ingest")


@pytest.fixture
def metrics(tmp_path, monkeypatch):
    path = tmp_path / "metrics.json"
    monkeypatch.setattr(paths, "METRICS", path)
    path.write_text(json.dumps(METRICS))
    return path


def test_the_summary_says_what_ran_how_well_and_where_to_look(metrics, monkeypatch):
    monkeypatch.setattr(tracking, "page", lambda run: f"#/experiments/1/runs/{run}")
    lines = summary.text("parent", ROWS).splitlines()
    assert lines[0].split() == ["stage", "state", "seconds", "run"]
    assert lines[1].split() == ["ingest", "ran", "1.5", "a" * 32]
    assert lines[5].split() == ["seen", "p99", "0.9123", "0.8", "0.5", "0.01"]
    assert "unseen" in lines[7]
    assert "data/reports/metrics.json" in lines[-3]
    assert "mlflow ui" in lines[-2]
    assert lines[-1].endswith("/#/experiments/1/runs/parent")


def test_without_metrics_the_summary_is_shorter(metrics):
    metrics.unlink()
    assert summary.headlines() == []
    assert tables.columns([]) == tables.markdown([]) == ""


def test_the_result_artefacts_hold_the_tables_and_the_failure(metrics, monkeypatch):
    made = {}
    monkeypatch.setattr(summary, "create_table_artifact", lambda table, key, description: made.update({key: table}))
    monkeypatch.setattr(summary, "create_markdown_artifact", lambda markdown, key: made.update({key: markdown}))
    summary.publish(ROWS, summary.headlines(), ConfigError("which stage"))
    assert [row["state"] for row in made["training-stages"]] == ["ran", "cached"]
    assert "which stage" in made["training-summary"]
    assert "| seen | p99 | 0.9123 | 0.8 | 0.5 | 0.01 |" in made["training-summary"]


@pytest.mark.parametrize(("outcome", "links"), [(dvc.Outcome.RAN, []), (dvc.Outcome.CACHED, [("up", "ingest", "h")])])
def test_a_stage_that_dvc_skipped_is_linked(monkeypatch, outcome, links):
    seen = []
    monkeypatch.setattr(dvc, "reproduce", lambda *_: outcome)
    monkeypatch.setattr(paths, "content_hash", lambda _: "h")
    monkeypatch.setattr(tracking, "link", lambda *names: seen.append(names))
    with disable_run_logger():
        state = training.reproduce.fn(STAGE, "up", False)
    assert (state.is_completed(), state.name.lower()) == (True, outcome.value)
    assert seen == links


@pytest.mark.parametrize(
    ("epochs", "told"), [(100, "radon"), (5, "radon, changed: stage2.fit.epochs")], ids=["as published", "changed"]
)
def test_the_parent_run_names_the_preset_and_what_was_changed(tmp_path, monkeypatch, epochs, told):
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "radon.yaml").write_text("# RADON\nstage2: {fit: {epochs: 100}}\n")
    (tmp_path / "params.yaml").write_text(f"preset: radon\nstage2: {{fit: {{epochs: {epochs}}}}}\n")
    monkeypatch.chdir(tmp_path)
    tags = {}
    monkeypatch.setattr(tracking.StageRun, "tags", lambda run, values: tags.update({run.run_id: values}))
    training._name_preset("parent")
    assert tags == {"parent": {tracking.PRESET: told}}


def test_a_failure_is_a_state_of_one_line(monkeypatch):
    error = dvc.StageFailedError(STAGE, 3, ["first", "last"])

    def fail(*_):
        raise error

    monkeypatch.setattr(dvc, "reproduce", fail)
    with disable_run_logger():
        state = training.reproduce.fn(STAGE, "up", False)
    assert state.is_failed()
    assert state.message == "stage 'ingest' failed with exit code 3: python ingest"
    assert state.data is error


def test_a_named_server_is_used_and_no_other_is_looked_for(monkeypatch):
    from prefect.settings import PREFECT_API_URL, temporary_settings

    monkeypatch.setattr(servers, "answers", lambda api: pytest.fail("looked for a server"))
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}), servers.connected("training"):
        assert PREFECT_API_URL.value() == "http://127.0.0.1:1/api"


@pytest.mark.parametrize(
    ("outcome", "code", "said"),
    [
        (ConfigError("no stages"), 1, "training: no stages"),
        (KeyboardInterrupt(), 130, "training: interrupted"),
        (Completed(data=("parent", ROWS)), 0, "ingest"),
    ],
)
def test_the_program_ends_with_a_code_and_a_word(monkeypatch, capsys, metrics, outcome, code, said):
    def flow(force: bool, promote: bool, when_busy: str, return_state: bool) -> State:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    @contextmanager
    def server():
        yield

    monkeypatch.setattr(working_copy, "check", lambda root: None)
    monkeypatch.setattr(tracking, "page", lambda run: run)
    monkeypatch.setattr(servers, "connected", lambda program: server())
    monkeypatch.setattr(training, "training", flow)
    assert training.main(["--force"]) == code
    assert said in "".join(capsys.readouterr())


# The whole: two flows at once, each with a server of its own, one that fails and one that is ended.

GRAPH = """
stages:
  first: {cmd: echo one > first.txt, outs: [first.txt]}
  second: {cmd: COMMAND, deps: [first.txt], outs: [second.txt]}
  third: {cmd: touch third.txt, deps: [second.txt], outs: [third.txt]}
"""
PROGRAM = """
import sys
from pathlib import Path
from pipeline.artifacts import paths
paths.content_hash, paths.METRICS = str, Path("none")
from flows.training import main
sys.exit(main())
"""


def _toy(root, command):
    (root / "dvc.yaml").write_text(GRAPH.replace("COMMAND", command))
    (root / "params.yaml").write_text("workers: {gpu_workers: 0}")
    (root / "prefect.toml").write_text((Path(__file__).parents[2] / "prefect.toml").read_text())
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "DVC", "PREFECT"))}
    environment = outer | tracking.environment()
    for arguments in (["init", "-q", "--no-scm"], ["repro", "-q", "first"]):
        subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=root, env=environment, check=True)
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", PROGRAM]
    return subprocess.Popen(command, cwd=root, env=environment, text=True, stdout=pipe, stderr=subprocess.STDOUT)


@pytest.fixture(scope="module")
def flows_that_end_early(tmp_path_factory):
    failing_in, ended_in = (tmp_path_factory.mktemp(name) for name in ("failing", "ended"))
    with _toy(ended_in, "sleep 301 & echo asleep; sleep 300") as ended, _toy(failing_in, "echo why; exit 7") as failing:
        said = [next(line for line in ended.stdout if line.endswith("- asleep\n"))]
        family = psutil.Process(ended.pid).children(recursive=True)
        ended.send_signal(signal.SIGTERM)
        said += ended.stdout.readlines()
        return (failing_in, failing.communicate()[0], failing.wait()), (ended_in, family, ended.wait())


def _parent(root, monkeypatch):
    monkeypatch.chdir(root)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    (run,) = tracking.search({tracking.KIND: "pipeline"})
    return run


def test_a_flow_stops_at_the_stage_that_fails_and_says_why(flows_that_end_early, monkeypatch):
    root, said, code = flows_that_end_early[0]
    assert code == 1
    assert "stage 'second' failed with exit code 7: echo why; exit 7" in said
    assert "    why\n" in said.partition("its last lines:")[2]
    assert "Traceback" not in said
    assert not (root / "third.txt").exists()
    parent = _parent(root, monkeypatch)
    assert parent.info.status == "FAILED"
    assert parent.data.tags["stage.first.state"] == "cached"


def test_a_flow_that_is_ended_leaves_no_process(flows_that_end_early, monkeypatch):
    root, family, code = flows_that_end_early[1]
    assert code == 143
    assert len(family) >= 4  # the server, dvc, the stage and what it started
    assert [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE] == []
    assert _parent(root, monkeypatch).info.status == "FAILED"

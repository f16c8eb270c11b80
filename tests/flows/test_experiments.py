"""Experiments in copies of a toy project: found by name, cached, apart from the workspace, and alone in a copy."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from flows.grid import experiments
from flows.grid.experiments import ExperimentError, Snapshot
from pipeline import tracking
from pipeline.base.errors import ConfigError

ROOT = Path(__file__).parents[2]
GRAPH = """
stages:
  early:
    cmd: echo early >> {times} && cat pipeline/code.txt > early.txt
    deps: [pipeline/code.txt]
    outs: [early.txt: {{persist: true}}]
  evaluate:
    cmd: echo evaluate >> {times} && python stage.py
    params: [evaluate]
    deps: [early.txt, stage.py]
    metrics: [data/reports/metrics.json: {{persist: true}}]
"""
STAGE = """
import json, pathlib, sys, time, yaml
settings = yaml.safe_load(open("params.yaml"))["evaluate"]
time.sleep(settings.get("seconds", 0))
if settings["value"] < 0:
    sys.exit("the value is below zero")
pathlib.Path("data/reports").mkdir(parents=True, exist_ok=True)
json.dump({"value": settings["value"], "code": open("early.txt").read()}, open("data/reports/metrics.json", "w"))
"""


@pytest.fixture
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    root, times = folder / "project", folder / "times"
    (root / "pipeline").mkdir(parents=True)
    (root / "pipeline" / "code.txt").write_text("one")
    (root / "dvc.yaml").write_text(GRAPH.format(times=times))
    (root / "stage.py").write_text(STAGE)
    (root / "params.yaml").write_text("evaluate: {value: 0}\n")
    (root / ".gitignore").write_text("/early.txt\n/data\n")
    experiments.git(root, "init", "--quiet")
    environment = os.environ | tracking.environment()
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=root, env=environment, check=True)
    experiments.git(root, "add", "--all")
    experiments.git(root, *experiments.IDENTITY, "commit", "--quiet", "--message", "toy")
    return root


def _times(project):
    told = project.parent / "times"
    return told.read_text().split() if told.exists() else []


def _run(project, name, **settings):
    snapshot = Snapshot.take(project)
    with experiments.held(project, name) as lock:
        return experiments.run(snapshot, name, {"evaluate": settings}, lambda _: None, lock, {})


def test_an_experiment_is_found_with_its_metrics_and_shares_what_others_ran(project):
    commits = {name: _run(project, name, value=value) for name, value in (("first", 1), ("second", 2))}
    assert experiments.find(project) == commits
    read = {name: experiments.metrics(Snapshot.take(project), commit) for name, commit in commits.items()}
    assert read == {"first": {"value": 1, "code": "one"}, "second": {"value": 2, "code": "one"}}
    assert _times(project) == ["early", "evaluate", "evaluate"]
    kept = yaml.safe_load(experiments.git(project, "show", f"{commits['first']}:params.yaml"))
    assert kept == {"evaluate": {"value": 1}}
    assert "persist: true" in experiments.git(project, "show", f"{commits['first']}:dvc.yaml")
    assert not list((project / experiments.COPIES).glob("*/"))


def test_what_the_cache_has_lost_is_not_found(project, monkeypatch):
    commit = _run(project, "lost", value=3)
    snapshot = Snapshot.take(project)
    monkeypatch.setitem(vars(snapshot), "cache", project / "nowhere")
    assert experiments.metrics(snapshot, commit) is None


def test_changes_that_are_not_committed_take_part_and_the_workspace_is_left_alone(project):
    before = Snapshot.take(project).code
    (project / "pipeline" / "code.txt").write_text("two")
    try:
        status = experiments.git(project, "status", "--short")
        assert Snapshot.take(project).code != before
        commit = _run(project, "dirty", value=1)
        assert experiments.metrics(Snapshot.take(project), commit)["code"] == "two"
        assert experiments.git(project, "status", "--short") == status
        assert experiments.git(project, "stash", "list") == ""
        assert not (project / "early.txt").exists()
    finally:
        experiments.git(project, "checkout", "--quiet", "pipeline/code.txt")


def test_sources_that_git_does_not_track_are_refused(project):
    stranger = project / "pipeline" / "new.py"
    stranger.touch()
    with pytest.raises(ConfigError, match=r"git does not track pipeline/new.py.*git add"):
        Snapshot.take(project)
    stranger.unlink()


def test_a_folder_without_a_commit_is_refused(tmp_path):
    experiments.git(tmp_path, "init", "--quiet")
    with pytest.raises(ConfigError, match="one commit at least"):
        Snapshot.take(tmp_path)


def test_a_failure_says_what_the_stage_said_and_leaves_nothing(project):
    with pytest.raises(ExperimentError, match=r"(?s)failed with exit code 1.*the value is below zero"):
        _run(project, "bad", value=-1)
    assert "bad" not in experiments.find(project)
    assert not (project / experiments.COPIES / "bad").exists()


RUN = """
import sys; from pathlib import Path; from flows.grid import experiments
root = Path(sys.argv[1])
with experiments.held(root, "slow") as lock:
    params = {"evaluate": {"value": 7, "seconds": float(sys.argv[2])}}
    experiments.run(experiments.Snapshot.take(root), "slow", params, print, lock, {})
"""


def test_one_that_was_killed_leaves_no_process_and_no_lock_and_what_it_had_run_is_kept(project):
    (project / "pipeline" / "code.txt").write_text("three")
    try:
        before = len(_times(project))
        command = [sys.executable, "-c", RUN, str(project), "300"]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while _times(project)[before:] != ["early", "evaluate"] and time.monotonic() < deadline:
            time.sleep(0.1)
        with experiments.held(project, "slow", wait=False) as lock:
            assert lock is None  # another one is refused while it runs
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        with experiments.held(project, "slow") as lock:  # let go only when the last process is gone
            assert lock
        assert (project / experiments.COPIES / "slow").is_dir()
        experiments.sweep(project)
        assert not (project / experiments.COPIES / "slow").exists()
        commit = _run(project, "slow", value=7, seconds=0)
        assert experiments.metrics(Snapshot.take(project), commit)["code"] == "three"
        assert _times(project)[before:] == ["early", "evaluate", "evaluate"]
    finally:
        experiments.git(project, "checkout", "--quiet", "pipeline/code.txt")


def test_the_digest_of_records_depends_on_their_content_and_names_alone(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "records.csv").write_text("1,2")
    assert experiments.digest(tmp_path / "a") == experiments.digest(tmp_path / "b")
    (tmp_path / "b" / "records.csv").write_text("1,3")
    assert experiments.digest(tmp_path / "a") != experiments.digest(tmp_path / "b")
    assert experiments.digest(tmp_path / "a" / "records.csv") != experiments.digest(tmp_path / "b" / "records.csv")
    with pytest.raises(ConfigError, match=r"there are no records.*--path.*--designs"):
        experiments.digest(tmp_path / "c")


def test_families_are_those_of_the_records_that_are_there():
    source = {
        "files": {"x": {"attacks": {"benign": 5, "bot": 2}}, "y": {"attacks": {"dos_hulk": 0, "ddos": 1}}},
        "families": {"bot": "bot", "dos_hulk": "dos", "ddos": "ddos", "benign": "benign"},
    }
    assert experiments._families(json.loads(json.dumps(source))) == {"bot": "bot", "ddos": "ddos"}

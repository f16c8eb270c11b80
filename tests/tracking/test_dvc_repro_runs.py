import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import tracking

STAGE = """
import hashlib, sys
from pathlib import Path
from pipeline import tracking

ORDER = ("first", "second", "third")

def digest(name):
    return hashlib.sha256(Path(f"{name}.txt").read_bytes()).hexdigest()

name = sys.argv[1]
before = ORDER[: ORDER.index(name)]
upstream = {stage: lambda stage=stage: digest(stage) for stage in before}
with tracking.stage(name, {}, upstream, lambda: digest(name), last=name == ORDER[-1]) as run:
    print("parent", tracking.find_run(tracking.find_run(run.run_id).parent).status, flush=True)
    if Path(f"{name}.in").read_text() == "fail":
        raise ValueError("no good")
    Path(f"{name}.txt").write_text(Path(f"{name}.in").read_text() + "".join(map(digest, before)))
"""
GRAPH = """
stages:
  first: {cmd: PYTHON stage.py first, deps: [first.in], outs: [first.txt]}
  second: {cmd: PYTHON stage.py second, deps: [second.in, first.txt], outs: [second.txt]}
  third: {cmd: PYTHON stage.py third, deps: [third.in, second.txt], outs: [third.txt]}
"""


def _dvc(root, *arguments):
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "DVC", "FLOWSCULPT"))}
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=root, env=outer | tracking.environment(), check=False, capture_output=True)


@pytest.fixture(scope="module")
def pipeline_runs(tmp_path_factory):
    """Three ``dvc repro`` of one toy project: the last stage fails, that is mended, two stages are asked for."""
    root = tmp_path_factory.mktemp("toy")
    (root / "stage.py").write_text(STAGE)
    (root / "dvc.yaml").write_text(GRAPH.replace("PYTHON", sys.executable))
    (root / "params.yaml").touch()
    for name, text in {"first": "1", "second": "1", "third": "fail"}.items():
        (root / f"{name}.in").write_text(text)
    assert _dvc(root, "init", "-q", "--no-scm").returncode == 0
    assert _dvc(root, "repro").returncode == 255
    (root / "third.in").write_text("1")
    assert _dvc(root, "repro").returncode == 0
    (root / "first.in").write_text("2")
    partial = _dvc(root, "repro", "second")
    assert partial.returncode == 0
    assert partial.stdout.decode().count("parent RUNNING") == 2
    delivery = [sys.executable, "-m", "pipeline.tracking"]
    environment = dict(os.environ) | tracking.environment() | {"PYTHONPATH": str(Path(tracking.__file__).parents[2])}
    assert subprocess.run(delivery, cwd=root, env=environment, check=False).returncode == 0
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{root}/mlflow.db")
    experiment = client.get_experiment_by_name(tracking.project_names().experiment)
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])
    return [run for run in runs if "mlflow.parentRunId" not in run.data.tags], runs


def _children(runs, parent):
    own = (run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id)
    return {run.info.run_name: run for run in own}


def test_each_dvc_repro_has_one_parent_and_a_child_for_each_stage_that_ran(pipeline_runs):
    parents, runs = pipeline_runs
    assert [list(_children(runs, parent)) for parent in parents] == [
        ["first", "second", "third"],
        ["third"],
        ["first", "second"],
    ]
    assert [parent.info.run_name for parent in parents] == ["dvc repro"] * 3


def test_skipped_stages_are_linked_to_the_runs_that_made_their_outputs(pipeline_runs):
    (failed, mended, _), runs = pipeline_runs
    made = _children(runs, failed) | _children(runs, mended)
    tags = mended.data.tags
    assert [tags[f"stage.{name}.state"] for name in ("first", "second", "third")] == ["cached", "cached", "ran"]
    assert {name: tags[f"stage.{name}"] for name in made} == {name: run.info.run_id for name, run in made.items()}


def test_no_run_is_left_open_and_the_failure_stands_in_its_parent(pipeline_runs):
    (failed, mended, partial), runs = pipeline_runs
    assert failed.info.status == _children(runs, failed)["third"].info.status == "FAILED"
    assert failed.data.tags[tracking.ERROR] == "third: ValueError: no good"
    assert {run.info.status for run in (mended, *_children(runs, mended).values())} == {"FINISHED"}
    assert {run.info.status for run in (partial, *_children(runs, partial).values())} == {"FINISHED"}
    assert [_children(runs, failed)[name].info.status for name in ("first", "second")] == ["FINISHED"] * 2


def test_the_parent_runs_from_the_first_stage_to_the_last(pipeline_runs):
    (failed, mended, partial), runs = pipeline_runs
    for parent in (mended, partial):
        stages = _children(runs, parent).values()
        assert parent.info.start_time <= min(stage.info.start_time for stage in stages)
        assert parent.info.end_time >= max(stage.info.end_time for stage in stages)
    assert {f"seconds.{name}" for name in ("first", "second")} == set(failed.data.metrics)
    assert set(mended.data.metrics) == {"seconds.third"}

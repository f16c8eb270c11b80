"""Stages that train in two processes: the first one makes what the stage makes, and none is left."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from pipeline.artifacts import paths
from tests.settings import ROOT
from tests.stages.conftest import Project

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
SMALL = {
    "stage1.encoder": "residual_mlp",
    "stage2.detector": "radon",
    **{f"{stage}.fit.{key}": value for stage in ("stage1", "stage2") for key, value in {
        "device": "cpu", "devices": 2, "epochs": 4, "min_steps": 0, "batch_size": 128, "patience": 0,
    }.items()},
    "stage2.confidence.warm_up": 20,
    "stage2.confidence.every_n_epochs": 20,
}  # fmt: skip


@pytest.fixture
def paired(project: Project) -> Project:
    """A project with records of a small week, whose stages train in two processes."""
    for name, value in SMALL.items():
        project.set(name, value)
    project.run("ingest", "preprocess")
    return project


def started(*command: str) -> "subprocess.Popen[str]":
    """A stage as ``dvc repro`` or ``torchrun`` starts it."""
    own = {"PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db", "OMP_NUM_THREADS": "1"}
    env = {**os.environ, **own, "GOMP_SPINCOUNT": "1000"}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, *command], env=env, stdout=pipe, stderr=pipe, text=True)


def ended(process: "subprocess.Popen[str]") -> tuple[list[str], str]:
    """The lines that it printed, and what went wrong."""
    out, err = process.communicate(timeout=300)
    return out.splitlines(), err


def epochs(lines: list[str]) -> list[int]:
    return [int(line.split(":")[0].removeprefix("epoch ")) for line in lines if line.startswith("epoch ")]


def runs(stage: str) -> list[tuple[str, dict[str, float]]]:
    """How each run of a stage in MLflow ended, the last one first, and its metrics."""
    from mlflow import MlflowClient

    client = MlflowClient("sqlite:///mlflow.db")
    every = [each.experiment_id for each in client.search_experiments()]
    found = client.search_runs(every, f"run_name = '{stage}'", order_by=["attributes.start_time DESC"])
    return [(run.info.status, run.data.metrics) for run in found if "mlflow.parentRunId" in run.data.tags]


def test_a_rank_that_dies_ends_the_stage_which_then_goes_on_from_its_last_epoch(paired: Project) -> None:
    lines, err = ended(started(*TORCHRUN, "-m", "pipeline.stages.stage1"))
    assert epochs(lines) == [1, 2, 3, 4], err
    assert paths.ENCODER.with_suffix(".safetensors").exists()

    paired.set("stage2.fit.epochs", 25)
    stage = started("-m", "pipeline.stages.stage2")
    assert stage.stdout
    first = []
    while 2 not in epochs(first):
        first.append(stage.stdout.readline())
    ranks = {each.environ()["RANK"]: each for each in psutil.Process(stage.pid).children()}
    ranks["1"].send_signal(signal.SIGKILL)
    _, err = ended(stage)
    assert stage.returncode == 1
    assert err.splitlines()[-1].startswith("stage2: process 1 of 2 of this training was ended by SIGKILL"), err
    assert "Traceback" not in err
    assert not any(each.is_running() for each in ranks.values())
    assert not paths.DETECTOR.with_suffix(".safetensors").exists()

    again, err = ended(started("-m", "pipeline.stages.stage2"))
    assert epochs(again)[0] > 1, err
    assert epochs(again)[-1] == 25
    (last, metrics), (before, _) = runs("stage2")
    assert (last, before) == ("FINISHED", "FAILED")
    assert metrics["val_loss"] > 0  # logged by the first rank
    assert metrics["system/process_count"] >= 1
    assert (paths.REPORTS / "stage2" / "confidence_updates.json").exists()
    assert not list(paths.CHECKPOINTS.rglob("last.safetensors"))


def test_a_model_in_closed_form_is_fitted_by_one_process(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.set("stage1.fit.devices", 2)
    project.run("ingest", "preprocess", "stage1")
    assert "Identity is fitted in closed form: fit.devices and fit.nodes stay unused" in capsys.readouterr().out

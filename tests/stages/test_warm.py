"""A stage that a warm process runs is the stage that a fresh process runs: its files, words, code and end."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from flows.runtime import dvc, warm
from pipeline.artifacts import paths
from pipeline.base.warm import VARIABLE
from tests.settings import ROOT
from tests.stages.conftest import Project

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a process is kept warm on Linux alone")
SECONDS = 240
PYTEST = "PYTEST_CURRENT_TEST"  # is another one for each test
LONG = {"stage2.detector": "radon", "stage2.fit.epochs": 5000, "stage2.fit.patience": 0, "stage2.fit.device": "cpu"}


@pytest.fixture(scope="module")
def project(week: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project whose stages start from a warm process, up to the second stage."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("warm"))
        patch.delenv(PYTEST)
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
        shutil.copytree(week, Project.raw)
        made = Project()
        with warm.stages(Path.cwd()):
            assert outcome("ingest")[0] == 0
            made.run("preprocess", "stage1")
            for name, value in LONG.items():
                made.set(name, value)
            yield made


def started(stage: str, **variables: str) -> "subprocess.Popen[str]":
    """A stage as ``dvc repro`` starts it, with what it prints in one pipe."""
    command = [sys.executable, "-m", f"pipeline.stages.{stage}"]
    env = {name: value for name, value in dvc.stage_environment().items() if name != PYTEST} | variables
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def outcome(stage: str, **variables: str) -> tuple[int, str, bool]:
    """The exit code of a stage, what it printed, and whether the warm process ran it."""
    with started(stage, **variables) as process:
        out, _ = process.communicate(timeout=SECONDS)
    return process.returncode, out, worker(stage) != process.pid


def worker(stage: str) -> int:
    """The process that ran a stage last, as its run in MLflow says."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{Path('mlflow.db').resolve()}")  # it keeps a store that it has opened by its name
    every = [each.experiment_id for each in client.search_experiments()]
    terms = f"tags.`flowsculpt.stage` = '{stage}'"
    last = client.search_runs(every, terms, order_by=["attributes.start_time DESC"], max_results=1)[0]
    return int(last.data.tags["flowsculpt.process"].split(":")[1])


def training(process: "subprocess.Popen[str]") -> psutil.Process:
    """The warm process that runs a stage, once it trains."""
    assert process.stdout
    for line in process.stdout:
        if line.startswith("epoch 2"):
            return psutil.Process(worker("stage2"))
    raise AssertionError("it ended before")


def test_the_warm_process_has_the_variables_that_dvc_gives_to_each_stage() -> None:
    """With others, each stage would run in a fresh process, and nobody would notice."""
    shell = yaml.safe_load((ROOT / "dvc.yaml").read_text())["vars"][0]["shell"]
    assert dict(each.split("=") for each in shell.split()) == dvc.OF_THE_SHELL


def test_it_makes_the_same_files_and_says_the_same(project: Project) -> None:
    files = [paths.RECORDS, paths.SOURCE]
    code, said, here = outcome("ingest", **{VARIABLE: ""})
    fresh = [file.read_bytes() for file in files]
    assert (code, here) == (0, False), said
    assert outcome("ingest") == (0, said, True)
    assert [file.read_bytes() for file in files] == fresh


def test_an_error_keeps_its_words_and_its_code(project: Project) -> None:
    project.set("ingest.dataset", "cicds2017")
    try:
        warm_one, fresh = outcome("ingest")[:2], outcome("ingest", **{VARIABLE: ""})[:2]
    finally:
        project.set("ingest.dataset", "cicids2017")
    assert warm_one == fresh
    assert fresh[0] == 1
    assert "cicds2017" in fresh[1]


def test_where_a_library_would_be_loaded_otherwise_a_fresh_process_runs_it(project: Project) -> None:
    assert not outcome("ingest", OMP_NUM_THREADS="3")[2]
    assert outcome("ingest", CUDA_VISIBLE_DEVICES="", DVC_STAGE="ingest")[2]  # which are own to a stage


def test_signals_reach_it_and_the_one_that_waits_ends_as_it_does(project: Project) -> None:
    with started("stage2") as process:
        stage = training(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 128 + signal.SIGTERM
    assert not stage.is_running()


def test_it_does_not_outlive_the_one_that_waits(project: Project) -> None:
    with started("stage2") as process:
        stage = training(process)
        process.kill()
        psutil.wait_procs([stage], SECONDS)
        assert not stage.is_running()


def test_the_end_of_the_warm_process_is_one_that_another_try_may_mend(project: Project) -> None:
    with started("stage2") as process:
        stage = training(process)
        keeper = stage.parent()
        assert keeper
        keeper.kill()
        assert process.wait(SECONDS) == os.EX_TEMPFAIL
        psutil.wait_procs([stage], SECONDS)
        assert not stage.is_running()  # although somebody still reads what it prints


def test_once_its_code_was_edited_a_fresh_process_runs_it(
    tmp_path: Path, week: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And where the warm process is gone, too."""
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(PYTEST)
    monkeypatch.delenv(VARIABLE, raising=False)  # of the other tests
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    shutil.copytree(week, Project.raw)
    Project()
    with warm.stages(Path.cwd()):
        address = os.environ[VARIABLE]
        assert outcome("ingest")[2]
        with (tmp_path / "pipeline" / "stages" / "ingest.py").open("a") as file:
            file.write("# edited\n")
        assert not outcome("ingest")[2]
    assert not Path(address).exists()
    assert not outcome("ingest", **{VARIABLE: address})[2]

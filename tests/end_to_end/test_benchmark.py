"""A small grid over synthetic records: killed half-way, completed on restart, no experiment run twice."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psutil
import pytest
import yaml

from flows.grid import experiments
from pipeline.artifacts import paths
from pipeline.artifacts.files import read_lines
from tests.end_to_end.conftest import BIN, Project
from tests.end_to_end.served import until

COMMAND = (sys.executable, "-m", "flows.benchmark")
SETTINGS = {
    "ingest": {"synthetic": {"records": 2000}},
    "stage1": {"encoder": "identity"},
    "stage2": {"detector": "mahalanobis"},
    "workers": {"gpu_workers": 0},
}
DESIGN = {"records": ".", "unseen": ["bot", "dos_slowloris"], "mix": {"bot": 1, "dos_slowloris": 3}}

CONFIGURATIONS = {"sum": {"calibrate.fusion": "fisher"}, "largest": {"calibrate.fusion": "max"}}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    made = Project(tmp_path_factory.mktemp("grid"))
    made.settings(SETTINGS)
    whole = yaml.safe_load((made.folder / "benchmark.yaml").read_text())
    whole |= {"seeds": [0], "designs": {"small": DESIGN}, "configurations": CONFIGURATIONS}
    (made.folder / "benchmark.yaml").write_text(json.dumps(whole))  # JSON is YAML
    made.commit()
    return made


def _events(project):
    return [(line["event"], line["cell"]) for line in read_lines(project.folder / paths.CELLS)]


def _left(project):
    """Processes that the grid started."""
    marked = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("GRID") == str(project.folder) and process.status() != psutil.STATUS_ZOMBIE:
                marked.append(process)
        except psutil.Error:
            continue
    return marked


def _kill_half_way(project):
    """Start the grid, and kill its process group once the second cell works."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "PREFECT", "DVC"))}
    own = {"PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(project.folder), "GRID": str(project.folder)}
    log = project.folder / ".dvc" / "tmp" / "grid.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            COMMAND, cwd=project.folder, env=kept | own, stdout=output, stderr=output, start_new_session=True
        )
    until(lambda: [event for event, _ in _events(project)][:3] == ["started", "done", "started"], 500, log)
    copy = project.folder / experiments.COPIES / _events(project)[-1][1]
    until(lambda: any(copy == _folder(each) for each in _left(project)), 60, log)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    until(lambda: not _left(project), 30)


def _folder(process):
    try:
        return Path(process.cwd())
    except psutil.Error:
        return None


def test_a_grid_that_is_killed_half_way_is_completed_and_nothing_that_was_done_runs_again(project):
    _kill_half_way(project)
    (first,) = experiments.find(project.folder)
    status = experiments.git(project.folder, "status", "--short")
    said = project.call(*COMMAND)
    found = experiments.find(project.folder)
    (second,) = found.keys() - {first}
    assert _events(project) == [
        ("started", first), ("done", first), ("started", second), ("started", second), ("done", second),
    ]  # fmt: skip
    _, runs = project.runs()
    finished = Counter(run.info.run_name for run in runs if run.info.status == "FINISHED")
    shared = ("ingest", "validate", "preprocess", "stage1", "stage2")
    assert {finished[stage] for stage in shared} == {1}  # settings agree: one run, the other from the run cache
    assert finished["evaluate"] == 2
    assert "| sum | 1/1 |" in said
    assert "| largest | 1/1 |" in said
    report = json.loads((project.folder / paths.BENCHMARK / "benchmark.json").read_text())
    assert {each["name"]: each["commit"] for each in report["cells"]} == found
    assert report["failures"] == []
    assert experiments.git(project.folder, "status", "--short") == status
    assert not list((project.folder / experiments.COPIES).glob("*/"))
    assert second in project.call("dvc", "exp", "list", "--name-only")

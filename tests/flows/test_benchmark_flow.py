"""What becomes of the cells of a grid: found, run, failed, or run by another grid."""

import argparse
from pathlib import Path

import pytest
from prefect.logging import disable_run_logger
from prefect.states import Completed

from flows import benchmark
from flows.grid import experiments, settings
from flows.grid.cells import Cell, Grid
from flows.grid.experiments import ExperimentError, Snapshot
from flows.grid.results import Result
from flows.grid.results import table as tabulate
from flows.runtime import graph
from pipeline import config
from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json, read_lines
from pipeline.base.errors import ConfigError

ROOT = Path(__file__).parents[2]
SECTION = {"n_benign": 10, "n_attack": 5, "auroc": 0.9, "thresholds": {}}
METRICS = {"seen": SECTION, "unseen": SECTION}


def _cell(seed=0):
    return Cell("d", "a", seed, "", ("bot",), {}, f"{seed}" * 10)


@pytest.fixture
def snapshot(tmp_path, monkeypatch):
    """A project in which experiments only note that they ran; ``done`` holds those that are found."""
    made = Snapshot(tmp_path, "commit", "tree")
    done, ran = {}, []

    def run(_snapshot, name, *_):
        ran.append(name)
        if name == _cell(1).name:
            raise ExperimentError("a stage failed\nits last line")
        done[name] = f"commit of {name}"
        return done[name]

    monkeypatch.setattr(experiments, "find", lambda _: done)
    monkeypatch.setattr(experiments, "metrics", lambda _, commit: None if commit == "lost" else METRICS)
    monkeypatch.setattr(experiments, "run", run)
    monkeypatch.setattr(graph, "stages", lambda _: ())
    vars(made)["tests"] = (done, ran)
    with disable_run_logger():
        yield made


def _events(snapshot):
    return [(line["event"], line["cell"]) for line in read_lines(snapshot.root / paths.CELLS)]


def test_a_cell_is_run_once_and_found_afterwards(snapshot):
    first, second = (benchmark.run_cell.fn(snapshot, _cell(), False) for _ in range(2))
    assert (first.is_completed(), second.name) == (True, "Found")
    assert first.data == second.data == Result(_cell(), f"commit of {_cell().name}", METRICS)
    assert _events(snapshot) == [("started", _cell().name), ("done", _cell().name)]


def test_a_cell_whose_metrics_are_lost_is_run_again(snapshot):
    done, ran = vars(snapshot)["tests"]
    done[_cell().name] = "lost"
    assert benchmark.run_cell.fn(snapshot, _cell(), False).data.metrics == METRICS
    assert ran == [_cell().name]


def test_a_failure_is_a_state_of_one_line_and_is_noted_with_all_lines(snapshot):
    state = benchmark.run_cell.fn(snapshot, _cell(1), False)
    assert (state.is_failed(), state.message) == (True, "a stage failed")
    assert benchmark._result(_cell(1), state).error == "a stage failed\nits last line"
    assert read_lines(snapshot.root / paths.CELLS)[-1]["error"] == "a stage failed\nits last line"
    assert benchmark.run_cell.fn(snapshot, _cell(0), False).is_completed()


def test_a_cell_that_another_grid_runs_is_left_and_then_found(snapshot):
    done, ran = vars(snapshot)["tests"]
    with experiments.held(snapshot.root, _cell().name):
        state = benchmark.run_cell.fn(snapshot, _cell(), False)
        assert (state.name, benchmark._result(_cell(), state)) == ("Busy", None)
        done[_cell().name] = "by the other"
    assert benchmark.run_cell.fn(snapshot, _cell(), True).data.commit == "by the other"
    assert ran == []


def test_busy_cells_come_last_and_are_waited_for(snapshot, monkeypatch):
    asked = []

    def run_cell(_snapshot, cell, wait, return_state):
        asked.append((cell.seed, wait))
        busy = cell.seed == 0 and not wait
        return Completed(data=benchmark.BUSY if busy else Result(cell, "c", METRICS))

    monkeypatch.setattr(benchmark, "run_cell", run_cell)
    results = benchmark._results(snapshot, [_cell(0), _cell(2)])
    assert asked == [(0, False), (2, False), (0, True)]
    assert {each.cell.seed for each in results} == {0, 2}


def test_the_table_is_written_and_a_failure_ends_the_flow_as_failed(tmp_path, monkeypatch):
    given = config.read(ROOT / "benchmark.yaml")
    given |= {"designs": {"d": {"records": ".", "unseen": ["bot"]}}, "configurations": {"a": {}}}
    grid = Grid.of(config.read(ROOT / "params.yaml"), settings.build(given))
    made = {}
    monkeypatch.setattr(benchmark, "create_markdown_artifact", lambda page, key: made.update({key: page}))
    results = [Result(_cell(0), "c", METRICS), Result(_cell(1), error="a stage failed\nits last line")]
    assert benchmark._published(grid, results[:1], tmp_path).is_completed()
    state = benchmark._published(grid, results, tmp_path)
    assert (state.is_failed(), state.message) == (True, f"1 of 2 cells failed, first {_cell(1).name}: a stage failed")
    report = read_json(tmp_path / "benchmark.json")
    assert report["failures"] == tabulate(grid, results)["failures"]
    assert [each["commit"] for each in report["cells"]] == ["c", ""]
    assert (tmp_path / "benchmark.md").read_text() == made["benchmark"]
    assert (tmp_path / "benchmark.csv").read_text().startswith("design,configuration,seeds")


def test_a_misspelt_name_ends_the_program_before_a_server_is_asked(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(benchmark.servers, "connected", lambda _: pytest.fail("a server was asked"))
    assert benchmark.main(["--designs", "papr"]) == 1
    assert "benchmark: benchmark.yaml: there is no design 'papr' (did you mean 'paper'?)" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="no configuration"):
        benchmark._benchmarked(argparse.Namespace(designs=[], configurations=["x"], seeds=[], path="", out=""))

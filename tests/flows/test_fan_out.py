"""A grid that uses all GPUs of its machine: how many processes it needs, and that none of them is left."""

import sys
import time

import psutil
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import arguments, benchmark
from flows.grid import fan_out
from flows.grid.cells import Cell, Grid
from flows.grid.experiments import COPIES, Snapshot
from flows.runtime import gpu, graph

SLEEPS = "import os, time; print(os.environ['FLOWSCULPT_GRID_HELPER'], os.environ['PREFECT_API_URL']); time.sleep(60)"
COMMAND = [sys.executable, "-u", "-c", SLEEPS]


@pytest.mark.parametrize(
    ("devices", "number", "places"), [(0, 1, 1), (1, 1, 1), (4, 1, 4), (4, 2, 2), (5, 2, 2), (1, 2, 1)]
)
def test_a_grid_runs_as_many_cells_at_once_as_it_can_lease_gpus_for(devices, number, places):
    assert fan_out.places(devices, number) == places


@pytest.fixture
def others():
    """The processes that this one has already: those that start others for it stay to its end."""
    return psutil.Process().children()


def test_helpers_reach_the_same_server_and_end_with_the_grid(tmp_path, others):
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:4/api"}), fan_out.helpers(2, COMMAND, tmp_path):
        logs = [tmp_path / COPIES / f"helper-{number}.log" for number in (1, 2)]
        deadline = time.monotonic() + 60
        while not all(log.read_text() for log in logs) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert {log.read_text() for log in logs} == {"1 http://127.0.0.1:4/api\n"}
    assert psutil.Process().children() == others


def test_a_helper_starts_none_itself(tmp_path, monkeypatch, others):
    monkeypatch.setenv(fan_out.HELPER, "1")
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:4/api"}), fan_out.helpers(2, COMMAND, tmp_path):
        assert psutil.Process().children() == others


def test_the_devices_of_a_grid_are_those_that_its_hungriest_cell_needs(tmp_path, monkeypatch):
    pair = (gpu.Device(0, "GPU-a"), gpu.Device(1, "GPU-b"))
    monkeypatch.setattr(gpu, "usable_devices", lambda: pair)
    monkeypatch.setattr(graph, "stages", lambda _: (graph.Stage("train", "c", True), graph.Stage("plain", "c")))
    params = [{}, {"train": {"fit": {"devices": 2}}, "plain": {"fit": {"devices": 9}}}]
    cells = [Cell("d", "a", seed, "", (), each, "0") for seed, each in enumerate(params)]
    snapshot = Snapshot(tmp_path, "commit", "tree")
    assert benchmark._devices(snapshot, cells) == (pair, 2)
    assert benchmark._devices(snapshot, cells[:1]) == (pair, 1)


def test_a_helper_is_asked_for_the_same_grid():
    asked = Grid(None, {}, ("d",), ("a", "b"), (0, 1))
    given = arguments.parse("benchmark", benchmark._command(asked, "records")[3:])
    assert (tuple(given.designs), tuple(given.configurations), tuple(given.seeds)) == (("d",), ("a", "b"), (0, 1))
    assert given.path == "records"

"""A pipeline run that was killed goes on in the runs that it had: one parent, one child a stage, whole curves."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pipeline import tracking

KILLED = ("left", "buried", "changed")
WORKER = """
    import os, signal, sys
    from contextlib import ExitStack
    from pipeline import tracking

    with ExitStack() as stack:
        for flow_run in sys.argv[1:]:
            parent = tracking.open_parent("training", {tracking.FLOW_RUN: flow_run})
            os.environ[tracking.PARENT_VARIABLE] = parent
            run = stack.enter_context(tracking.stage("learn", {"setting": 1}, {}, lambda: "never"))
            for epoch in range(4):
                run.metrics({"loss": 1 / (1 + epoch)}, step=epoch)
            print(parent, run.run_id, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def killed(store):
    """The parent and the child of each flow run whose process was killed in the middle of its one stage."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "FLOWSCULPT_"))}
    outer |= tracking.environment() | {"PYTHONPATH": str(Path(tracking.__file__).parents[2])}
    command = [sys.executable, "-c", textwrap.dedent(WORKER), *KILLED]
    done = subprocess.run(command, cwd=store, env=outer, capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return dict(zip(KILLED, map(str.split, done.stdout.splitlines()), strict=True))


def _go_on(monkeypatch, flow_run, setting, epochs, error=None):
    """The parent and the child of a flow run in this process."""
    parent = tracking.open_parent("training", {tracking.FLOW_RUN: flow_run})
    monkeypatch.setenv(tracking.PARENT_VARIABLE, parent)
    with tracking.stage("learn", {"setting": setting}, {}, lambda: f"outputs of {flow_run}") as run:
        for epoch in epochs:
            run.metrics({"loss": 1 / (1 + epoch)}, step=epoch)
        if error:
            raise error
    tracking.close_parent(parent)
    return [parent, run.run_id]


def _steps(client, run, name="loss"):
    return [point.step for point in client.get_metric_history(run, name)]


@pytest.mark.parametrize("flow_run", ["left", "buried"])
def test_the_next_worker_goes_on_in_the_same_parent_and_the_same_child(client, killed, monkeypatch, flow_run):
    parent, child = killed[flow_run]
    if flow_run == "buried":
        tracking.close_parent(tracking.open_parent("another", {}))
        assert {client.get_run(run).info.status for run in (parent, child)} == {"KILLED"}
    # epoch 3 was logged, but not kept in a checkpoint
    assert _go_on(monkeypatch, flow_run, 1, range(3, 6)) == [parent, child]
    assert _steps(client, child) == [0, 1, 2, 3, 4, 5]
    system = _steps(client, child, "system/cpu_utilization_percentage")
    assert len(set(system)) == len(system) > 0
    for run in (parent, child):
        tags = client.get_run(run).data.tags
        assert client.get_run(run).info.status == "FINISHED"
        assert tags[tracking.RESUMED] == "1"
        assert tracking.ERROR not in tags
    assert tracking.children(parent) == {"learn": tracking.Child("learn", "ran", child)}
    assert len(tracking.search({tracking.FLOW_RUN: flow_run})) == 1


def test_a_value_that_differs_at_a_step_is_logged_beside_the_old_one(client, killed, monkeypatch):
    parent = tracking.open_parent("training", {tracking.FLOW_RUN: "twice"})
    monkeypatch.setenv(tracking.PARENT_VARIABLE, parent)
    with pytest.raises(KeyboardInterrupt), tracking.stage("learn", {}, {}, lambda: "x") as run:
        run.metrics({"loss": 0.5}, step=0)
        raise KeyboardInterrupt
    with tracking.stage("learn", {}, {}, lambda: "x") as again:
        again.metrics({"loss": 0.25}, step=0)
        again.metrics({"loss": 0.5}, step=0)
    assert again.run_id == run.run_id
    assert [point.value for point in client.get_metric_history(run.run_id, "loss")] == [0.5, 0.25]


def test_other_settings_give_the_next_a_run_of_its_own(client, killed, monkeypatch):
    parent, child = killed["changed"]
    again, other = _go_on(monkeypatch, "changed", 2, range(4))
    assert again == parent
    assert other != child
    assert _steps(client, child) == _steps(client, other) == [0, 1, 2, 3]


def test_a_failure_or_an_end_of_its_own_gives_the_next_a_run_of_its_own(client, monkeypatch):
    with pytest.raises(ValueError, match="bad data"):
        _go_on(monkeypatch, "own", 1, range(2), ValueError("bad data"))
    (parent, first), (again, second) = (_go_on(monkeypatch, "own", 1, range(2)) for _ in range(2))
    assert parent == again
    runs = tracking.search({"mlflow.parentRunId": parent})
    assert sorted(run.info.status for run in runs) == ["FAILED", "FINISHED", "FINISHED"]
    assert {first, second} < {run.info.run_id for run in runs}


def test_another_flow_run_takes_nothing_over(client):
    parents = [tracking.open_parent("training", {tracking.FLOW_RUN: name}) for name in ("one", "two", "one")]
    assert parents[0] == parents[2] != parents[1]
    assert len({tracking.open_parent("training", {}) for _ in range(2)}) == 2


def test_a_stage_that_ran_before_its_pipeline_run_was_killed_still_ran_in_it(client, monkeypatch):
    parent = tracking.open_parent("training", {tracking.FLOW_RUN: "went on"})
    monkeypatch.setenv(tracking.PARENT_VARIABLE, parent)
    with tracking.stage("early", {}, {}, lambda: "content of early") as run:
        pass
    assert tracking.link(parent, "early", "content of early") == run.run_id  # DVC skips it the second time
    assert tracking.children(parent) == {"early": tracking.Child("early", "ran", run.run_id)}

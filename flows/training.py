"""The training flow: reproduce the pipeline, one task for each DVC stage, under one MLflow run.

::

    python -m flows.training [--force] [--promote] [--when-busy wait|refuse]

DVC decides what has to run, so Prefect's own result cache is off. It works against a server, where ``PREFECT_API_URL``
names one or one answers on this machine, and without: it then starts one for as long as the flow lasts. That one is not
Prefect's ephemeral server, which dies of the same Ctrl-C as the flow and leaves the flow calling it for minutes.

Run as a program it turns the telemetry of every tool off before Prefect is imported, which reports its first import.
"""

from flows import arguments
from pipeline.tracking import quiet_tools

if __name__ == "__main__":
    quiet_tools()
    arguments.parse("training")  # help, and what is misspelt, before the imports below, which take seconds

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import httpx
from prefect import State, flow, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, Failed

from flows import lineage
from flows.reports import summary
from flows.runtime import dvc, follow, gpu, graph, origin, program, servers, warm, working_copy
from flows.runtime.heartbeat import heartbeat
from flows.runtime.shown import get_run_logger
from pipeline import tracking
from pipeline.base.errors import FlowsculptError
from pipeline.serving import registry

BACK_OFF = [10.0, 60.0, 300.0]  # seconds before a transient failure is retried


def is_transient(error: object) -> bool:
    """Whether another try may mend it: of the network and of servers, never of records or settings."""
    if isinstance(error, dvc.StageFailedError):
        return error.is_transient
    return isinstance(error, Exception) and (isinstance(error, httpx.TransportError) or tracking.is_transient(error))


def _heals(_task: Any, _run: Any, state: State[Any]) -> bool:
    return is_transient(state.result(raise_on_failure=False))


HEALING: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "retries": len(BACK_OFF),
    "retry_delay_seconds": BACK_OFF,
    "retry_condition_fn": _heals,
}


@task(task_run_name="{stage.name}", **HEALING)
def reproduce(stage: graph.Stage, parent: str, force: bool) -> State[Any]:
    """Bring one stage up to date; a failure that no other try can mend is a state, not a traceback."""
    started, log = time.monotonic(), get_run_logger().info
    try:
        with gpu.lease(gpu.usable_devices() if stage.device else (), log, _devices(stage)) as device:
            env = {tracking.PARENT_VARIABLE: parent, **device}
            outcome = dvc.reproduce(stage, log, env, Path.cwd(), force)
        if outcome is dvc.Outcome.CACHED:
            _link(stage.name, parent)
    except FlowsculptError as error:
        if is_transient(error):
            raise
        return _failed(error)
    seconds = time.monotonic() - started
    return Completed(name=outcome.value.capitalize(), message=f"{outcome.value} in {seconds:.1f} s", data=seconds)


def _devices(stage: graph.Stage) -> int:
    """How many GPUs a stage asks for."""
    from pipeline import config

    return gpu.wanted(config.read().get(stage.name, {}).get("fit")) if stage.device else 1


@task(task_run_name="register", **HEALING)
def register(parent: str) -> State[Any]:
    """Let what the stages made have a version of the model, under the alias ``candidate``."""
    from pipeline.serving import benign
    from pipeline.serving.bundle import Bundle

    tags = {tracking.FLOW_RUN: flow_run_id(), **lineage.provenance(Path.cwd())}
    try:
        with heartbeat("register"), TemporaryDirectory() as folder:
            Bundle.of_project().save(Path(folder) / "bundle")
            run = tracking.resolve(parent)
            made = origin.of_project(Path.cwd())
            version = registry.register(Path(folder) / "bundle", run, tags, summary.sentence(), made)
    except FlowsculptError as error:
        if is_transient(error):
            raise
        return _failed(error)
    again = "" if version.run_id == run else f", which is there already: run {version.run_id} made the same model"
    get_run_logger().info("version %d%s. %s", version.number, again, benign.NOTICE)
    return Completed(message=f"version {version.number}{again}", data=version)


@flow(name="training", persist_result=False)
def training(force: bool = False, promote: bool = False, when_busy: working_copy.WhenBusy = "wait") -> State[Any]:
    """Reproduce the pipeline, register the model that it makes, and let it stand for promotion.

    Every stage is brought up to date in the order of the graph, up to the first that fails. A run that is started again
    goes on in the same MLflow run, from the last checkpoint.

    Args:
        force: Run every stage, also where nothing has changed.
        promote: Let the new version take the champion's place if it passes the gate.
        when_busy: While another run works in the same clone: wait for it, or refuse.
    """
    gpu.outlast_outages()
    try:
        name, log = f"flow run {runtime.flow_run.name}", get_run_logger().info
        with working_copy.alone(Path.cwd(), name, when_busy, log), warm.stages(Path.cwd()):
            return _train(force, promote)
    except working_copy.BusyError as error:
        return _failed(error)


def _train(force: bool, promote: bool) -> State[Any]:
    with heartbeat("opening the MLflow run"):
        parent = tracking.open_parent("training", {tracking.FLOW_RUN: flow_run_id()})
    try:
        _tell("settings", parent)
        error, seconds = _reproduce_all(parent, force)
        if not error:
            _tell("results", parent)
        _name_preset(parent)
        done: Any = error or _result(register(parent, return_state=True))
    except BaseException as interruption:
        tracking.close_parent(parent, f"{type(interruption).__name__}: {interruption}")
        raise
    error = done if isinstance(done, Exception) else None
    tracking.close_parent(parent, str(error or ""))
    rows = summary.rows_of(parent, seconds)
    summary.publish(rows, [] if error else summary.headlines(), error)
    if error:
        return _failed(error)
    message = f"{len(rows)} stages, version {done.number}"
    return _promoted(message, parent, rows) if promote else Completed(message=message, data=(parent, rows))


def _tell(what: Literal["settings", "results"], parent: str) -> None:
    """Put the settings, or what the artefacts on disk say, on the page of the parent run."""
    from pipeline.stages.reports import overview

    try:
        with heartbeat(what):
            getattr(overview, what)(tracking.StageRun(parent))
    except FlowsculptError as error:
        get_run_logger().warning("the MLflow run tells no %s: %s", what, error)


def _name_preset(parent: str) -> None:
    """Say on the page of the parent run which preset params.yaml follows, and which of its settings were changed."""
    from flows.runtime import presets
    from pipeline import config

    try:
        tracking.StageRun(parent).tags({tracking.PRESET: presets.recorded(config.read())})
    except FlowsculptError as error:
        get_run_logger().warning("the MLflow run names no preset: %s", error)


def _promoted(message: str, parent: str, rows: "list[summary.Row]") -> State[Any]:
    """What became of the candidate; a refusal is no failure of the training."""
    from flows.promotion import promotion

    with heartbeat("promotion"):
        state: State[Any] = promotion("candidate", return_state=True)
    error = _result(state)
    if isinstance(error, Exception):
        return _failed(error)
    return Completed(message=f"{message}: {state.message}", data=(parent, rows))


def _reproduce_all(parent: str, force: bool) -> tuple[Exception | None, dict[str, float]]:
    """The error of the stage that failed, if any, and the seconds that each of those before it took."""
    seconds: dict[str, float] = {}
    follow.follow(Path.cwd())
    for stage in graph.stages(Path.cwd()):
        done = _result(reproduce(stage, parent, force, return_state=True))
        if isinstance(done, Exception):
            return done, seconds
        seconds[stage.name] = done
    return None, seconds


def _result(state: State[Any]) -> Any:
    """What a task or flow returned, or its error."""
    return state.result(raise_on_failure=False)


def _failed(error: Exception) -> State[Any]:
    """The first line of the error says what failed; the last lines of its output stand in the log already."""
    return Failed(message=str(error).partition("\n")[0], data=error)


def _link(stage: str, parent: str) -> None:
    from pipeline.artifacts import paths

    tracking.link(parent, stage, paths.content_hash(stage))


def flow_run_id() -> str:
    """The id of the Prefect flow run that this is part of."""
    return str(runtime.flow_run.id or "")


# The program.


def main(options: Sequence[str] | None = None) -> int:
    """Run the flow from the command line; returns the exit code."""
    given = arguments.parse("training", options)
    return program.run("training", lambda: _trained(given.force, given.promote, given.when_busy))


def _trained(force: bool, promote: bool, when_busy: working_copy.WhenBusy) -> str:
    working_copy.check(Path.cwd())
    with warm.stages(Path.cwd()), servers.connected("training"):
        gpu.ensure_devices()
        return summary.text(*program.result(training(force, promote, when_busy, return_state=True)))


if __name__ == "__main__":
    sys.exit(main())

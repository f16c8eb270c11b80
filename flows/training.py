"""The training flow: reproduce the pipeline, one task for each DVC stage, under one MLflow run.

::

    python -m flows.training [--force] [--promote] [--when-busy wait|refuse]

DVC decides what has to run, so Prefect's own result cache is off. It works against a server, where ``PREFECT_API_URL``
names one or one answers on this machine, and without: it then starts one for as long as the flow lasts. That one is not
Prefect's ephemeral server, which dies of the same Ctrl-C as the flow and leaves the flow calling it for minutes.

Run as a program it turns the telemetry of every tool off before Prefect is imported, which reports its first import.
"""

import os

from pipeline.tracking import environment

if __name__ == "__main__":
    os.environ.update({name: value for name, value in environment().items() if name not in os.environ})

import argparse
import json
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NoReturn

import httpx
from prefect import State, flow, get_run_logger, runtime, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, Failed

from flows import dvc, leases, servers
from pipeline import tracking
from pipeline.errors import FlowsculptError

BACK_OFF = [10.0, 60.0, 300.0]  # seconds before another try of what can heal
HEADLINES = ("auroc", "auprc")
HEADLINES_AT_THRESHOLD = ("recall", "fpr")


@dataclass(frozen=True)
class Row:
    """One line of the result table.

    Attributes:
        stage: its name.
        state: what DVC did with it.
        seconds: how long that took, DVC's own work included.
        run: the MLflow run that made its outputs, empty where the store holds none.
        page: the address of that run below the address of the MLflow UI.
    """

    stage: str
    state: Literal["ran", "cached"]
    seconds: float
    run: str
    page: str


def can_heal(error: object) -> bool:
    """Whether another try may mend it: of the network and of servers, never of records or settings."""
    if isinstance(error, dvc.StageFailedError):
        return error.can_heal
    return isinstance(error, ConnectionError | TimeoutError | httpx.TransportError | tracking.AwayError)


def _heals(_task: Any, _run: Any, state: State[Any]) -> bool:
    return can_heal(state.result(raise_on_failure=False))


@task(
    task_run_name="{stage.name}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=len(BACK_OFF),
    retry_delay_seconds=BACK_OFF,
    retry_condition_fn=_heals,
)
def reproduce(stage: dvc.Stage, parent: str, force: bool) -> State[Any]:
    """Bring one stage up to date; a failure that no other try can mend is a state, not a traceback."""
    started, log = time.monotonic(), get_run_logger().info
    try:
        with leases.lease(leases.usable_devices() if stage.device else (), log) as device:
            env = {tracking.PARENT_VARIABLE: parent, **device}
            outcome = dvc.reproduce(stage, log, env, Path.cwd(), force)
        if outcome is dvc.Outcome.CACHED:
            _link(stage.name, parent)
    except FlowsculptError as error:
        if can_heal(error):
            raise
        return _failed(error)
    seconds = time.monotonic() - started
    return Completed(name=outcome.value.capitalize(), message=f"{outcome.value} in {seconds:.1f} s", data=seconds)


@task(
    task_run_name="register",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=len(BACK_OFF),
    retry_delay_seconds=BACK_OFF,
    retry_condition_fn=_heals,
)
def register(parent: str) -> State[Any]:
    """Register what the stages made as one version of the model, under the alias ``candidate``."""
    from pipeline.bundle import Bundle

    try:
        with TemporaryDirectory() as folder:
            Bundle.of_project().save(Path(folder) / "bundle")
            version = tracking.register(Path(folder) / "bundle", parent, {tracking.FLOW_RUN: flow_run_id()})
    except FlowsculptError as error:
        if can_heal(error):
            raise
        return _failed(error)
    return Completed(message=f"version {version.number}", data=version)


@flow(name="training", persist_result=False)
def training(force: bool = False, promote: bool = False, when_busy: dvc.WhenBusy = "wait") -> State[Any]:
    """Reproduce the pipeline, register the model that it makes, and let it stand for promotion.

    Every stage is brought up to date in the order of the graph, up to the first that fails. A run that is started again
    goes on in the same MLflow run, from the last checkpoint.

    Args:
        force: Run every stage, also where nothing has changed.
        promote: Let the new version take the champion's place if it passes the gate.
        when_busy: While another run works in the same clone: wait for it, or refuse.
    """
    try:
        with dvc.alone(Path.cwd(), f"flow run {runtime.flow_run.name}", when_busy, get_run_logger().info):
            return _train(force, promote)
    except dvc.BusyError as error:
        return _failed(error)


def _train(force: bool, promote: bool) -> State[Any]:
    parent = tracking.open_parent("training", {tracking.FLOW_RUN: flow_run_id()})
    try:
        error, seconds = _reproduce_all(parent, force)
        version = None if error else _result(register(parent, return_state=True))
    except BaseException as interruption:
        tracking.close_parent(parent, f"{type(interruption).__name__}: {interruption}")
        raise
    error = version if isinstance(version, Exception) else error
    tracking.close_parent(parent, str(error or ""))
    rows = _rows(parent, seconds)
    _publish(rows, [] if error else _headlines(), error)
    if error:
        return _failed(error)
    message = f"{len(rows)} stages, version {version.number}"
    return _promoted(message, parent, rows) if promote else Completed(message=message, data=(parent, rows))


def _promoted(message: str, parent: str, rows: "list[Row]") -> State[Any]:
    """What became of the candidate; a refusal is no failure of the training."""
    from flows.promotion import promotion

    state: State[Any] = promotion("candidate", return_state=True)
    error = _result(state)
    if isinstance(error, Exception):
        return _failed(error)
    return Completed(message=f"{message}: {state.message}", data=(parent, rows))


def _reproduce_all(parent: str, force: bool) -> tuple[Exception | None, dict[str, float]]:
    """The error of the stage that failed, if any, and the seconds that each of those before it took."""
    seconds: dict[str, float] = {}
    for stage in dvc.stages(Path.cwd()):
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
    from pipeline.artifacts import content_hash

    tracking.link(parent, stage, content_hash(stage))


def flow_run_id() -> str:
    """The id of the Prefect flow run that this is part of."""
    return str(runtime.flow_run.id or "")


# What a run leaves to read.


def _rows(parent: str, seconds: Mapping[str, float]) -> list[Row]:
    known = tracking.children(parent)
    return [
        Row(name, child.state, round(seconds[name], 1), child.run_id or "", tracking.page(child.run_id or ""))
        for name, child in ((name, known.get(name, tracking.Child(name, "ran", None))) for name in seconds)
    ]


def _headlines() -> list[dict[str, object]]:
    """For each section of the metrics and each threshold: ranking figures, recall and realised false positive rate."""
    from pipeline.artifacts import METRICS

    if not METRICS.is_file():
        return []
    metrics = json.loads(METRICS.read_text())
    return [
        {"section": section, "threshold": threshold}
        | {name: body.get(name) for name in HEADLINES}
        | {name: figures.get(name) for name in HEADLINES_AT_THRESHOLD}
        for section, body in metrics.items()
        if isinstance(body, dict)
        for threshold, figures in body.get("thresholds", {}).items()
    ]


def _publish(rows: Sequence[Row], headlines: Sequence[Mapping[str, object]], error: Exception | None) -> None:
    create_table_artifact([vars(row) for row in rows], key="training-stages", description="Stages of this run")
    tables = [_markdown([vars(row) for row in rows]), _markdown(headlines)]
    trouble = [f"```\n{error}\n```"] if error else []
    create_markdown_artifact("\n\n".join(["# Training", *trouble, *tables]), key="training-summary")


def _markdown(rows: Sequence[Mapping[str, object]]) -> str:
    if not rows:
        return ""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _summary(parent: str, rows: Sequence[Row]) -> str:
    tables = [
        _columns([{"stage": row.stage, "state": row.state, "seconds": row.seconds, "run": row.run} for row in rows]),
        _columns(_headlines()),
    ]
    return "\n\n".join(table for table in [*tables, _where(parent)] if table)


def _columns(rows: Sequence[Mapping[str, object]]) -> str:
    lines = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)] if rows else []
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _where(parent: str) -> str:
    program = Path(sys.executable).parent / "mlflow"
    shown = program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program
    uri = tracking.tracking_uri().replace(f"sqlite:///{Path.cwd().resolve()}/", "sqlite:///")
    return "\n".join(
        [
            "results   data/reports/metrics.json, data/reports/",
            f"runs      MLFLOW_DISABLE_TELEMETRY=true {shown} ui --workers 1 --backend-store-uri {uri}",
            f"          then open http://127.0.0.1:5000/{tracking.page(parent)}",
        ]
    )


# The program.


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the flow from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.training", description="Reproduce the pipeline.")
    parser.add_argument("--force", action="store_true", help="run every stage, also where nothing changed")
    parser.add_argument("--promote", action="store_true", help="promote the new version if it passes the gate")
    parser.add_argument("--when-busy", choices=("wait", "refuse"), default="wait", help="while another run works here")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        dvc.check(Path.cwd())
        with servers.connected("training"):
            leases.ensure_limits({device.limit: 1 for device in leases.usable_devices()})
            state = training(given.force, given.promote, given.when_busy, return_state=True)
    except FlowsculptError as error:
        print(f"training: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("training: interrupted", file=sys.stderr)
        return 130
    done = state.result(raise_on_failure=False)
    if isinstance(done, Exception):
        print(f"training: {done}", file=sys.stderr)
        return 1
    print(_summary(*done))
    return 0


def _terminate(*_: object) -> NoReturn:
    sys.exit(143)


if __name__ == "__main__":
    sys.exit(main())

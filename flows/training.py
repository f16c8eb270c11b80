"""The training flow: reproduce the pipeline, one task for each DVC stage, under one MLflow run.

::

    python -m flows.training [--force]

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
import atexit
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

from prefect import State, flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS, temporary_settings
from prefect.states import Completed, Failed

from flows import dvc, processes
from pipeline import tracking
from pipeline.errors import FlowsculptError

LOCAL_SERVER = "http://127.0.0.1:4200/api"
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


@task(task_run_name="{stage.name}", cache_policy=NO_CACHE, persist_result=False)
def reproduce(stage: dvc.Stage, parent: str, force: bool) -> State[Any]:
    """Bring one stage up to date; a failure of it is a state, not a traceback."""
    started = time.monotonic()
    try:
        outcome = dvc.reproduce(stage, get_run_logger().info, {tracking.PARENT_VARIABLE: parent}, Path.cwd(), force)
        if outcome is dvc.Outcome.CACHED:
            _link(stage.name, parent)
    except FlowsculptError as error:
        return _failed(error)
    seconds = time.monotonic() - started
    return Completed(name=outcome.value.capitalize(), message=f"{outcome.value} in {seconds:.1f} s", data=seconds)


@flow(name="training", persist_result=False)
def training(force: bool = False) -> State[Any]:
    """Bring every stage up to date, in the order of the graph, up to the first that fails."""
    parent = tracking.open_parent("training", {})
    try:
        error, seconds = _reproduce_all(parent, force)
    except BaseException as interruption:
        tracking.close_parent(parent, f"{type(interruption).__name__}: {interruption}")
        raise
    tracking.close_parent(parent, str(error or ""))
    rows = _rows(parent, seconds)
    _publish(rows, [] if error else _headlines(), error)
    return _failed(error) if error else Completed(message=f"{len(rows)} stages", data=(parent, rows))


def _reproduce_all(parent: str, force: bool) -> tuple[Exception | None, dict[str, float]]:
    """The error of the stage that failed, if any, and the seconds that each of those before it took."""
    seconds: dict[str, float] = {}
    for stage in dvc.stages(Path.cwd()):
        state: State[Any] = reproduce(stage, parent, force, return_state=True)
        done: Any = state.result(raise_on_failure=False)
        if isinstance(done, Exception):
            return done, seconds
        seconds[stage.name] = done
    return None, seconds


def _failed(error: Exception) -> State[Any]:
    """The first line of the error says what failed; the last lines of its output stand in the log already."""
    return Failed(message=str(error).partition("\n")[0], data=error)


def _link(stage: str, parent: str) -> None:
    from pipeline.artifacts import content_hash

    tracking.link(parent, stage, content_hash(stage))


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
    force = parser.parse_args(arguments).force
    signal.signal(signal.SIGTERM, _terminate)
    try:
        dvc.check(Path.cwd())
        with _server():
            state = training(force, return_state=True)
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


@contextmanager
def _server() -> Iterator[None]:
    """A server for the flow: the one that is named, else the one that answers on this machine, else one of its own."""
    if PREFECT_API_URL.value():
        yield
    elif _answers(LOCAL_SERVER):
        with temporary_settings({PREFECT_API_URL: LOCAL_SERVER}):
            yield
    else:
        held = ExitStack()
        atexit.register(held.close)  # not before: Prefect sends its last logs and events when the interpreter ends
        with temporary_settings({PREFECT_API_URL: held.enter_context(_own_server())}):
            yield


@contextmanager
def _own_server() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--host", "127.0.0.1", "--port", str(port), "--no-services", "--no-ui", "--log-level", "ERROR"]
    command = [sys.executable, "-m", "prefect", "server", "start", *options]
    print(f"training: no Prefect server answers, starting one for this run on port {port}", flush=True)
    with processes.group(command, os.environ, Path.cwd(), output=subprocess.DEVNULL) as server:
        deadline = time.monotonic() + PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value()
        while not _answers(f"http://127.0.0.1:{port}/api"):
            if server.poll() is not None or time.monotonic() > deadline:
                raise FlowsculptError(f"no Prefect server could be started: try `{' '.join(command)}`")
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/api"


def _answers(api: str) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{api}/health", timeout=1) as response:
            return bool(response.read().strip() == b"true")
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())

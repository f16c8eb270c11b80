"""The one door to MLflow: one parent run for each pipeline run, one child for each stage that ran.

The parent is the run that ``FLOWSCULPT_PARENT_RUN`` names where a flow set it, else the run that belongs to the ``dvc``
process above this one, else a run of this process alone. ``MLFLOW_RUN_ID`` is never read: it would override a parent
(mlflow issue 15713). A stage that DVC skipped is linked, by the content hash of its outputs, to the run that made them.

::

    parent   flowsculpt.kind = pipeline   stage.<name> = run id   stage.<name>.state = ran | cached
    child    flowsculpt.kind = stage      flowsculpt.stage        flowsculpt.outputs = content hash

The store is ``mlflow.db`` in the project root, its artefacts lie in ``mlruns/`` beside it; ``MLFLOW_TRACKING_URI``
names another. The project root is ``DVC_ROOT``, which DVC sets for each command and which names the main project for
``dvc exp run --temp`` also, else the nearest folder upwards that holds ``params.yaml``, else the working folder.

MLflow is imported by the first call: it takes seconds, and importing this module must not.
"""

import fcntl
import json
import logging
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import psutil

State = Literal["ran", "cached"]

PARENT_VARIABLE = "FLOWSCULPT_PARENT_RUN"
EXPERIMENT, ARTEFACTS = "flowsculpt", "mlruns"
KIND, STAGE, OUTPUTS, PROCESS, ERROR = (f"flowsculpt.{tag}" for tag in ("kind", "stage", "outputs", "process", "error"))
SECONDS_BETWEEN_SAMPLES = 2.0
LONGEST_PARAM, LONGEST_ERROR, MOST_IN_A_BATCH = 500, 4000, 100

_log = logging.getLogger(__name__)


def environment() -> dict[str, str]:
    """The variables that turn off the telemetry of every tool; each must be set before its tool is imported."""
    return {
        "DO_NOT_TRACK": "1",
        "DVC_NO_ANALYTICS": "1",
        "GX_ANALYTICS_ENABLED": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }


def project_root() -> Path:
    """The folder that holds the tracking store: see the head of this module."""
    if given := os.environ.get("DVC_ROOT"):
        return Path(given).resolve()
    here = Path.cwd().resolve()
    return next((folder for folder in (here, *here.parents) if (folder / "params.yaml").is_file()), here)


def tracking_uri() -> str:
    """``MLFLOW_TRACKING_URI``, a relative SQLite path read from the project root; else ``mlflow.db`` there."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    path = uri.removeprefix("sqlite:///")
    return uri if path in (uri, "", ":memory:") else f"sqlite:///{project_root() / path}"


class StageRun:
    """The MLflow run of one stage, open while the stage works.

    Args:
        client: an ``MlflowClient``.
        run_id: the child run that everything is logged to.
    """

    def __init__(self, client: Any, run_id: str) -> None:
        self._client = client
        self.run_id = run_id

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Log one value for each name, all at one step."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        entries = [Metric(name, float(value), now, step or 0) for name, value in values.items()]
        for batch in _batches(entries):
            self._client.log_batch(self.run_id, metrics=batch)

    def params(self, values: Mapping[str, object]) -> None:
        """Log settings, nested sections under dotted names, long values cut."""
        from mlflow.entities import Param

        entries = [Param(name, _cut(str(value), LONGEST_PARAM)) for name, value in _flat(values)]
        for batch in _batches(entries):
            self._client.log_batch(self.run_id, params=batch)

    def file(self, path: Path, folder: str | None = None) -> None:
        """Log a file that lies on disk, under its own name."""
        self._client.log_artifact(self.run_id, str(path), folder)

    def dataset(self, name: str, source: str, digest: str, rows: int, columns: Mapping[str, str], context: str) -> None:
        """Name a data set as an input of this run, without holding its rows.

        Args:
            name: what the run page calls it.
            source: where it came from, a path or an address.
            digest: a content hash; its first 36 characters are kept.
            rows: how many records it holds.
            columns: the type of each column by its name, as numpy or Arrow writes it.
            context: what the run used it for, such as ``training``.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        schema = [{"name": column, "type": _column_type(kind), "required": True} for column, kind in columns.items()]
        entry = Dataset(
            name,
            digest[:36],
            "local",
            json.dumps({"uri": source}),
            json.dumps({"mlflow_colspec": schema}),
            json.dumps({"num_rows": rows, "num_elements": rows * len(columns)}),
        )
        self._client.log_inputs(self.run_id, [DatasetInput(entry, [InputTag("mlflow.data.context", context)])])


@contextmanager
def stage(
    name: str, params: Mapping[str, object], upstream: Mapping[str, Callable[[], str]], outputs: Callable[[], str]
) -> Iterator[StageRun]:
    """Track one stage: a child run under the parent of this pipeline run, with what earlier stages made linked to it.

    The parent stands in a terminal state whenever no stage works: that of the last stage.

    Args:
        name: the stage.
        params: its section of the settings.
        upstream: for each earlier stage, what gives the content hash of its outputs as they lie on disk.
        outputs: gives the content hash of this stage's own outputs; called after the stage has succeeded.

    Yields:
        The open child run.
    """
    client = _client()
    parent = _parent(client, name)
    tags = client.get_run(parent).data.tags
    for earlier in (each for each in upstream if f"stage.{each}.state" not in tags):
        link(parent, earlier, upstream[earlier]())
    run = StageRun(client, _open_child(client, parent, name))
    try:
        run.params(params)
        with _system_metrics(run.run_id):
            yield run
        client.set_tag(run.run_id, OUTPUTS, outputs())
    except BaseException as error:
        status = "FAILED" if isinstance(error, Exception) else "KILLED"
        _close(client, (run.run_id, parent), status, f"{name}: {type(error).__name__}: {error}")
        raise
    _close(client, (run.run_id, parent), "FINISHED")


# The parent, for flows and for the stages above.


def open_parent(name: str, tags: Mapping[str, str]) -> str:
    """Open the parent run of a pipeline run that this process drives; returns its id."""
    return _open_parent(_client(), name, psutil.Process(), tags)


def close_parent(run_id: str, error: str = "") -> None:
    """Close a parent run, as FAILED where there is an error; a child that was killed is closed as KILLED."""
    client = _client()
    _bury_dead(client)
    _close(client, (run_id,), "FAILED" if error else "FINISHED", error)


def link(parent: str, stage: str, content_hash: str) -> str | None:
    """Name, under a parent, the run that made the outputs of a stage that DVC skipped.

    Returns:
        The id of the newest successful run of the stage whose outputs have this content, or None where the store holds
        none: the outputs are absent, were pulled from a remote, or are older than the store.
    """
    client = _client()
    found = _search(client, {STAGE: stage, OUTPUTS: content_hash}, "FINISHED") if content_hash else []
    _set_tags(client, parent, _stage_tags(stage, found[0].info.run_id if found else None, "cached"))
    return found[0].info.run_id if found else None


@dataclass(frozen=True)
class Child:
    """A stage under a parent run.

    Attributes:
        stage: its name.
        state: whether it ran in this pipeline run, or DVC skipped it.
        run_id: the run that made its outputs, or None where the store holds none.
    """

    stage: str
    state: State
    run_id: str | None


def page(run_id: str) -> str:
    """The address of a run below the address of the MLflow UI."""
    return f"#/experiments/{_store().experiment}/runs/{run_id}"


def children(parent: str) -> dict[str, Child]:
    """The stages of a pipeline run by name, in the order of their names."""
    tags = _client().get_run(parent).data.tags
    states = {tag[len("stage.") : -len(".state")]: value for tag, value in tags.items() if tag.endswith(".state")}
    return {
        name: Child(name, "ran" if states[name] == "ran" else "cached", tags.get(f"stage.{name}"))
        for name in sorted(states)
    }


def _parent(client: Any, stage: str) -> str:
    given = os.environ.get(PARENT_VARIABLE)
    if given and _exists(client, given):
        return given
    owner = _owner()
    name = os.environ.get("DVC_EXP_NAME") or ("dvc repro" if _is_dvc(owner) else stage)
    with _locked(project_root()):
        found = _search(client, {KIND: "pipeline", PROCESS: _identity(owner)})
        return found[0].info.run_id if found else _open_parent(client, name, owner, {})


def _open_parent(client: Any, name: str, owner: psutil.Process, tags: Mapping[str, str]) -> str:
    _bury_dead(client)
    own = {KIND: "pipeline", PROCESS: _identity(owner), "mlflow.runName": name, "mlflow.source.name": name}
    named = {"dvc.experiment": os.environ.get("DVC_EXP_NAME"), "mlflow.source.git.commit": _commit()}
    known = {tag: value for tag, value in named.items() if value}
    return str(client.create_run(_store().experiment, tags=own | known | dict(tags)).info.run_id)


def _open_child(client: Any, parent: str, stage: str) -> str:
    tags = {
        "mlflow.parentRunId": parent,
        "mlflow.runName": stage,
        KIND: "stage",
        STAGE: stage,
        PROCESS: _identity(psutil.Process()),
    }
    run_id = str(client.create_run(client.get_run(parent).info.experiment_id, tags=tags).info.run_id)
    _set_tags(client, parent, _stage_tags(stage, run_id, "ran"))
    client.update_run(parent, status="RUNNING")
    return run_id


def _close(client: Any, run_ids: Sequence[str], status: str, error: str = "") -> None:
    for run_id in run_ids:
        if error:
            client.set_tag(run_id, ERROR, _cut(error, LONGEST_ERROR))
        client.set_terminated(run_id, status)


def _bury_dead(client: Any) -> None:
    """Close as KILLED each run of this machine whose process is gone: kill -9 leaves no time to do so itself."""
    for run in _search(client, {}, "RUNNING"):
        host, _, process = run.data.tags.get(PROCESS, "").partition(":")
        if host == socket.gethostname() and not _alive(process):
            _close(client, (run.info.run_id,), "KILLED", "its process was killed")


def _alive(process: str) -> bool:
    pid, _, _ = process.partition(":")
    try:
        return _identity(psutil.Process(int(pid))).endswith(f":{process}")
    except psutil.NoSuchProcess:
        return False


def _stage_tags(stage: str, run_id: str | None, state: State) -> dict[str, str]:
    return {f"stage.{stage}.state": state} | ({f"stage.{stage}": run_id} if run_id else {})


def _set_tags(client: Any, run_id: str, tags: Mapping[str, str]) -> None:
    from mlflow.entities import RunTag

    client.log_batch(run_id, tags=[RunTag(tag, value) for tag, value in tags.items()])


def _search(client: Any, tags: Mapping[str, str], status: str | None = None) -> list[Any]:
    """The runs with all of these tags, the newest first."""
    terms = [f"tags.`{tag}` = '{value}'" for tag, value in tags.items()]
    terms += [f"attributes.status = '{status}'"] if status else []
    return list(client.search_runs([_store().experiment], " and ".join(terms), order_by=["attributes.start_time DESC"]))


def _exists(client: Any, run_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException:
        _log.warning("%s=%s names no run of %s: it is passed over", PARENT_VARIABLE, run_id, tracking_uri())
        return False


# Which pipeline run a process belongs to.


def _owner() -> psutil.Process:
    """The nearest dvc process above this one, else this process."""
    me = psutil.Process()
    return next((process for process in me.parents() if _is_dvc(process)), me)


def _is_dvc(process: psutil.Process) -> bool:
    """Whether a process is ``dvc repro``, ``dvc exp run`` or ``python -m dvc ...``: by its command line."""
    try:
        words = [Path(word).name for word in process.cmdline()]
    except psutil.Error:
        return False
    command = words[words.index("dvc") + 1 :] if "dvc" in words else []
    return any(word in ("repro", "exp", "experiments") for word in command)


def _identity(process: psutil.Process) -> str:
    """A process id comes back after a while; with the machine and the start it does not."""
    return f"{socket.gethostname()}:{process.pid}:{process.create_time():.2f}"


def _commit() -> str | None:
    """The git commit of the working folder, where there is one."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


# The store.


@dataclass(frozen=True)
class _Store:
    client: Any
    experiment: str


def _client() -> Any:
    return _store().client


def _store() -> _Store:
    """The store of this project, made by its first use."""
    return _connect(tracking_uri(), project_root())


@cache
def _connect(uri: str, root: Path) -> _Store:
    for name, value in environment().items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    with _locked(root):
        if uri.startswith("sqlite:///"):
            _create_database(Path(uri.removeprefix("sqlite:///")), root / ARTEFACTS)
        client = MlflowClient(uri)
        return _Store(client, _experiment(client, (root / ARTEFACTS).as_uri() if uri.startswith("sqlite:") else None))


def _create_database(path: Path, artefacts: Path) -> None:
    """Make a fresh SQLite store whole or not at all.

    Processes that meet in MLflow's own set-up break the database for good, and so does one that is killed there. Here
    the one that holds the lock makes it elsewhere and moves it into place when it is done.
    """
    if path.exists():
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="mlflow.db.") as folder, _quiet("mlflow", "alembic"):
        fresh = Path(folder) / path.name
        SqlAlchemyStore(f"sqlite:///{fresh}", artefacts.as_uri()).engine.dispose()
        fresh.replace(path)


def _experiment(client: Any, artefacts: str | None) -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        kind = {"mlflow.experimentKind": "custom_model_development"}  # opens in the UI's view of training runs
        return str(client.create_experiment(EXPERIMENT, artefacts, kind))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    with (root / "mlflow.db.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # let go with the file, whatever ends the process
        yield


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Hush loggers that tell their users what a person running a pipeline does not need."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _system_metrics(run_id: str) -> Iterator[None]:
    """Sample processor, memory, disk, network and GPU by MLflow's own monitor, at least once."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    with _quiet("mlflow"):
        monitor = SystemMetricsMonitor(run_id, SECONDS_BETWEEN_SAMPLES, tracking_uri=tracking_uri())
        monitor.start()
    try:
        yield
    finally:
        with _quiet("mlflow"):
            monitor.finish()
            monitor.collect_metrics()
            monitor.publish_metrics(monitor.aggregate_metrics())
            monitor.mlflow_logger.flush()


def _flat(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _batches(entries: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (entries[start : start + MOST_IN_A_BATCH] for start in range(0, len(entries), MOST_IN_A_BATCH))


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def _column_type(kind: str) -> str:
    """MLflow's name of a column type of numpy or Arrow."""
    names = {"float32": "float", "float": "float", "float64": "double", "double": "double", "bool": "boolean"}
    return names.get(kind) or ("long" if "int" in kind else "string")

"""The store of a project: which it is, how a fresh one is made, and the experiment in it."""

import fcntl
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

EXPERIMENT, ARTEFACTS = "flowsculpt", "mlruns"


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


@dataclass(frozen=True)
class Store:
    """An open store.

    Attributes:
        client: its ``MlflowClient``.
        experiment: the id of the experiment that holds every run of the project.
    """

    client: Any
    experiment: str


def client() -> Any:
    """The ``MlflowClient`` of this project's store, which its first use makes."""
    return connect(tracking_uri(), project_root()).client


def experiment() -> str:
    """The id of the project's experiment."""
    return connect(tracking_uri(), project_root()).experiment


@cache
def connect(uri: str, root: Path) -> Store:
    """Open a store, making it first where it is a SQLite file that is absent."""
    for name, value in environment().items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    with locked(root):
        if uri.startswith("sqlite:///"):
            _create_database(Path(uri.removeprefix("sqlite:///")), root / ARTEFACTS)
        client = MlflowClient(uri)
        return Store(client, _experiment(client, (root / ARTEFACTS).as_uri() if uri.startswith("sqlite:") else None))


def _create_database(path: Path, artefacts: Path) -> None:
    """Make a fresh SQLite store whole or not at all.

    Processes that meet in MLflow's own set-up break the database for good, and so does one that is killed there. Here
    the one that holds the lock makes it elsewhere and moves it into place when it is done.
    """
    if path.exists():
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="mlflow.db.") as folder, quiet("mlflow", "alembic"):
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
def locked(root: Path) -> Iterator[None]:
    """One process of this machine at a time in a project."""
    with (root / "mlflow.db.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # let go with the file, whatever ends the process
        yield


@contextmanager
def quiet(*names: str) -> Iterator[None]:
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

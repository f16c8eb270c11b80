"""The store of a project: which it is, how a fresh one is made, and the experiment in it."""

import fcntl
import logging
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pipeline.base import durable
from pipeline.base.errors import ArtifactError, ConfigError
from pipeline.base.secrets import hidden
from pipeline.settings.tracking import Tracking
from pipeline.tracking import names, places

ARTEFACTS = places.FOLDER
ARTEFACTS_VARIABLE = (
    "FLOWSCULPT_ARTIFACT_ROOT"  # s3://bucket/mlflow, say: where files of a fresh experiment lie instead
)
ROOT_VARIABLE = "FLOWSCULPT_TRACKING_ROOT"  # for stages that run in a copy of the project
USER, PASSWORD, TOKEN = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"
PATIENCE = 60  # seconds that opening the store waits for whoever writes to it; MLflow waits 20 later, SQLite itself 5
SIGNING_KEY = "FLOWSCULPT_SIGNING_KEY"  # a PEM; see pipeline.serving.trust.keys
TRAINING_VIEW = ("mlflow.experimentKind", "custom_model_development")  # the UI opens in its view of training runs

# MLflow's own would try for minutes in each call, and print an address for each run that ends.
SERVER_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def environment() -> dict[str, str]:
    """The variables that turn off the telemetry of every tool; each must be set before its tool is imported."""
    return {
        "DO_NOT_TRACK": "1",
        "DVC_NO_ANALYTICS": "1",
        "GX_ANALYTICS_ENABLED": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }


def quiet_tools() -> None:
    """Turn off the telemetry of every tool in this process, unless the user has set its variable."""
    os.environ.update({name: value for name, value in environment().items() if name not in os.environ})


def project_root() -> Path:
    """The folder that holds the tracking store: see the head of this package."""
    if given := os.environ.get(ROOT_VARIABLE) or os.environ.get("DVC_ROOT"):
        return Path(given).resolve()
    here = Path.cwd().resolve()
    return next((folder for folder in (here, *here.parents) if (folder / "params.yaml").is_file()), here)


# Where it is.


def tracking_uri() -> str:
    """The address of the store as it may be shown: without user, password and other secrets.

    It is ``MLFLOW_TRACKING_URI``, a relative SQLite path read from the project root; else ``mlflow.db`` there.
    """
    return _shown(_address())


def is_server() -> bool:
    """Whether the store is behind HTTP, and so can be away."""
    return _address().startswith(("http://", "https://"))


def redact(text: str) -> str:
    """A text as the store may hold it: without users and passwords in addresses, and without other secrets."""
    return _without_user(hidden(text))


def tracking_address() -> str:
    """The address of the store with user and password, if it has any: never to be shown."""
    return _address()


def _address() -> str:
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    path = uri.removeprefix("sqlite:///")
    return uri if path in (uri, "", ":memory:") else f"sqlite:///{project_root() / path}"


def local_store(backend: str = "", hands_out: bool = False) -> tuple[str, str]:
    """The addresses of the store and of the files of its runs, for a server of it; a SQLite store is made first.

    Args:
        backend: the store; "": ``mlflow.db`` of this project.
        hands_out: whether the server hands out the files, so that clients never see where they lie.
    """
    root = project_root()
    uri = backend or f"sqlite:///{root / 'mlflow.db'}"
    opened = connect(uri, root) if uri.startswith("sqlite:") else None
    if opened and not hands_out:
        opened.experiment  # noqa: B018 (made by the first look)
    return uri, f"{places.HANDED_OUT}/" if hands_out else artefact_root(root)


def require_handed_out() -> None:
    """See to it that the files of this project's experiment are handed out by the server that is in use.

    Raises:
        ConfigError: the experiment was made when they were not, and MLflow moves none.
    """
    found = client().get_experiment(experiment())
    if not found.artifact_location.startswith(places.HANDED_OUT):
        raise ConfigError(
            f"experiment {found.name}: its files lie in {redact(found.artifact_location)}, and MLflow moves no "
            "experiment, so no other machine can read them; give another name as tracking.experiment of params.yaml, "
            "or a fresh database as --backend"
        )


def _shown(address: str) -> str:
    """An address without user, password and query: who is asked stays as it is."""
    bare = _without_user(address)
    return hidden(bare) if "?" in bare else bare


def _without_user(text: str) -> str:
    return re.sub(r"://[^/\s'\"]+@", "://", text) if "@" in text else text


def project_names() -> Tracking:
    """What this project calls its experiment and its model.

    Raises:
        ConfigError: its params.yaml cannot be read, or has a name that is not allowed.
    """
    return names.of(project_root())


# What it is.


class Store:
    """An open store.

    Args:
        client: an ``MlflowClient``.
        root: the project's folder.
        artefacts: where the files of a fresh experiment lie; None leaves it to the store.

    Attributes:
        ids: the runs that were opened under an id of this project's own, by that id.
    """

    def __init__(self, client: Any, root: Path, artefacts: str | None) -> None:
        self.client, self._root, self._artefacts = client, root, artefacts
        self.ids: dict[str, str] = {}

    @cached_property
    def experiment(self) -> str:
        """The id of the experiment that holds every run of the project, which its first use makes."""
        name = names.of(self._root).experiment
        with locked(self._root):
            return _experiment(self.client, name, self._artefacts)


def current() -> Store:
    """The store of this project, which its first use makes."""
    return connect(_address(), project_root())


def client() -> Any:
    """The ``MlflowClient`` of this project's store."""
    return current().client


def experiment() -> str:
    """The id of the project's experiment."""
    return current().experiment


def search(tags: Mapping[str, str], status: str | None = None) -> list[Any]:
    """The runs of the project with all of these tags, the newest first."""
    terms = [f"tags.`{tag}` = '{value}'" for tag, value in tags.items()]
    terms += [f"attributes.status = '{status}'"] if status else []
    order = ["attributes.start_time DESC"]
    return list(client().search_runs([experiment()], " and ".join(terms), order_by=order))


@cache
def connect(uri: str, root: Path) -> Store:
    """Open a store, making it first where it is a SQLite file that is absent."""
    for name, value in environment().items():
        os.environ.setdefault(name, value)
    if uri.startswith(("http://", "https://")):
        return _connect_to_server(uri, root)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    if not uri.startswith("sqlite:"):
        return Store(MlflowClient(uri), root, None)
    path = Path(uri.removeprefix("sqlite:///"))
    is_file = uri.startswith("sqlite:///")
    home = path.parent if is_file else root
    home.mkdir(parents=True, exist_ok=True)
    with locked(home):  # other projects may use the same file
        if is_file:
            _create_database(path, artefact_root(root))
        patient = f"{uri}?timeout={PATIENCE}" if is_file and "?" not in uri else uri
        try:
            return Store(MlflowClient(patient), root, artefact_root(root))
        except MlflowException as error:
            why = error if find_spec("sqlalchemy") else "set MLFLOW_TRACKING_URI, or install the extra train"
            raise ArtifactError(f"{path}: cannot be opened as a store of MLflow ({why})") from error


def _connect_to_server(uri: str, root: Path) -> Store:
    """User and password leave the address, which MLflow puts into messages, for the variables that it reads too.

    Raises:
        ConfigError: the address has a query, which MLflow cannot use, such as ``?token=``.
    """
    for name, value in SERVER_SETTINGS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # outbox.py says once that nobody answers
    parts = urlsplit(uri)
    if parts.query or parts.fragment:
        raise ConfigError(
            f"MLFLOW_TRACKING_URI: {redact(uri)}: the address of a server ends before `?`; give a token as {TOKEN}"
        )
    given = {USER: parts.username, PASSWORD: parts.password}
    os.environ.update({name: unquote(value) for name, value in given.items() if value})
    from mlflow import MlflowClient

    return Store(MlflowClient(_without_user(uri)), root, None)


def artefact_root(root: Path) -> str:
    """Where the files of a fresh experiment lie: what the variable names, else a folder of the project."""
    return os.environ.get(ARTEFACTS_VARIABLE) or (root / ARTEFACTS).as_uri()


def _create_database(path: Path, artefacts: str) -> None:
    """Make a fresh SQLite store whole or not at all.

    Processes that meet in MLflow's own set-up break the database for good, and so does one that is killed there. Here
    the one that holds the lock makes it elsewhere and moves it into place when it is done.
    """
    if path.exists():
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with tempfile.TemporaryDirectory(dir=path.parent, prefix="mlflow.db.") as folder, quiet("mlflow", "alembic"):
        fresh = Path(folder) / path.name
        SqlAlchemyStore(f"sqlite:///{fresh}", artefacts).engine.dispose()
        fresh.chmod(0o600)  # what SQLite makes beside it has the same rights
        durable.publish(fresh, path)


def _experiment(client: Any, name: str, artefacts: str | None) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        if artefacts and (folder := places.folder_of(artefacts)):
            folder.mkdir(parents=True, exist_ok=True)  # where it is gone later, the project was moved
        return str(client.create_experiment(name, artefacts, dict([TRAINING_VIEW])))
    if artefacts:
        places.require_here(name, found.artifact_location, artefacts)
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    if found.tags.get(TRAINING_VIEW[0]) is None:  # made by an earlier version, or by hand
        client.set_experiment_tag(found.experiment_id, *TRAINING_VIEW)
    return str(found.experiment_id)


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """One process of this machine at a time in a folder: that of a project, or of a store."""
    with durable.lock_file(root / "mlflow.db.lock") as file:
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

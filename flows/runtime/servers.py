"""The servers that flows talk to: the one that is there, or one that is started for as long as it is wanted."""

import atexit
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    temporary_settings,
)

from flows.runtime import access, processes
from flows.runtime.api import LOCAL_NAMES
from flows.runtime.central import OWN, Chosen
from flows.runtime.heartbeat import heartbeat
from flows.runtime.reach import LOCAL, LOOPBACK, answers, refuse_nameless
from pipeline import tracking
from pipeline.base.errors import ConfigError, FlowsculptError
from pipeline.tracking import places

LAST = 30.0  # seconds for the last events and logs
# What an MLflow server needs not: a queue of jobs, which would be thirteen processes more.
LEAN: dict[str, str] = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


@contextmanager
def connected(program: str) -> Iterator[None]:
    """A Prefect server for a flow: the one that is named, else that of ``make serve`` here, else one of its own.

    Args:
        program: what the message that one is started begins with.
    """
    if known := reached():
        with temporary_settings(known):
            yield
    else:
        port = free_port()
        print(f"{program}: no Prefect server is named, starting one for this run on port {port}", flush=True)
        held = ExitStack()
        atexit.register(held.close)  # not before: Prefect sends its last logs and events when the interpreter ends
        login = access.fresh_login()
        with heartbeat("starting the Prefect server"):
            api = held.enter_context(prefect(port, login=login, options=("--no-services", "--no-ui")))
        with temporary_settings({PREFECT_API_URL: api, **client_settings(login)}):
            yield


def reached() -> dict[Any, str]:
    """How the Prefect server that is there is reached, as Prefect's settings; empty where there is none.

    It is the one that PREFECT_API_URL names, else that of ``make serve`` in this project, whose secret is known here.
    """
    named = os.environ.get("PREFECT_API_URL") or PREFECT_API_URL.value()
    login = os.environ.get(access.PREFECT_CLIENT) or PREFECT_API_AUTH_STRING.value()
    served = access.served()
    api = named or served.get("PREFECT_API_URL", "")
    if not api or (not named and not answers(f"{api}/health")):
        return {}
    if not login and api == served.get("PREFECT_API_URL"):
        login = served.get(access.PREFECT_CLIENT, "")
    return {PREFECT_API_URL: api, **({PREFECT_API_AUTH_STRING: login} if login else {})}


def client_settings(login: str) -> dict[Any, str]:
    """How this process logs in to a server that was started with ``login``, as Prefect's settings."""
    return {PREFECT_API_AUTH_STRING: access.prefect_settings(login)[access.PREFECT_CLIENT]}


@contextmanager
def prefect(
    port: int,
    host: str = LOCAL,
    names: Sequence[str] = (),
    login: str = "",
    options: Sequence[str] = (),
    stopped: threading.Event | None = None,
    forget_days: int = 0,
) -> Iterator[str]:
    """A Prefect server, started again where it dies; its database lies in PREFECT_HOME.

    Inside this context this process logs in to it.

    Args:
        port: where it listens.
        host: the address that it listens on.
        names: the hosts that it may be called by besides localhost.
        login: ``user:secret``, which it asks for; a fresh one if empty.
        options: of ``python -m flows.runtime.api``.
        stopped: set where nobody waits for it any more.
        forget_days: after which it removes a flow run that has ended, with its log; 0: never.

    Yields:
        The address of its API.

    Raises:
        ConfigError: other machines could reach it, and no name is given.
        FlowsculptError: it does not start.
    """
    refuse_nameless(host, names)
    login = login or access.fresh_login()
    command = [sys.executable, "-m", "flows.runtime.api", "--host", host, "--port", str(port), *options]
    command += ["--allowed-hosts", ",".join(names)] if names else []
    page = _address(host, port)
    # Notifications link to PREFECT_UI_URL, and are read on other machines.
    env = {"PREFECT_SERVER_UI_API_URL": "/api", "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": page}
    env |= {"PREFECT_UI_URL": os.environ.get("PREFECT_UI_URL") or _page_for_others(port, host, names) or page}
    env |= access.prefect_settings(login) | _forgetting(forget_days)
    with (
        _kept("Prefect server", command, env, (host, port, "/api/health"), stopped) as address,
        temporary_settings(client_settings(login)),
    ):
        try:
            yield f"{address}/api"
        finally:
            _send_the_last()


def _send_the_last() -> None:
    """Send the events and logs of this process while their server is there.

    Prefect's threads that send them keep the server that they began with. Thus they end here: the next event starts new
    ones, which send to the server that is there then. Else each event would go to the one that has ended, and be lost.
    """
    from prefect.events.worker import EventsWorker

    EventsWorker.drain_all(timeout=LAST)


def _forgetting(days: int) -> dict[str, str]:
    """The settings with which Prefect's own service removes old flow runs."""
    vacuum = "PREFECT_SERVER_SERVICES_DB_VACUUM"
    return {f"{vacuum}_ENABLED": "events,flow_runs", f"{vacuum}_RETENTION_PERIOD": f"{days * 86_400}"} if days else {}


@contextmanager
def mlflow(
    port: int,
    host: str = LOCAL,
    names: Sequence[str] = (),
    login: str = "",
    stopped: threading.Event | None = None,
    use: Chosen = OWN,
) -> Iterator[str]:
    """An MLflow server, started again where it dies.

    Unless another is chosen, its store is the one that a run without a server uses, so that either sees what the other
    did. The address of a database may hold a password, so it is given as a variable and not on the command line.

    Args:
        port: where it listens.
        host: the address that it listens on.
        names: the hosts that it may be called by besides localhost.
        login: ``user:secret``, which it asks for; a fresh one if empty.
        stopped: set where nobody waits for it any more.
        use: its database, and where its files lie.

    Yields:
        Its address.

    Raises:
        ConfigError: other machines could reach it, and no name is given.
        FlowsculptError: it does not start.
    """
    refuse_nameless(host, names)
    store, artefacts = tracking.local_store(use.backend, use.hands_out)
    known = [each for name in (*LOCAL_NAMES, *names) for each in (name, f"{name}:{port}")]
    pages = [_address(host, port), *(f"https://{name}" for name in names), *(f"http://{name}:{port}" for name in names)]
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"]
    command += ["--default-artifact-root", artefacts, "--app-name", "basic-auth"]
    command += ["--allowed-hosts", ",".join(known), "--cors-allowed-origins", ",".join(pages)]
    folder = use.artefacts or str(tracking.project_root() / places.FOLDER)
    command += ["--serve-artifacts", "--artifacts-destination", folder] if use.hands_out else []
    env = LEAN | access.mlflow_server_settings(login or access.fresh_login()) | {"MLFLOW_BACKEND_STORE_URI": store}
    with _kept("MLflow server", command, env, (host, port, "/health"), stopped) as address:
        yield address


@contextmanager
def triage(
    port: int, host: str = LOCAL, names: Sequence[str] = (), stopped: threading.Event | None = None
) -> Iterator[str]:
    """The triage page, started again where it dies; it asks for a secret of its own, see ``flows.triage.sessions``.

    Args:
        port: where it listens.
        host: the address that it listens on.
        names: the hosts that it may be called by besides localhost.
        stopped: set where nobody waits for it any more.

    Yields:
        Its address.

    Raises:
        ConfigError: other machines could reach it, and no name is given.
        FlowsculptError: it does not start.
    """
    refuse_nameless(host, names)
    command = [sys.executable, "-m", "flows.triage", "--host", host, "--port", str(port)]
    command += ["--allowed-hosts", ",".join(names)] if names else []
    with _kept("triage page", command, {}, (host, port, "/healthz"), stopped) as address:
        yield address


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.create_server((LOCAL, 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def _kept(
    name: str,
    command: Sequence[str],
    env: dict[str, str],
    where: tuple[str, int, str],
    stopped: threading.Event | None,
) -> Iterator[str]:
    host, port, health = where
    stopped = stopped or threading.Event()
    if not _is_free(host, port):
        raise ConfigError(f"{name}: port {port} is taken; choose another, or end the program that listens there")
    log = access.home() / f"{name.lower().replace(' ', '-')}-{port}.log"
    address = _address(host, port)
    deadline = time.monotonic() + PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value()
    with processes.Kept(name, command, os.environ | tracking.environment() | env, log) as server:
        while not answers(f"{address}{health}") and not stopped.is_set():
            if server.codes or time.monotonic() > deadline:
                raise FlowsculptError(f"{name}: does not start: see {log}")
            stopped.wait(0.2)
        yield address


def _address(host: str, port: int) -> str:
    """Where this machine reaches a server that listens on ``host``."""
    name = host if host in LOOPBACK else LOCAL
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _page_for_others(port: int, host: str, names: Sequence[str]) -> str:
    """The page by the first name that other machines call the server by; "" where there is none.

    A proxy with TLS is before it where it listens to this machine alone, or where the name has a port of its own.
    """
    if not names:
        return ""
    has_port = ":" in names[0].rpartition("]")[2]
    return f"https://{names[0]}" if has_port or host in LOOPBACK else f"http://{names[0]}:{port}"


def _is_free(host: str, port: int) -> bool:
    try:
        with socket.create_server((host, port)):
            return True
    except OSError:
        return False

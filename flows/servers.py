"""The servers that flows talk to: the one that is there, or one that is started for as long as it is wanted."""

import atexit
import os
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    temporary_settings,
)

from flows import processes
from pipeline import tracking
from pipeline.errors import ConfigError, FlowsculptError

LOCAL = "127.0.0.1"
LOCAL_SERVER = f"http://{LOCAL}:4200/api"
LOOPBACK = (LOCAL, "localhost", "::1")
# What an MLflow server needs not: a queue of jobs, which would be thirteen processes more.
LEAN: dict[str, str] = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
PREFECT_AUTHENTICATION, MLFLOW_AUTHENTICATION = "PREFECT_SERVER_API_AUTH_STRING", "MLFLOW_AUTH_CONFIG_PATH"


@contextmanager
def connected(program: str) -> Iterator[None]:
    """A Prefect server for a flow: the one that is named, else one that answers here, else one of its own.

    Args:
        program: what the message that one is started begins with.
    """
    if PREFECT_API_URL.value():
        yield
    elif answers(f"{LOCAL_SERVER}/health"):
        with temporary_settings({PREFECT_API_URL: LOCAL_SERVER}):
            yield
    else:
        port = free_port()
        print(f"{program}: no Prefect server answers, starting one for this run on port {port}", flush=True)
        held = ExitStack()
        atexit.register(held.close)  # not before: Prefect sends its last logs and events when the interpreter ends
        api = held.enter_context(prefect(port, options=("--no-services", "--no-ui", "--log-level", "ERROR")))
        with temporary_settings({PREFECT_API_URL: api}):
            yield


@contextmanager
def prefect(
    port: int, host: str = LOCAL, options: Sequence[str] = (), stopped: threading.Event | None = None
) -> Iterator[str]:
    """A Prefect server, started again where it dies; its database lies in PREFECT_HOME.

    Args:
        port: where it listens.
        host: the address that it listens on.
        options: of ``prefect server start``.
        stopped: set where nobody waits for it any more.

    Yields:
        The address of its API.

    Raises:
        ConfigError: it would be open to other machines without authentication.
        FlowsculptError: it does not start.
    """
    refuse_open(host, PREFECT_AUTHENTICATION)
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", host, "--port", str(port), *options]
    pages = {"PREFECT_SERVER_UI_API_URL": f"{_address(host, port)}/api"}  # where the UI asks, else port 4200
    with _kept("Prefect server", command, pages, (host, port, "/api/health"), stopped) as address:
        yield f"{address}/api"


@contextmanager
def mlflow(port: int, host: str = LOCAL, stopped: threading.Event | None = None) -> Iterator[str]:
    """An MLflow server of this project's store, started again where it dies.

    The store is the one that a run without a server uses, so that either sees what the other did.

    Args:
        port: where it listens.
        host: the address that it listens on.
        stopped: set where nobody waits for it any more.

    Yields:
        Its address.

    Raises:
        ConfigError: it would be open to other machines without authentication.
        FlowsculptError: it does not start.
    """
    refuse_open(host, MLFLOW_AUTHENTICATION)
    store, artefacts = tracking.local_store()
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", store, "--default-artifact-root", artefacts]
    command += ["--app-name", "basic-auth"] if os.environ.get(MLFLOW_AUTHENTICATION) else []
    with _kept("MLflow server", command, LEAN, (host, port, "/health"), stopped) as address:
        yield address


def refuse_open(host: str, setting: str) -> None:
    """Refuse to listen to other machines where no authentication is configured.

    Args:
        host: the address to listen on.
        setting: the environment variable that configures it.

    Raises:
        ConfigError: with the setting to set.
    """
    if host not in LOOPBACK and not os.environ.get(setting):
        raise ConfigError(
            f"host {host!r}: other machines could reach this server, and no authentication is configured; set "
            f"{setting} in the environment, or listen on {LOCAL}"
        )


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.create_server((LOCAL, 0)) as free:
        return int(free.getsockname()[1])


def answers(address: str) -> bool:
    """Whether a server is up and well, by the address of its health check."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(address, timeout=1) as response:
            return bool(response.read().strip().lower() in (b"true", b"ok"))
    except OSError:
        return False


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
    log = PREFECT_HOME.value() / f"{name.lower().replace(' ', '-')}-{port}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    address = _address(host, port)
    deadline = time.monotonic() + PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value()
    with processes.Kept(name, command, os.environ | tracking.environment() | env, log) as server:
        while not answers(f"{address}{health}") and not stopped.is_set():
            if server.codes or time.monotonic() > deadline:
                raise FlowsculptError(f"{name}: does not start: see {log}, or try `{' '.join(command)}`")
            stopped.wait(0.2)
        yield address


def _address(host: str, port: int) -> str:
    """Where this machine reaches a server that listens on ``host``."""
    return f"http://{LOCAL if host not in LOOPBACK else host}:{port}"


def _is_free(host: str, port: int) -> bool:
    try:
        with socket.create_server((host, port)):
            return True
    except OSError:
        return False

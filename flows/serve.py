"""What ``make serve`` runs: servers, pools, deployments and one worker on this machine, until Ctrl-C.

::

    python -m flows.serve [--host 127.0.0.1] [--allowed-hosts NAMES] [--prefect-port 4200] [--mlflow-port 5000]
                          [--triage-port 4300] [--no-triage] [--no-deploy]

Both servers keep what they know in this folder: Prefect in ``.prefect/``, MLflow in ``mlflow.db`` and ``mlruns/``, the
store that runs without a server use as well. A server or worker that dies is started again; what ends this command ends
them all. Port 0 is a free one.

Both ask for the login in ``.prefect/secret``, on this machine too. ``. .prefect/env`` gives a shell the login and the
addresses. Other users of the machine can read neither file, nor what the servers write. The triage page asks for a
secret of its own, see ``flows.triage``.
"""

import os

from flows import arguments
from pipeline.tracking import quiet_tools

if __name__ == "__main__":
    quiet_tools()
    arguments.parse("serve")  # help, and what is misspelt, before the imports below, which take seconds

import argparse
import signal
import sys
import threading
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from flows import deploy, worker
from flows.runtime import access, admission, devices, gpu, processes, program, reach, servers, working_copy
from flows.runtime.own_names import own
from flows.triage import sessions
from pipeline import config
from pipeline.base.errors import FlowsculptError
from pipeline.settings.retention import Retention

FOR_A_SHELL = ("PREFECT_API_URL", access.PREFECT_CLIENT, "MLFLOW_TRACKING_URI", *access.MLFLOW_CLIENT)


def main(options: Sequence[str] | None = None) -> int:
    """Serve until a signal comes; returns the exit code."""
    given = arguments.parse("serve", options)
    stopped = threading.Event()
    try:
        with program.heeding(stopped.set, [signal.SIGTERM, signal.SIGINT]), ExitStack() as held:
            serve(given, held, stopped)
            stopped.wait()
            print("serve: stopping", flush=True)
    except FlowsculptError as error:
        print(f"serve: {error}", file=sys.stderr)
        return 1
    return 0


def serve(given: argparse.Namespace, held: ExitStack, stopped: threading.Event) -> None:
    """Start everything, in the order in which one needs the other; ``held`` stops it in the reverse order.

    Raises:
        FlowsculptError: something cannot be started.
    """
    names = [name.strip() for name in given.allowed_hosts.split(",") if name.strip()]
    reach.refuse_nameless(given.host, names)
    access.refuse_second()
    working_copy.check(Path.cwd())
    own = {name for name in (access.PREFECT_SERVER, access.MLFLOW_SERVER) if os.environ.get(name)}
    login = access.kept_login()
    env = access.prefect_settings(login) | access.mlflow_client_settings(login)
    ports = [port or servers.free_port() for port in (given.prefect_port, given.mlflow_port)]
    print("serve: starting a Prefect server, an MLflow server and a worker; Ctrl-C stops all of them", flush=True)
    days = config.load(Retention).log_days
    api = held.enter_context(servers.prefect(ports[0], given.host, names, login, stopped=stopped, forget_days=days))
    mlflow = held.enter_context(servers.mlflow(ports[1], given.host, names, login, stopped=stopped))
    if stopped.is_set():
        return
    access.require("Prefect server", f"{api}/admin/version", env[access.PREFECT_CLIENT])
    known = ":".join(env[name] for name in access.MLFLOW_CLIENT)
    access.require("MLflow server", f"{mlflow}/api/2.0/mlflow/experiments/search?max_results=1", known)
    env |= {"PREFECT_API_URL": api, "MLFLOW_TRACKING_URI": mlflow, admission.ROOT_VARIABLE: str(Path.cwd())}
    os.environ.update(env)
    if not given.no_deploy:
        _deploy_all()
    command = [sys.executable, "-m", "flows.worker", *_gpu_workers()]
    held.enter_context(processes.Kept("worker", command, os.environ, told="head"))
    shell = held.enter_context(access.told({name: env[name] for name in FOR_A_SHELL}))
    page = "" if given.no_triage else held.enter_context(_triage(given, names, stopped))
    print(_words(api.removesuffix("/api"), mlflow, shell, own, page), flush=True)


def _triage(given: argparse.Namespace, names: Sequence[str], stopped: threading.Event) -> AbstractContextManager[str]:
    return servers.triage(given.triage_port or servers.free_port(), given.host, names, stopped)


def _words(prefect: str, mlflow: str, shell: Path, own: Collection[str], triage: str) -> str:
    """Where the servers are and how to log in; the secret itself is not printed."""
    folder = os.path.relpath(shell.parent)
    logins = {
        access.PREFECT_SERVER: f"the line in {folder}/{access.SECRET_FILE}",
        access.MLFLOW_SERVER: f"user and secret of {folder}/{access.SECRET_FILE}, a colon between them",
    }
    prefect_login, mlflow_login = (
        f"what {name} configures" if name in own else login for name, login in logins.items()
    )
    return "\n".join(
        [
            f"a shell logs in to both by: . {folder}/{shell.name}",
            f"Prefect   {prefect}   asks for {prefect_login}",
            f"MLflow    {mlflow}   asks for {mlflow_login}",
            *([f"Triage    {triage}   asks for the secret in {sessions.FILE}"] if triage else []),
        ]
    )


def _deploy_all() -> None:
    """Make the pools and put every deployment of ``prefect.yaml`` on the server.

    Raises:
        FlowsculptError: Prefect refuses one.
    """
    with worker.connected():
        worker.prepare([own(pool) for pool in arguments.POOLS])
    deploy.put(Path(arguments.DEPLOYMENTS))


def _gpu_workers() -> tuple[str, ...]:
    """A machine without a GPU serves the pool ``gpu`` all the same: on its processor."""
    if gpu.gpu_workers() is None and not devices.find_devices():
        print("serve: no GPU on this machine: every stage runs on the CPU", flush=True)
        return ("--gpu-workers", "0")
    return ()


if __name__ == "__main__":
    os.umask(processes.PRIVATE)  # nobody else reads what this makes
    sys.exit(main())

"""What ``make serve`` runs: servers, pools, deployments and one worker on this machine, until Ctrl-C.

::

    python -m flows.serve [--host 127.0.0.1] [--allowed-hosts NAMES] [--prefect-port 4200] [--mlflow-port 5000]
                          [--triage-port 4300] [--no-triage] [--no-deploy]
                          [--backend DATABASE] [--artifacts PLACE] [--mlflow-uri ADDRESS] [--prefect-url API]

Both servers keep what they know in this folder: Prefect in ``.prefect/``, MLflow in ``mlflow.db`` and ``mlruns/``, the
store that runs without a server use as well. ``--backend`` and ``--artifacts`` name other places, from which MLflow
hands files out to every machine. ``--mlflow-uri`` and ``--prefect-url`` name servers that run elsewhere, and so do
MLFLOW_TRACKING_URI and PREFECT_API_URL. A server or worker that dies is started again; what ends this command ends them
all. Port 0 is a free one.

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
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from flows import deploy, worker
from flows.runtime import access, admission, central, devices, gpu, processes, program, reach, servers, working_copy
from flows.runtime.own_names import own
from flows.triage import sessions
from pipeline import config, tracking
from pipeline.base.errors import FlowsculptError
from pipeline.settings.retention import Retention
from pipeline.tracking import store

FOR_A_SHELL = (
    *(central.PREFECT, access.PREFECT_CLIENT, central.PREFECT_KEY),
    *(central.MLFLOW, *access.MLFLOW_CLIENT, central.TOKEN),
)


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
    central.forget_earlier(os.environ)
    use = central.chosen(given, os.environ)
    print(f"serve: starting {_to_start(use)}; Ctrl-C stops all of them", flush=True)
    os.environ.update({admission.ROOT_VARIABLE: str(Path.cwd())})
    words = _servers(given, use, names, held, stopped)
    if stopped.is_set():
        return
    if use.hands_out:
        tracking.require_handed_out()
    if not given.no_deploy:
        _deploy_all()
    command = [sys.executable, "-m", "flows.worker", *_gpu_workers()]
    held.enter_context(processes.Kept("worker", command, os.environ, told="head"))
    told = {name: os.environ[name] for name in FOR_A_SHELL if os.environ.get(name)}
    started = [
        os.environ[name] for name, other in ((central.PREFECT, use.prefect), (central.MLFLOW, use.mlflow)) if not other
    ]
    told |= {central.SERVED: " ".join(started)} if started else {}
    shell = os.path.relpath(held.enter_context(access.told(told)))
    if not given.no_triage:
        words.append(
            f"Triage    {held.enter_context(_triage(given, names, stopped))}   asks for the secret in {sessions.FILE}"
        )
    print("\n".join([f"a shell logs in to both by: . {shell}", *words]), flush=True)


def _to_start(use: central.Chosen) -> str:
    """What is started, in words."""
    started = ["a Prefect server"] if not use.prefect else []
    started += ["an MLflow server"] if not use.mlflow else []
    return ", ".join(started) + " and a worker" if started else "a worker"


def _servers(
    given: argparse.Namespace, use: central.Chosen, names: Sequence[str], held: ExitStack, stopped: threading.Event
) -> list[str]:
    """Start both servers, or see that they answer; this process talks to them. Returns where each is, in words."""
    login = "" if use.prefect and use.mlflow else access.kept_login()
    start = (given, use, names, held, stopped, login)
    words = [_elsewhere_prefect(use.prefect) if use.prefect else _prefect(*start)]
    if not stopped.is_set():
        words += _elsewhere_mlflow(use.mlflow) if use.mlflow else _mlflow(*start)
    return words


def _prefect(
    given: argparse.Namespace,
    _: central.Chosen,
    names: Sequence[str],
    held: ExitStack,
    stopped: threading.Event,
    login: str,
) -> str:
    asks = _login_of(access.PREFECT_SERVER, "the line in {}")
    env, port = access.prefect_settings(login), given.prefect_port or servers.free_port()
    days = config.load(Retention).log_days
    api = held.enter_context(servers.prefect(port, given.host, names, login, stopped=stopped, forget_days=days))
    if not stopped.is_set():
        access.require("Prefect server", f"{api}/admin/version", env[access.PREFECT_CLIENT])
    os.environ.update(env | {central.PREFECT: api})
    return f"Prefect   {api.removesuffix('/api')}   asks for {asks}"


def _mlflow(
    given: argparse.Namespace,
    use: central.Chosen,
    names: Sequence[str],
    held: ExitStack,
    stopped: threading.Event,
    login: str,
) -> list[str]:
    asks = _login_of(access.MLFLOW_SERVER, "user and secret of {}, a colon between them")
    env, port = access.mlflow_client_settings(login), given.mlflow_port or servers.free_port()
    address = held.enter_context(servers.mlflow(port, given.host, names, login, stopped=stopped, use=use))
    if not stopped.is_set():
        known = ":".join(env[name] for name in access.MLFLOW_CLIENT)
        access.require("MLflow server", f"{address}/api/2.0/mlflow/experiments/search?max_results=1", known)
    os.environ.update(env | {central.MLFLOW: address})
    runs = tracking.redact(use.backend) or "mlflow.db"
    files = tracking.redact(use.artefacts) or f"{store.ARTEFACTS} of this folder"
    files += ", handed out to every machine" if use.hands_out else "; --artifacts hands them out to other machines"
    return [f"MLflow    {address}   asks for {asks}", f"          keeps runs in {runs}, files in {files}"]


def _login_of(variable: str, line: str) -> str:
    """What a server asks for; the secret itself is not printed."""
    folder = os.path.relpath(access.home())
    return f"what {variable} configures" if os.environ.get(variable) else line.format(f"{folder}/{access.SECRET_FILE}")


def _elsewhere_prefect(api: str) -> str:
    central.require_prefect(api, os.environ)
    os.environ.setdefault(central.PREFECT, api)
    return f"Prefect   {tracking.redact(api.removesuffix('/api'))}   runs elsewhere, and goes on when this ends"


def _elsewhere_mlflow(address: str) -> list[str]:
    central.require_mlflow(address, os.environ)
    os.environ.setdefault(central.MLFLOW, address)
    runs = "runs elsewhere, and goes on when this ends" if address.startswith(central.SERVER) else "has no server"
    return [f"MLflow    {tracking.redact(address)}   {runs}"]


def _triage(given: argparse.Namespace, names: Sequence[str], stopped: threading.Event) -> AbstractContextManager[str]:
    return servers.triage(given.triage_port or servers.free_port(), given.host, names, stopped)


def _deploy_all() -> None:
    """Make the pools, and put every deployment of ``prefect.yaml`` and the notifications on the server.

    Raises:
        FlowsculptError: Prefect refuses one.
    """
    with worker.connected():
        worker.prepare([own(pool) for pool in arguments.POOLS])
    deploy.put(Path(arguments.DEPLOYMENTS))
    for line in deploy.notify():
        print(f"serve: {line}", flush=True)


def _gpu_workers() -> tuple[str, ...]:
    """A machine without a GPU serves the pool ``gpu`` all the same: on its processor."""
    if gpu.gpu_workers() is None and not devices.find_devices():
        print("serve: no GPU on this machine: every stage runs on the CPU", flush=True)
        return ("--gpu-workers", "0")
    return ()


if __name__ == "__main__":
    os.umask(processes.PRIVATE)  # nobody else reads what this makes
    sys.exit(main())

"""The one worker command: takes up scheduled runs, on this machine, from the pools that it polls.

::

    python -m flows.worker [--pool cpu] [--pool gpu] [--gpu-workers N]

It makes the work pools and concurrency limits that are absent, and keeps one Prefect worker for each pool. Whatever
ends it, no process of it is left. A run whose process is gone, because a worker or the machine died under it, is set to
be run again: the same flow run, which goes on in the same MLflow parent run from its last checkpoint.

Where the model of this project has a name of its own, the pools have it too: ``gpu-zeek``. See ``runtime.own_names``.
"""

import os

from flows import arguments
from pipeline.tracking import quiet_tools

if __name__ == "__main__":
    quiet_tools()
    arguments.parse("worker")  # help, and what is misspelt, before the imports below, which take seconds

import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.runtime import devices, flow_metrics, gpu, logs, processes, program, recovery, servers
from flows.runtime.admission import ROOT_VARIABLE, WORKER, job_template
from flows.runtime.own_names import own
from pipeline import config
from pipeline.base.errors import ConfigError, FlowsculptError
from pipeline.base.escaping import printable
from pipeline.base.secrets import hidden
from pipeline.settings.prometheus import Prometheus

LIMITS: Mapping[str, int] = {"promotion": 1}
SECONDS_BETWEEN_REVIVALS = 30.0


def main(options: Sequence[str] | None = None) -> int:
    """Work until a signal comes; returns the exit code."""
    given = arguments.parse("worker", options)
    if given.gpu_workers is not None:
        os.environ[gpu.GPU_WORKERS_VARIABLE] = given.gpu_workers
    os.environ.setdefault(ROOT_VARIABLE, str(Path.cwd()))
    stopped = threading.Event()
    try:
        with program.heeding(stopped.set, [signal.SIGTERM, signal.SIGINT]), connected():
            pools = [own(pool) for pool in choose_pools(given.pool)]
            prepare(pools)
            with flow_metrics.answering(config.load(Prometheus), partial(logs.say, "worker")):
                work(pools, stopped)
    except FlowsculptError as error:
        print(f"worker: {error}", file=sys.stderr)
        return 1
    except httpx.HTTPError as error:
        said = f"worker: the Prefect server {PREFECT_API_URL.value()} does not answer: {error}"
        print(printable(hidden(said)), file=sys.stderr)
        return 1
    return 0


def choose_pools(wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The pools that this machine can serve, all of those that are wanted.

    Raises:
        ConfigError: the pool ``gpu`` is wanted, and there is no GPU.
    """
    has_gpu = gpu.gpu_workers() == 0 or bool(gpu.usable_devices())
    if not has_gpu and "gpu" in (wanted or ()):
        raise ConfigError(
            "pool 'gpu': this machine has no GPU; poll the pool cpu alone, or set workers.gpu_workers to 0 in "
            "params.yaml (or --gpu-workers 0) to run the stages that ask for a device on the CPU"
        )
    if not has_gpu and not wanted:
        logs.say("worker", "no GPU on this machine: it leaves the pool gpu alone; --gpu-workers 0 serves it on the CPU")
    return tuple(dict.fromkeys(wanted or (arguments.POOLS if has_gpu else ("cpu",))))


def prepare(pools: Sequence[str]) -> None:
    """Make the work pools and the concurrency limits that are absent; no run chooses what a pool of processes starts.

    A pool that Prefect made lets each run name a command, its environment and its folder. The pools of this project
    take nothing from a run; those that exist already are changed. What they start is ``runtime.admission``.
    """
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectAlreadyExists

    template = job_template()
    with get_client(sync_client=True) as client:
        for pool in pools:
            try:
                client.create_work_pool(WorkPoolCreate(name=pool, type="process", base_job_template=template))
            except ObjectAlreadyExists:
                found = client.read_work_pool(pool)
                if found.type == "process" and found.base_job_template != template:
                    client.update_work_pool(pool, WorkPoolUpdate(base_job_template=template))
    gpu.ensure_limits(
        {**{own(name): slots for name, slots in LIMITS.items()}, **{device.limit: 1 for device in gpu.usable_devices()}}
    )


def work(pools: Sequence[str], stopped: threading.Event) -> None:
    """Keep one Prefect worker for each pool until ``stopped`` is set."""
    workers = {name_of(pool): pool for pool in pools}
    env = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])}
    with ExitStack() as held:
        # Last of all: runs that ended with the workers wait for the next ones.
        held.callback(recovery.try_to_revive, workers)
        for name, pool in workers.items():
            command = [sys.executable, "-m", "flows.runtime.admission", WORKER, "start", "--type", "process"]
            command += ["--pool", pool, "--name", name]
            revive = partial(_revive_at_once, name)
            revive()
            held.enter_context(processes.Kept(f"worker {name}", command, env, told="head", between=revive))
        logs.say("worker", f"polls {', '.join(pools)} of {hidden(str(PREFECT_API_URL.value()))}")
        lost: set[UUID] = set()
        while not stopped.wait(SECONDS_BETWEEN_REVIVALS):
            lost = recovery.try_to_revive(workers, lost)


def _revive_at_once(name: str) -> None:
    """The worker of this name is gone: nobody else will tell."""
    recovery.try_to_revive([name])


def name_of(pool: str) -> str:
    """What Prefect calls the worker of a pool on this machine; a container may have another host name each time."""
    return f"{pool}@{os.environ.get(devices.HOST_VARIABLE) or socket.gethostname()}"


@contextmanager
def connected() -> Iterator[None]:
    """The Prefect server that is named, else that of ``make serve`` in this folder.

    Raises:
        ConfigError: there is none.
    """
    known = servers.reached()
    if not known:
        raise ConfigError("no Prefect server is named: run `make serve` in this folder, or set PREFECT_API_URL")
    os.environ.update({setting.name: value for setting, value in known.items()})
    with temporary_settings(known):
        yield


if __name__ == "__main__":
    os.umask(processes.PRIVATE)  # nobody else reads what this makes
    sys.exit(main())

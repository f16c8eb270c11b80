"""What a worker runs: the flows that ``prefect.yaml`` of its own clone deploys, and nothing else.

::

    python -m flows.runtime.admission worker start --type process --pool cpu    a Prefect worker
    python -m flows.runtime.admission                                           the process of one run, which it starts

Whoever has the login of the Prefect server can put a deployment there. It may name any code, and steps that run before
it. A pool may start any command. So a worker takes the name of the deployment from the server, and everything else from
its own clone. A run of any other deployment ends as ``Refused``.
"""

import asyncio
import os
import runpy
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import yaml
from prefect.client.orchestration import get_client
from prefect.states import Failed

from flows.arguments import DEPLOYMENTS
from flows.runtime import logs
from flows.runtime.own_names import own
from pipeline.base.errors import ConfigError, near_miss

if TYPE_CHECKING:
    from prefect import Flow

ROOT_VARIABLE: Final = "FLOWSCULPT_ROOT"  # the folder of the clone
RUN_VARIABLE: Final = "PREFECT__FLOW_RUN_ID"  # Prefect names the run by it
COMMAND: Final = "python -m flows.runtime.admission"
WORKER: Final = "worker"


def deployed(root: Path) -> dict[str, str]:
    """The deployments of a clone, by their names on the server -> file and function of the flow.

    Raises:
        ConfigError: there is no such file, or it holds something else.
    """
    try:
        told: Mapping[str, Any] = yaml.safe_load((root / DEPLOYMENTS).read_bytes())
        return {own(each["name"]): str(each["entrypoint"]) for each in told["deployments"]}
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise ConfigError(f"{root / DEPLOYMENTS}: cannot be read, so nothing runs here ({error})") from error


def code_of(name: str, root: Path) -> str:
    """File and function of the flow that a deployment stands for here.

    Raises:
        ConfigError: this clone deploys nothing of that name.
    """
    known = deployed(root)
    if name not in known:
        raise ConfigError(
            f"deployment {name!r} does not stand in {root / DEPLOYMENTS}, and this worker runs nothing else"
            f"{near_miss(name, known)}; add it there, or run it by a worker of Prefect's in a pool of its own"
        )
    return known[name]


def job_template() -> dict[str, Any]:
    """How a worker starts the process of a run: always alike, with no variable that a run could set."""
    fixed = {"stream_output": True, "command": COMMAND}
    return {
        "job_configuration": fixed,
        "variables": {"type": "object", "properties": {}, "additionalProperties": False},
    }


def read_no_results() -> None:
    """Let Prefect read no result of a run from anywhere: a state on the server could name a pickle of somebody else.

    No flow of this project keeps its results there.
    """
    from prefect import results

    async def refused(_: Any, metadata: Any) -> Any:
        raise ConfigError(f"a result that a server names is not read here: {metadata.storage_key}")

    async def nowhere() -> None:
        return None

    _replace(results, "_read_server_default_result_storage_block_id", lambda: None)
    _replace(results, "_aread_server_default_result_storage_block_id", nowhere)
    _replace(results.ResultStore, "_from_metadata", classmethod(refused))


def _replace(owner: Any, name: str, value: Any) -> None:
    """Put something into the place of a part of Prefect.

    Raises:
        ConfigError: Prefect has no such part, so what it stood for would no longer be closed.
    """
    if not hasattr(owner, name):
        raise ConfigError(f"this version of Prefect has no {name}; install the version of constraints.txt")
    setattr(owner, name, value)


# The process of a run.


def run_of_process() -> None:
    """Run the flow of the run that Prefect names, or end the run as refused."""
    run, root = UUID(os.environ[RUN_VARIABLE]), Path(os.environ[ROOT_VARIABLE])
    os.chdir(root)
    with get_client(sync_client=True) as client:
        deployment = client.read_flow_run(run).deployment_id
        try:
            code = code_of(client.read_deployment(deployment).name if deployment else "", root)
        except ConfigError as error:
            print(f"worker: run {run} is refused: {error}", file=sys.stderr)
            client.set_flow_run_state(run, Failed(name="Refused", message=str(error)), force=True)
            return
    read_no_results()
    sys.argv[1:] = [code]
    runpy.run_module("prefect.flow_engine", run_name="__main__")


# The worker.


async def known_flow(client: Any, flow_run: Any, **_: Any) -> "Flow[..., Any]":
    """The flow of a run for the hooks of a run that crashed or was cancelled; Prefect's own would run any step first.

    Raises:
        ConfigError: this clone deploys nothing of that name.
    """
    from prefect.flows import load_flow_from_entrypoint

    root = Path(os.environ[ROOT_VARIABLE])
    name = (await client.read_deployment(flow_run.deployment_id)).name if flow_run.deployment_id else ""
    file, _colon, function = code_of(name, root).partition(":")
    return await asyncio.to_thread(load_flow_from_entrypoint, f"{root / file}:{function}", use_placeholder_flow=False)


def work() -> None:
    """Be Prefect's command with the arguments of this one, but for what it trusts."""
    from prefect.workers import process

    class Fixed(process.ProcessJobConfiguration):
        """What starts a run, whatever the pool on the server says."""

        @classmethod
        async def from_template_and_values(cls, base_job_template: Any, values: Any, client: Any = None) -> Any:
            return await super().from_template_and_values(job_template(), {}, client=client)

    _replace(process.ProcessWorker, "job_configuration", Fixed)
    _replace(process, "load_flow_from_flow_run", known_flow)
    read_no_results()
    runpy.run_module("prefect", run_name="__main__")


if __name__ == "__main__":
    logs.prepare()
    work() if sys.argv[1:2] == [WORKER] else run_of_process()

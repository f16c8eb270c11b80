"""Runs whose process is gone: set to be run again, so that the next worker takes them up where they stood.

Prefect calls a run Running for as long as nobody says otherwise, and a worker or machine that dies says nothing. A run
is given up for dead where a worker of this machine took it and no process of this machine works on it. Runs of other
machines are left alone.
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import psutil
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.logging import get_logger
from prefect.states import AwaitingRetry, Cancelled, Crashed

MOST_STARTS = 5  # of one run: what takes its worker down each time must not do so for ever
REVIVALS = "flowsculpt.revivals"  # a label: Prefect's own count says 0 for a run whose process never began
TIME_TO_START = timedelta(seconds=60)  # from being taken by a worker to having a process
_FLOW_RUN_VARIABLE = "PREFECT__FLOW_RUN_ID"
_WORKER_LABEL = "prefect.worker.name"


def try_to_revive(workers: Collection[str], seen: Collection[UUID] | None = None) -> set[UUID]:
    """As ``revive``; where the server does not answer, nothing is done: the next call will."""
    try:
        return revive(workers, seen)
    except httpx.HTTPError as error:
        get_logger("flowsculpt.worker").warning("runs were not looked through, the server does not answer: %s", error)
        return set()


def revive(workers: Collection[str], seen: Collection[UUID] | None = None) -> set[UUID]:
    """Set each run that a worker of this machine left behind to be run again.

    A run that was being cancelled is cancelled. One that has been started ``MOST_STARTS`` times is crashed; a start by
    this function counts even if the process ended before the run began.

    Args:
        workers: the names of this machine's workers.
        seen: the runs that had no process at the last look, where the workers are alive: those alone are settled. A
            worker that lives tells itself what became of a run, and must have the time to.

    Returns:
        The ids of the flow runs that have no process.
    """
    with get_client(sync_client=True) as client:
        working = _working()
        begun = [run for run in _begun(client) if run.labels.get(_WORKER_LABEL) in workers]
        working |= _working()  # one that began meanwhile
        dead = [run for run in begun if run.id not in working and _is_overdue(run.state)]
        for run in dead:
            if seen is None or run.id in seen:
                _settle(client, run)
        return {run.id for run in dead}


def _begun(client: SyncPrefectClient) -> list[Any]:
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType

    types = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=types))
    return list(client.read_flow_runs(flow_run_filter=FlowRunFilter(state=state), limit=200))


def _working() -> set[UUID]:
    """The flow runs that a process of this machine works on."""
    return {each for process in psutil.process_iter() if (each := _flow_run_of(process))}


def _flow_run_of(process: psutil.Process) -> UUID | None:
    try:
        return UUID(process.environ().get(_FLOW_RUN_VARIABLE, ""))
    except (psutil.Error, OSError, ValueError):  # any program may set the variable, to anything
        return None


def _is_overdue(state: Any) -> bool:
    """Whether a process must be there: the run says so itself, or has had the time to start one."""
    return not state.is_pending() or bool(datetime.now(UTC) - state.timestamp > TIME_TO_START)


def _settle(client: SyncPrefectClient, seen: Any) -> None:
    run = client.read_flow_run(seen.id)
    if run.state is None or run.state.id != seen.state.id:
        return  # it has moved on
    starts = max(run.run_count, _revivals(run) + 1)
    if run.state.is_cancelling():
        client.set_flow_run_state(run.id, Cancelled(message="it was cancelled, and its process is gone"), force=True)
    elif starts >= MOST_STARTS:
        lost = f"its process was lost each of the {starts} times that it was started: it is not started again"
        client.set_flow_run_state(run.id, Crashed(message=lost), force=True)
    else:
        client.update_flow_run_labels(run.id, {REVIVALS: _revivals(run) + 1})
        again: Any = AwaitingRetry(
            scheduled_time=run.expected_start_time,
            message=f"its process is gone: it goes on (start {starts + 1} of at most {MOST_STARTS})",
        )
        client.set_flow_run_state(run.id, again, force=True)
    get_logger("flowsculpt.worker").info("run %s (%s) had no process", run.name, run.state.name)


def _revivals(run: Any) -> int:
    """How often this module has set a run to be run again."""
    return int(run.labels.get(REVIVALS, 0))

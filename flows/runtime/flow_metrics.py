"""How the flows and the model go, as Prometheus reads it: ``/metrics`` of a worker.

The Prefect server says how the runs of this project's deployments ended, the registry which version serves, and the
files below ``data/`` what was scored and what the last drift check found. All of it is asked once in ``SECONDS`` at
most.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from contextvars import copy_context
from datetime import datetime
from typing import Any, Final

import httpx
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName, FlowRunFilter
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import PrefectException

from flows.runtime import metrics, notifying
from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json
from pipeline.base import escaping
from pipeline.base.errors import ConfigError, FlowsculptError
from pipeline.serving import exposition, live_days, own_model, scored
from pipeline.serving.champion import GATE_TIME
from pipeline.serving.exposition import Labels
from pipeline.settings.prometheus import Prometheus
from pipeline.tracking import direct

PREFIX: Final = "flowsculpt_"
SECONDS: Final = 60.0
DAY: Final = 86_400.0
ENDS: Final = {"completed": ("COMPLETED",), "failed": ("FAILED", "CRASHED")}
ABOUT: Final = {
    "prefect_up": ("gauge", "1 where the Prefect server answered when it was last asked."),
    "flow_runs": ("gauge", "Runs of a deployment that the Prefect server knows, by how they ended."),
    "flow_late_runs": ("gauge", "Runs of a deployment that are due and have not started."),
    "flow_last_end_timestamp_seconds": ("gauge", "When the last run ended so, in seconds since 1970."),
    "flow_last_failed": ("gauge", "1 where the last run that ended failed, or its process died."),
    "registry_up": ("gauge", "1 where the registry answered when it was last asked."),
    "champion_version": ("gauge", "Version of the model that serves."),
    "champion_since_timestamp_seconds": ("gauge", "When the gate let it serve, in seconds since 1970."),
    "day_records": ("gauge", "Records that were scored in the last 24 hours."),
    "day_alarms_share": ("gauge", "Share of these that exceeds a threshold."),
    "day_promised_share": ("gauge", "Share that would exceed it if all were benign."),
    "quarantined_files": ("gauge", "Files in quarantine."),
    "drift_outcome": ("gauge", "1 for what the last drift check found."),
    "drift_checked_timestamp_seconds": ("gauge", "When that was, in seconds since 1970."),
}
# What the sources of these numbers raise: servers that refuse, files that are damaged, settings that are wrong.
FAULTS: Final = (
    *(FlowsculptError, PrefectException, OSError, yaml.YAMLError),
    *(LookupError, TypeError, ValueError, AttributeError, ArithmeticError),
)
_log = escaping.log(__name__)
Values = defaultdict[str, dict[Labels, float]]


class FlowMetrics:
    """The numbers, which are gathered anew where they are older than ``SECONDS``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._text, self._until, self._fault = "", 0.0, ""
        self._said: frozenset[str] = frozenset()  # a fault is logged once while it lasts
        self._context = copy_context()  # which server is asked stands in it; a thread that answers has none

    def text(self) -> str:
        """All of them, in Prometheus' text format."""
        with self._lock:
            if time.monotonic() >= self._until:
                values, faults = self._context.run(gathered)
                for each in sorted(faults - self._said):
                    _log.warning("/metrics lacks numbers of %s", each)
                self._said = faults
                self._text = exposition.text(PREFIX, ABOUT, values)
                self._fault = "" if values["prefect_up"][()] else "the Prefect server does not answer"
                self._until = time.monotonic() + SECONDS
            return self._text

    def health(self) -> str:
        """What is wrong; "" for nothing."""
        self.text()
        return self._fault


@contextmanager
def answering(settings: Prometheus, tell: Callable[[str], None]) -> Iterator[int]:
    """Answer while the block runs; gives the port, 0 where nobody answers.

    A port that is taken is said, and no more: a second clone on this machine may have it, and its worker must not fail.
    """
    numbers, port = FlowMetrics(), 0
    with ExitStack() as held:
        if settings.port:
            door = metrics.answering(settings.host, settings.port, numbers.text, numbers.health, "prometheus.port")
            try:
                port = held.enter_context(door)
            except ConfigError as error:
                tell(f"{error}; nobody answers Prometheus here")
        yield port


def gathered() -> tuple[Values, frozenset[str]]:
    """Name -> labels -> value, of all that can be asked now, and what is wrong with the parts that cannot."""
    values: Values = defaultdict(dict, prefect_up={(): 0.0})
    faults: set[str] = set()
    for part in (_of_runs, _of_champion, _of_scored, _of_quarantine, _of_drift):
        try:
            part(values)
        except httpx.HTTPError:
            values["prefect_up"][()] = 0.0
        except FAULTS as error:
            faults.add(f"{part.__name__.removeprefix('_of_')}: {type(error).__name__}: {error}")
    return values, frozenset(faults)


def _of_runs(values: Values) -> None:
    with get_client(sync_client=True) as client:
        client.hello().raise_for_status()
        values["prefect_up"][()] = 1.0
        for name in notifying.deployments():
            _of_deployment(values, client, name)


def _of_deployment(values: Values, client: SyncPrefectClient, name: str) -> None:
    chosen = DeploymentFilter(name=DeploymentFilterName(any_=[name]))
    ends = {}
    for end, types in ENDS.items():
        of_these = FlowRunFilter.model_validate({"state": {"type": {"any_": types}}})
        last = client.read_flow_runs(
            deployment_filter=chosen, flow_run_filter=of_these, sort=FlowRunSort.END_TIME_DESC, limit=1
        )
        labels = (("deployment", name), ("end", end))
        values["flow_runs"][labels] = client.count_flow_runs(deployment_filter=chosen, flow_run_filter=of_these)
        ends[end] = last[0].end_time.timestamp() if last and last[0].end_time else 0.0
        if ends[end]:
            values["flow_last_end_timestamp_seconds"][labels] = ends[end]
    if any(ends.values()):
        values["flow_last_failed"][(("deployment", name),)] = float(ends["failed"] > ends["completed"])
    late = FlowRunFilter.model_validate({"state": {"name": {"any_": ["Late"]}}})
    number = client.count_flow_runs(deployment_filter=chosen, flow_run_filter=late)
    values["flow_late_runs"][(("deployment", name),)] = number


def _of_champion(values: Values) -> None:
    found = direct.ask(own_model.name(), "champion")
    values["registry_up"][()] = float(found != "away")
    if not isinstance(found, direct.Registered):
        return
    values["champion_version"][()] = found.number
    with suppress(ValueError):
        since = datetime.fromisoformat(found.tags.get(GATE_TIME, "")).timestamp()
        values["champion_since_timestamp_seconds"][()] = since


def _of_scored(values: Values) -> None:
    found = [*scored.since(time.time() - DAY).values()]
    values["day_records"][()] = sum(each["records"] for each in found)
    for (kind, level), share in live_days.shares(found).items():
        values[f"day_{kind}_share"][(("level", level),)] = share


def _of_quarantine(values: Values) -> None:
    values["quarantined_files"][()] = len([*own_model.quarantine().glob("*.json")])


def _of_drift(values: Values) -> None:
    path = paths.DRIFT / "drift.json"
    if not path.exists():
        return
    found: Mapping[str, Any] = read_json(path)
    if found.get("model") == own_model.name():
        values["drift_outcome"][(("outcome", str(found["outcome"])),)] = 1.0
        values["drift_checked_timestamp_seconds"][()] = path.stat().st_mtime

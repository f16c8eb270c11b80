"""What is written to a run, as data: JSON objects that can be kept, applied later, and applied twice without harm.

::

    {"call": "log", "run": id, "metrics": [[name, value, milliseconds, step]], "params": {}, "tags": {}}

A run is opened under an id of this project's own, ``key:...``, which becomes its tag ``flowsculpt.key``: so it can be
written to before the store has it, and opening it again finds it. ``resolve`` gives the id that the store gave it.
"""

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from pipeline.base.escaping import lines, printable
from pipeline.tracking import process_identity, store

Operation = dict[str, Any]
Call = Literal["open", "log", "close", "reopen", "file", "input", "link"]
State = Literal["ran", "cached"]

KIND, STAGE, OUTPUTS, PROCESS, ERROR, FLOW_RUN, KEY, RESUMED, PRESET = (
    f"flowsculpt.{tag}"
    for tag in ("kind", "stage", "outputs", "process", "error", "flow_run", "key", "resumed", "preset")
)

_KEY = re.compile(r"key:[0-9a-f]{32}")


def key(*names: str) -> str:
    """An id for a run that is to be opened: the same for the same names, a new one for none."""
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:32] if names else uuid.uuid4().hex
    return f"key:{digest}"


def resolve(run: str) -> str:
    """The id of a run in the store.

    Raises:
        MlflowException: no run was opened under this id.
    """
    if not _KEY.fullmatch(run):
        return run
    known = store.current().ids
    if run not in known:
        found = find(run)
        if found is None:
            from mlflow.exceptions import MlflowException
            from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

            raise MlflowException(f"no run has the tag {KEY} = {run}", RESOURCE_DOES_NOT_EXIST)
        known[run] = found.info.run_id
    return known[run]


def find(run: str) -> Any | None:
    """The run that was opened under a key, or None."""
    return next(iter(store.search({KEY: run})), None)


def stage_tags(stage: str, run: str | None, state: State) -> dict[str, str]:
    """What a parent says of a stage."""
    return {f"stage.{stage}.state": state} | ({f"stage.{stage}": run} if run else {})


def apply(operation: Operation) -> str | None:
    """Write to the store of this project.

    Returns:
        The id in the store of what ``open`` opened or ``link`` found, else None.
    """
    arguments = {name: value for name, value in operation.items() if name not in ("id", "call", "run")}
    if operation["call"] == "open":
        return _open(operation["run"], **arguments)
    return _CALLS[operation["call"]](store.client(), resolve(operation["run"]), **arguments)


def _open(run: str, time: int, tags: Mapping[str, str], resumes: Mapping[str, Any] | None = None) -> str:
    """Open a run, unless it is open already or goes on with one that a killed process left."""
    within, client = store.current(), store.client()
    experiment = within.experiment
    known = _printable(_resolved(tags)) | {KEY: run}
    with store.locked(store.project_root()):  # no two processes open the same run
        left = find(run)
        again = left is not None and left.data.tags.get(PROCESS) == known.get(PROCESS)  # this very call, repeated
        if left is None and resumes:
            left = _unfinished(client, **resumes)
        if left:
            _take_over(client, left, known, again)
        within.ids[run] = left.info.run_id if left else client.create_run(experiment, time, known).info.run_id
    return within.ids[run]


def _unfinished(client: Any, parent: str, stage: str, params: Mapping[str, str]) -> Any | None:
    """The run of a stage that was killed under this parent, unless other settings have been given since."""
    tags = client.get_run(resolve(parent)).data.tags
    if tags.get(f"stage.{stage}.state") != "ran" or not tags.get(f"stage.{stage}"):
        return None
    left = client.get_run(tags[f"stage.{stage}"])
    was_killed = left.info.status == "KILLED" or (
        left.info.status == "RUNNING" and not process_identity.is_here(left.data.tags.get(PROCESS, ""))
    )
    same = all(left.data.params.get(name, value) == value for name, value in _printable(params).items())
    return left if was_killed and same else None


def _take_over(client: Any, run: Any, tags: Mapping[str, str], again: bool) -> None:
    """Go on with a run; what stands in it already stays."""
    own = run.data.tags
    if not again:
        tags = {**tags, RESUMED: str(int(own.get(RESUMED, "0")) + 1)}
    _log(client, run.info.run_id, tags=tags)
    _reopen(client, run.info.run_id)
    if ERROR in own:
        client.delete_tag(run.info.run_id, ERROR)


def _reopen(client: Any, run: str) -> None:
    client.update_run(run, status="RUNNING")


def _log(
    client: Any,
    run: str,
    metrics: Sequence[Sequence[Any]] = (),
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    from mlflow.entities import Metric, Param, RunTag

    client.log_batch(
        run,
        [Metric(name, value, milliseconds, step) for name, value, milliseconds, step in metrics],
        [Param(name, value) for name, value in _printable(params or {}).items()],
        [RunTag(name, value) for name, value in _printable(_resolved(tags or {})).items()],
    )


def _resolved(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags that name a run name it by its id in the store; all but its own key."""
    return {name: resolve(value) if name != KEY else value for name, value in tags.items()}


def _printable(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: printable(text) for name, text in texts.items()}


def _close(client: Any, run: str, time: int, status: str, error: str = "") -> None:
    if error:
        client.set_tag(run, ERROR, lines(error))
    client.set_terminated(run, status, time)


def _file(client: Any, run: str, path: str, folder: str | None) -> None:
    client.log_artifact(run, path, folder)


def _input(client: Any, run: str, name: str, digest: str, source: str, rows: int, schema: Any, context: str) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    profile = {"num_rows": rows, "num_elements": rows * len(schema)}
    columns = json.dumps({"mlflow_colspec": schema})
    entry = Dataset(name, digest, "local", json.dumps({"uri": source}), columns, json.dumps(profile))
    client.log_inputs(run, [DatasetInput(entry, [InputTag("mlflow.data.context", context)])])


def _link(client: Any, run: str, stage: str, content_hash: str) -> str | None:
    """Name, under a parent, the newest successful run of a stage that made these outputs; one of its own stays so."""
    made = store.search({STAGE: stage, OUTPUTS: content_hash}, "FINISHED") if content_hash else []
    maker = str(made[0].info.run_id) if made else None
    if not maker or client.get_run(run).data.tags.get(f"stage.{stage}") != maker:
        _log(client, run, tags=stage_tags(stage, maker, "cached"))
    return maker


_CALLS: dict[str, Callable[..., str | None]] = {
    "log": _log,
    "close": _close,
    "reopen": _reopen,
    "file": _file,
    "input": _input,
    "link": _link,
}

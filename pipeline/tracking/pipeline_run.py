"""The parent run of a pipeline run, and how the stages under it are found and linked."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from pipeline.base import escaping
from pipeline.tracking import operations, outbox, process_identity, store
from pipeline.tracking.operations import FLOW_RUN, KIND, PROCESS, State

PARENT_VARIABLE = "FLOWSCULPT_PARENT_RUN"
LONGEST_ERROR = 4000
VIEW = "workflowType=machine_learning"  # the UI opens any other address in its view of language models

_log = escaping.log(__name__)


def open_parent(name: str, tags: Mapping[str, str]) -> str:
    """Open the parent run of a pipeline run that this process drives; returns its id.

    Where the tags name a Prefect flow run (``flowsculpt.flow_run``) that has a parent already, left by a process that
    was killed, that one is taken over, and its stages go on in the runs that they had.
    """
    flow_run = tags.get(FLOW_RUN)
    return _open(operations.key("flow run", flow_run) if flow_run else operations.key(), name, psutil.Process(), tags)


def close_parent(run_id: str, error: str = "") -> None:
    """Close a parent run, as FAILED where there is an error; a child that was killed is closed as KILLED."""
    close_orphans()
    close((run_id,), "FAILED" if error else "FINISHED", error)
    outbox.deliver()


def link(parent: str, stage: str, content_hash: str) -> str | None:
    """Name, under a parent, the run that made the outputs of a stage that DVC skipped.

    Returns:
        The id of the newest successful run of the stage whose outputs have this content, or None where the store holds
        none (the outputs are absent, were pulled from a remote, or are older than the store) or does not answer.
    """
    found: str | None = outbox.write("link", parent, stage=stage, content_hash=content_hash)
    return found


@dataclass(frozen=True)
class Child:
    """A stage under a parent run.

    Attributes:
        stage: its name.
        state: whether it ran in this pipeline run, or DVC skipped it.
        run_id: the run that made its outputs, or None where the store holds none.
    """

    stage: str
    state: State
    run_id: str | None


def page(run_id: str) -> str:
    """The address of a run below that of the MLflow UI, in its view of training; "" where the store does not answer."""
    return outbox.ask(lambda: f"#/experiments/{store.experiment()}/runs/{operations.resolve(run_id)}?{VIEW}", "")


def children(parent: str) -> dict[str, Child]:
    """The stages of a pipeline run by name, in the order of their names; none where the store does not answer."""
    tags = tags_of(parent)
    states = {tag[len("stage.") : -len(".state")]: value for tag, value in tags.items() if tag.endswith(".state")}
    return {
        name: Child(name, "ran" if states[name] == "ran" else "cached", tags.get(f"stage.{name}"))
        for name in sorted(states)
    }


def tags_of(run_id: str) -> dict[str, str]:
    """The tags of a run; none where the store does not answer."""
    return outbox.ask(lambda: dict(store.client().get_run(operations.resolve(run_id)).data.tags), {})


def parent(stage: str) -> str:
    """The parent run of this pipeline run, for a stage of it; opened where there is none yet."""
    given = os.environ.get(PARENT_VARIABLE)
    if given and outbox.ask(lambda: _exists(given), True):
        return given
    owner = process_identity.owner()
    key = operations.key("process", process_identity.identity(owner))
    found = outbox.ask(lambda: operations.find(key), None)
    name = os.environ.get("DVC_EXP_NAME") or ("dvc repro" if process_identity.is_dvc(owner) else stage)
    return str(found.info.run_id) if found else _open(key, name, owner, {})


def is_given(parent: str) -> bool:
    """Whether a flow gave this parent run to the stage; the flow closes it."""
    return os.environ.get(PARENT_VARIABLE) == parent


def ends(parent: str, last: bool) -> bool:
    """Whether a parent run ends with a stage that ends well, the last one of the graph or an earlier one.

    A flow closes its own. That of a dvc process ends with the last stage, and that of a stage without dvc with it.
    """
    return not is_given(parent) and (last or not process_identity.is_dvc(process_identity.owner()))


def _open(key: str, name: str, owner: psutil.Process, tags: Mapping[str, str]) -> str:
    outbox.deliver()
    own = {
        KIND: "pipeline",
        PROCESS: process_identity.identity(owner),
        "mlflow.runName": name,
        "mlflow.source.name": name,
    }
    named = {"dvc.experiment": os.environ.get("DVC_EXP_NAME"), "mlflow.source.git.commit": process_identity.commit()}
    known = {tag: value for tag, value in named.items() if value}
    run_id = outbox.write("open", key, time=milliseconds(), tags=own | known | dict(tags)) or key
    close_orphans()
    return str(run_id)


def close(run_ids: Sequence[str], status: str, error: str = "") -> None:
    """Put runs into a terminal state."""
    for run_id in run_ids:
        outbox.write("close", run_id, time=milliseconds(), status=status, error=cut(error, LONGEST_ERROR))


def close_orphans() -> None:
    """Close each run of this machine whose process is gone.

    It was killed, as kill -9 leaves no time to close a run. But the run of a dvc process whose stages all ended well is
    done: dvc was asked for no later stage, or found that none had to run. What such a process had kept may say how it
    ended: that is delivered first.
    """
    if outbox.deliver():
        return
    nothing: list[Any] = []
    dead = [run for run in outbox.ask(lambda: store.search({}, "RUNNING"), nothing) if _is_dead(run)]
    for run in sorted(dead, key=lambda run: "mlflow.parentRunId" not in run.data.tags):  # a parent after its stages
        done = _is_done(run)
        close((run.info.run_id,), "FINISHED" if done else "KILLED", "" if done else "its process was killed")


def _is_dead(run: Any) -> bool:
    return process_identity.is_gone(run.data.tags.get(PROCESS, ""))


def _is_done(run: Any) -> bool:
    """Whether it is the parent of a dvc process, and all its stages ended well."""
    tags, nothing = run.data.tags, list[Any]()
    if tags.get(operations.KEY) != operations.key("process", tags.get(PROCESS, "")):
        return False
    stages = outbox.ask(lambda: store.search({"mlflow.parentRunId": run.info.run_id}), nothing)
    return {stage.info.status for stage in stages} == {"FINISHED"}


def milliseconds() -> int:
    """The time, as MLflow counts it."""
    return int(time.time() * 1000)


def cut(text: str, longest: int) -> str:
    """At most ``longest`` characters of a text; what was cut shows."""
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def _exists(run_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        return bool(store.client().get_run(operations.resolve(run_id)).info.lifecycle_stage == "active")
    except MlflowException as error:
        if outbox.is_transient(error):
            raise
        _log.warning("%s=%s names no run of %s: it is passed over", PARENT_VARIABLE, run_id, store.tracking_uri())
        return False

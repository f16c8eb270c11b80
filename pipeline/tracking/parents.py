"""The parent run of a pipeline run, and how the stages under it are found and linked."""

import logging
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import psutil

from pipeline.tracking import owners, store

State = Literal["ran", "cached"]

PARENT_VARIABLE = "FLOWSCULPT_PARENT_RUN"
KIND, STAGE, OUTPUTS, PROCESS, ERROR = (f"flowsculpt.{tag}" for tag in ("kind", "stage", "outputs", "process", "error"))
LONGEST_ERROR = 4000

_log = logging.getLogger(__name__)


def open_parent(name: str, tags: Mapping[str, str]) -> str:
    """Open the parent run of a pipeline run that this process drives; returns its id."""
    return _open_parent(store.client(), name, psutil.Process(), tags)


def close_parent(run_id: str, error: str = "") -> None:
    """Close a parent run, as FAILED where there is an error; a child that was killed is closed as KILLED."""
    client = store.client()
    bury_dead(client)
    close(client, (run_id,), "FAILED" if error else "FINISHED", error)


def link(parent: str, stage: str, content_hash: str) -> str | None:
    """Name, under a parent, the run that made the outputs of a stage that DVC skipped.

    Returns:
        The id of the newest successful run of the stage whose outputs have this content, or None where the store holds
        none: the outputs are absent, were pulled from a remote, or are older than the store.
    """
    client = store.client()
    found = search(client, {STAGE: stage, OUTPUTS: content_hash}, "FINISHED") if content_hash else []
    set_tags(client, parent, stage_tags(stage, found[0].info.run_id if found else None, "cached"))
    return found[0].info.run_id if found else None


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
    """The address of a run below the address of the MLflow UI."""
    return f"#/experiments/{store.experiment()}/runs/{run_id}"


def children(parent: str) -> dict[str, Child]:
    """The stages of a pipeline run by name, in the order of their names."""
    tags = store.client().get_run(parent).data.tags
    states = {tag[len("stage.") : -len(".state")]: value for tag, value in tags.items() if tag.endswith(".state")}
    return {
        name: Child(name, "ran" if states[name] == "ran" else "cached", tags.get(f"stage.{name}"))
        for name in sorted(states)
    }


def parent(client: Any, stage: str) -> str:
    """The parent run of this pipeline run, for a stage of it; opened where there is none yet."""
    given = os.environ.get(PARENT_VARIABLE)
    if given and _exists(client, given):
        return given
    owner = owners.owner()
    name = os.environ.get("DVC_EXP_NAME") or ("dvc repro" if owners.is_dvc(owner) else stage)
    with store.locked(store.project_root()):
        found = search(client, {KIND: "pipeline", PROCESS: owners.identity(owner)})
        return found[0].info.run_id if found else _open_parent(client, name, owner, {})


def _open_parent(client: Any, name: str, owner: psutil.Process, tags: Mapping[str, str]) -> str:
    bury_dead(client)
    own = {KIND: "pipeline", PROCESS: owners.identity(owner), "mlflow.runName": name, "mlflow.source.name": name}
    named = {"dvc.experiment": os.environ.get("DVC_EXP_NAME"), "mlflow.source.git.commit": owners.commit()}
    known = {tag: value for tag, value in named.items() if value}
    return str(client.create_run(store.experiment(), tags=own | known | dict(tags)).info.run_id)


def close(client: Any, run_ids: Sequence[str], status: str, error: str = "") -> None:
    """Put runs into a terminal state."""
    for run_id in run_ids:
        if error:
            client.set_tag(run_id, ERROR, cut(error, LONGEST_ERROR))
        client.set_terminated(run_id, status)


def bury_dead(client: Any) -> None:
    """Close as KILLED each run of this machine whose process is gone: kill -9 leaves no time to do so itself."""
    for run in search(client, {}, "RUNNING"):
        host, _, process = run.data.tags.get(PROCESS, "").partition(":")
        if host == socket.gethostname() and not owners.alive(process):
            close(client, (run.info.run_id,), "KILLED", "its process was killed")


def stage_tags(stage: str, run_id: str | None, state: State) -> dict[str, str]:
    """What a parent says of a stage."""
    return {f"stage.{stage}.state": state} | ({f"stage.{stage}": run_id} if run_id else {})


def set_tags(client: Any, run_id: str, tags: Mapping[str, str]) -> None:
    """Set several tags in one call."""
    from mlflow.entities import RunTag

    client.log_batch(run_id, tags=[RunTag(tag, value) for tag, value in tags.items()])


def search(client: Any, tags: Mapping[str, str], status: str | None = None) -> list[Any]:
    """The runs with all of these tags, the newest first."""
    terms = [f"tags.`{tag}` = '{value}'" for tag, value in tags.items()]
    terms += [f"attributes.status = '{status}'"] if status else []
    return list(client.search_runs([store.experiment()], " and ".join(terms), order_by=["attributes.start_time DESC"]))


def _exists(client: Any, run_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException:
        _log.warning("%s=%s names no run of %s: it is passed over", PARENT_VARIABLE, run_id, store.tracking_uri())
        return False


def cut(text: str, longest: int) -> str:
    """At most ``longest`` characters of a text; what was cut shows."""
    return text if len(text) <= longest else f"{text[: longest - 3]}..."

"""Runs, to be read: by their id, and by what they made."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline.tracking import operations, store


@dataclass(frozen=True)
class Run:
    """A run of a pipeline or of one of its stages, as the store has it.

    Attributes:
        run_id: its id.
        name: what the UI calls it.
        status: ``RUNNING``, ``FINISHED``, ``FAILED`` or ``KILLED``.
        started: in UTC, ISO 8601.
        stage: the stage that ran, "" for a pipeline run.
        parent: the pipeline run that a stage belongs to, "" for a pipeline run.
        tags: all that is written on it.
    """

    run_id: str
    name: str
    status: str
    started: str
    stage: str
    parent: str
    tags: Mapping[str, str]


def find_run(run_id: str) -> Run | None:
    """The run with this id, None where there is none or it was deleted."""
    return next(iter(_search(f"attributes.run_id = '{run_id}'")), None) if run_id.isalnum() else None


def run_ids() -> list[str]:
    """The ids of all runs, the newest first."""
    return [run.run_id for run in all_runs()]


def all_runs() -> list[Run]:
    """All runs, the newest first."""
    return _search("")


def makers(stage: str, content_hash: str) -> list[Run]:
    """The runs of a stage whose outputs have this content, the newest first."""
    return _search(f"tags.`{operations.STAGE}` = '{stage}' and tags.`{operations.OUTPUTS}` = '{content_hash}'")


def _search(terms: str) -> list[Run]:
    client, token, found = store.client(), None, []
    while token != "":
        page = client.search_runs([store.experiment()], terms, order_by=["start_time DESC"], page_token=token)
        found += [_run(each) for each in page]
        token = page.token or ""
    return found


def _run(found: Any) -> Run:
    tags = dict(found.data.tags)
    started = datetime.fromtimestamp(found.info.start_time / 1000, UTC).isoformat(timespec="seconds")
    names = tags.get("mlflow.runName", ""), found.info.status
    return Run(
        found.info.run_id, *names, started, tags.get(operations.STAGE, ""), tags.get("mlflow.parentRunId", ""), tags
    )

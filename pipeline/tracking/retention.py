"""Files of old runs in MLflow: which there are, and how they are removed. Metrics, settings and tags of runs stay.

A pipeline run and the runs of its stages count as one. What a registered version names stays: the run that made it,
those that made the same model again, and the runs of the stages that gave what they used. A run that is open stays too.
"""

import posixpath
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any, Final

from pipeline.base.errors import ArtifactError
from pipeline.tracking import queries, store
from pipeline.tracking.queries import Run
from pipeline.tracking.removal import Removal, before

RUNS: Final = "files of runs"
PRUNED: Final = "flowsculpt.files_pruned"  # when the files of a run were removed
MADE_AGAIN: Final = "flowsculpt.made_again"  # on a version: the last run that made the same model again


def files_of_runs(runs: int, days: int, now: float) -> Iterator[Removal]:
    """The files of each pipeline run behind the newest ones, or that began before so many days, the newest first.

    Args:
        runs: of which the files are kept; 0: of all.
        days: for which they are kept; 0: for ever.
        now: seconds since 1970.

    Raises:
        ArtifactError: the store refuses, or does not answer.
    """
    with _refusals():
        yield from _found(runs, before(days, now))


def named_by_versions(tag: str) -> list[str]:
    """The values of a tag of all registered versions, of whatever model.

    Raises:
        ArtifactError: the store refuses, or does not answer.
    """
    with _refusals():
        return [each.tags[tag] for each in store.client().search_model_versions("") if tag in each.tags]


@contextmanager
def _refusals() -> Iterator[None]:
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise ArtifactError(f"{store.tracking_uri()}: {store.redact(str(error))}") from error


def _found(runs: int, limit: float | None) -> Iterator[Removal]:
    everything = queries.all_runs()
    needed = _needed({run.run_id: run for run in everything})
    for number, run in enumerate(each for each in everything if not each.parent):
        together = [run, *(each for each in everything if each.parent == run.run_id)]
        is_old = limit is not None and datetime.fromisoformat(run.started).timestamp() < limit
        if not (is_old or (runs and number >= runs)) or any(each.status == "RUNNING" for each in together):
            continue
        own = [each.run_id for each in together if each.run_id not in needed and PRUNED not in each.tags]
        if own and (found := [(each, *_files(each)) for each in own]):
            size, count = sum(size for _, size, _ in found), sum(count for _, _, count in found)
            if count:
                yield Removal(RUNS, run.name or run.run_id, size, partial(_remove, own), count)


def _needed(known: dict[str, Run]) -> set[str]:
    """The runs that registered versions name, of whatever model, and the stage runs that these name."""
    versions = store.client().search_model_versions("")
    named = {run for each in versions for run in (each.run_id, each.tags.get(MADE_AGAIN)) if run}
    stages = {
        value
        for run in named & known.keys()
        for tag, value in known[run].tags.items()
        if tag.startswith("stage.") and not tag.endswith(".state")
    }
    return named | stages | {run.run_id for run in known.values() if run.parent in named}


def _repository(run: str) -> Any:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(store.client().get_run(run).info.artifact_uri)


def _files(run: str) -> tuple[int, int]:
    """Bytes and number of the files of a run."""
    size = count = 0
    waiting, repository = [""], _repository(run)
    while waiting:
        for each in repository.list_artifacts(waiting.pop() or None):
            if each.is_dir:
                waiting.append(each.path)
            else:
                size, count = size + (each.file_size or 0), count + 1
    return size, count


def _remove(runs: list[str]) -> bool:
    with _refusals():
        for run in runs:
            repository = _repository(run)
            for each in repository.list_artifacts(None):
                repository.delete_artifacts(posixpath.normpath(each.path))
            store.client().set_tag(run, PRUNED, time.strftime("%F %T UTC", time.gmtime()))
    return True

"""A run of its own, under no pipeline: what a training outside the stages logs to."""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

import psutil

from pipeline.tracking import operations, outbox, pipeline_run, process_identity, stage_run, store
from pipeline.tracking.operations import KIND, PROCESS
from pipeline.tracking.stage_run import LONGEST_PARAM, StageRun


def is_set_up() -> bool:
    """Whether there is a store: ``MLFLOW_TRACKING_URI`` names one, or ``mlflow.db`` lies in the project root."""
    return bool(os.environ.get("MLFLOW_TRACKING_URI")) or (store.project_root() / "mlflow.db").is_file()


def new_key() -> str:
    """What ``alone`` opens a new run under."""
    return operations.key()


@contextmanager
def alone(key: str, name: str, kind: str, params: Mapping[str, object]) -> Iterator[StageRun]:
    """Track one training: a run that is closed whatever ends it.

    Args:
        key: of ``new_key``; the same key goes on in the same run.
        name: of the run.
        kind: its tag ``flowsculpt.kind``.
        params: settings; long values are cut.

    Yields:
        The open run.
    """
    outbox.deliver()
    tags = {"mlflow.runName": name, KIND: kind, PROCESS: process_identity.identity(psutil.Process())}
    run_id = str(outbox.write("open", key, time=pipeline_run.milliseconds(), tags=tags) or key)
    continued = operations.RESUMED in pipeline_run.tags_of(run_id)
    run = StageRun(run_id, continued)
    try:
        if not continued:
            run.params(
                {each: pipeline_run.cut(store.redact(str(value)), LONGEST_PARAM) for each, value in params.items()}
            )
        yield run
    except BaseException as error:
        status = "FAILED" if isinstance(error, Exception) else "KILLED"
        pipeline_run.close((run.run_id,), status, f"{name}: {type(error).__name__}: {error}")
        outbox.deliver()
        raise
    pipeline_run.close((run.run_id,), "FINISHED")
    outbox.deliver()


def system_metrics(run: StageRun) -> AbstractContextManager[None]:
    """Sample processor, memory, disk, network and GPU into ``run``, at least once."""
    return stage_run._system_metrics(run)

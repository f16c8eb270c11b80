"""The run of one stage: opened under its parent, logged to while the stage works, and closed whatever ends it."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from pipeline.tracking import owners, parents, store

SECONDS_BETWEEN_SAMPLES = 2.0
LONGEST_PARAM, MOST_IN_A_BATCH = 500, 100


class StageRun:
    """The MLflow run of one stage, open while the stage works.

    Args:
        client: an ``MlflowClient``.
        run_id: the child run that everything is logged to.
    """

    def __init__(self, client: Any, run_id: str) -> None:
        self._client = client
        self.run_id = run_id

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Log one value for each name, all at one step."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        entries = [Metric(name, float(value), now, step or 0) for name, value in values.items()]
        for batch in _batches(entries):
            self._client.log_batch(self.run_id, metrics=batch)

    def params(self, values: Mapping[str, object]) -> None:
        """Log settings, nested sections under dotted names, long values cut."""
        from mlflow.entities import Param

        entries = [Param(name, parents.cut(str(value), LONGEST_PARAM)) for name, value in _flat(values)]
        for batch in _batches(entries):
            self._client.log_batch(self.run_id, params=batch)

    def file(self, path: Path, folder: str | None = None) -> None:
        """Log a file that lies on disk, under its own name."""
        self._client.log_artifact(self.run_id, str(path), folder)

    def dataset(self, name: str, source: str, digest: str, rows: int, columns: Mapping[str, str], context: str) -> None:
        """Name a data set as an input of this run, without holding its rows.

        Args:
            name: what the run page calls it.
            source: where it came from, a path or an address.
            digest: a content hash; its first 36 characters are kept.
            rows: how many records it holds.
            columns: the type of each column by its name, as numpy or Arrow writes it.
            context: what the run used it for, such as ``training``.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        schema = [{"name": column, "type": _column_type(kind), "required": True} for column, kind in columns.items()]
        entry = Dataset(
            name,
            digest[:36],
            "local",
            json.dumps({"uri": source}),
            json.dumps({"mlflow_colspec": schema}),
            json.dumps({"num_rows": rows, "num_elements": rows * len(columns)}),
        )
        self._client.log_inputs(self.run_id, [DatasetInput(entry, [InputTag("mlflow.data.context", context)])])


@contextmanager
def stage(
    name: str, params: Mapping[str, object], upstream: Mapping[str, Callable[[], str]], outputs: Callable[[], str]
) -> Iterator[StageRun]:
    """Track one stage: a child run under the parent of this pipeline run, with what earlier stages made linked to it.

    The parent stands in a terminal state whenever no stage works: that of the last stage.

    Args:
        name: the stage.
        params: its section of the settings.
        upstream: for each earlier stage, what gives the content hash of its outputs as they lie on disk.
        outputs: gives the content hash of this stage's own outputs; called after the stage has succeeded.

    Yields:
        The open child run.
    """
    client = store.client()
    parent = parents.parent(client, name)
    tags = client.get_run(parent).data.tags
    for earlier in (each for each in upstream if f"stage.{each}.state" not in tags):
        parents.link(parent, earlier, upstream[earlier]())
    run = StageRun(client, _open_child(client, parent, name))
    try:
        run.params(params)
        with _system_metrics(run.run_id):
            yield run
        client.set_tag(run.run_id, parents.OUTPUTS, outputs())
    except BaseException as error:
        status = "FAILED" if isinstance(error, Exception) else "KILLED"
        parents.close(client, (run.run_id, parent), status, f"{name}: {type(error).__name__}: {error}")
        raise
    parents.close(client, (run.run_id, parent), "FINISHED")


def _open_child(client: Any, parent: str, stage: str) -> str:
    tags = {
        "mlflow.parentRunId": parent,
        "mlflow.runName": stage,
        parents.KIND: "stage",
        parents.STAGE: stage,
        parents.PROCESS: owners.identity(psutil.Process()),
    }
    run_id = str(client.create_run(client.get_run(parent).info.experiment_id, tags=tags).info.run_id)
    parents.set_tags(client, parent, parents.stage_tags(stage, run_id, "ran"))
    client.update_run(parent, status="RUNNING")
    return run_id


@contextmanager
def _system_metrics(run_id: str) -> Iterator[None]:
    """Sample processor, memory, disk, network and GPU by MLflow's own monitor, at least once."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    with store.quiet("mlflow"):
        monitor = SystemMetricsMonitor(run_id, SECONDS_BETWEEN_SAMPLES, tracking_uri=store.tracking_uri())
        monitor.start()
    try:
        yield
    finally:
        with store.quiet("mlflow"):
            monitor.finish()
            monitor.collect_metrics()
            monitor.publish_metrics(monitor.aggregate_metrics())
            monitor.mlflow_logger.flush()


def _flat(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _batches(entries: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (entries[start : start + MOST_IN_A_BATCH] for start in range(0, len(entries), MOST_IN_A_BATCH))


def _column_type(kind: str) -> str:
    """MLflow's name of a column type of numpy or Arrow."""
    names = {"float32": "float", "float": "float", "float64": "double", "double": "double", "bool": "boolean"}
    return names.get(kind) or ("long" if "int" in kind else "string")

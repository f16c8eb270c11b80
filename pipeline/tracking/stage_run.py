"""The run of one stage: opened under its parent, logged to while the stage works, and closed whatever ends it."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from pipeline.tracking import bounded, operations, outbox, pipeline_run, process_identity, store
from pipeline.tracking.operations import KIND, OUTPUTS, PROCESS, STAGE

LONGEST_PARAM, MOST_IN_A_BATCH = 500, 100


class StageRun:
    """The MLflow run of one stage, open while the stage works.

    Args:
        run_id: the child run that everything is logged to, or the key under which it was opened.
        continued: whether an earlier process has logged to it.
        parent: the run of the pipeline that the stage belongs to; "" for such a run itself.
        ends_pipeline: whether the run of the pipeline ends with this stage.
    """

    def __init__(self, run_id: str, continued: bool = False, parent: str = "", ends_pipeline: bool = False) -> None:
        self.run_id = run_id
        self.ends_pipeline = ends_pipeline
        self._parent = parent
        self._continued = continued
        self._before: dict[str, set[tuple[int, float]]] = {}

    @property
    def pipeline(self) -> "StageRun":
        """The run of the pipeline, to be logged to."""
        return StageRun(self._parent or self.run_id)

    @property
    def identity(self) -> dict[str, Any]:
        """The arguments by which another process logs to the same run."""
        ends = self.ends_pipeline
        return {"run_id": self.run_id, "continued": self._continued, "parent": self._parent, "ends_pipeline": ends}

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Log one value for each name, all at one step.

        A stage that goes on behind its last checkpoint repeats what it did after that: a value that the run has at
        this step is not logged again.
        """
        now = pipeline_run.milliseconds()
        points = [(name, float(value)) for name, value in values.items()]
        new = [
            [name, value, now, step or 0]
            for name, value in points
            if step is None or (step, value) not in self._logged(name)
        ]
        for batch in _batches(new):
            outbox.write("log", self.run_id, metrics=batch)

    def params(self, values: Mapping[str, str]) -> None:
        """Log settings."""
        for batch in _batches(list(values.items())):
            outbox.write("log", self.run_id, params=dict(batch))

    def settings(self, values: Mapping[str, object]) -> None:
        """Log nested settings under dotted names; what the run has already stays as it is."""
        client, run_id, nothing = store.client(), self.run_id, dict[str, str]()
        known = outbox.ask(lambda: dict(client.get_run(operations.resolve(run_id)).data.params), nothing)
        self.params({name: value for name, value in _as_texts(values).items() if name not in known})

    def tags(self, values: Mapping[str, str]) -> None:
        """Write tags on the run."""
        outbox.write("log", self.run_id, tags=dict(values))

    def file(self, path: Path, folder: str | None = None) -> None:
        """Log a file that lies on disk, under its own name; of a large table a sample, see ``bounded``."""
        with bounded.within_bounds(path) as files:
            for each in files:
                outbox.write("file", self.run_id, path=str(each), folder=folder)

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
        schema = [{"name": column, "type": _column_type(kind), "required": True} for column, kind in columns.items()]
        facts = {"name": name, "digest": digest[:36], "source": source, "rows": rows, "context": context}
        outbox.write("input", self.run_id, schema=schema, **facts)

    def next_step(self, name: str) -> int:
        """The step behind the last one of a metric."""
        return 1 + max((step for step, _ in self._logged(name)), default=-1)

    def _logged(self, name: str) -> set[tuple[int, float]]:
        """The points of a metric that an earlier process logged; none where the store does not answer."""
        if self._continued and name not in self._before:
            nothing: list[Any] = []
            client, run_id = store.client(), self.run_id
            history = outbox.ask(lambda: client.get_metric_history(operations.resolve(run_id), name), nothing)
            self._before[name] = {(point.step, point.value) for point in history}
        return self._before.get(name, set())


@contextmanager
def stage(
    name: str,
    params: Mapping[str, object],
    upstream: Mapping[str, Callable[[], str]],
    outputs: Callable[[], str],
    last: bool = False,
) -> Iterator[StageRun]:
    """Track one stage: a child run under the parent of this pipeline run, with what earlier stages made linked to it.

    Where the stage was killed under this parent, with the same settings, it goes on in the run that it had. If a stage
    ends well, its seconds are logged to the parent.

    Args:
        name: the stage.
        params: its section of the settings, nested sections under dotted names, long values cut.
        upstream: for each earlier stage, what gives the content hash of its outputs as they lie on disk.
        outputs: gives the content hash of this stage's own outputs; called after the stage has succeeded.
        last: whether the pipeline has no stage behind this one.

    Yields:
        The open child run.
    """
    outbox.deliver()
    parent = pipeline_run.parent(name)
    tags = pipeline_run.tags_of(parent)
    for earlier in (each for each in upstream if f"stage.{each}.state" not in tags):
        pipeline_run.link(parent, earlier, upstream[earlier]())
    settings, started = _as_texts(params), time.monotonic()
    run_id, ends = _open_child(parent, name, settings), pipeline_run.ends(parent, last)
    run = StageRun(run_id, operations.RESUMED in pipeline_run.tags_of(run_id), parent, ends)
    try:
        run.params(settings)
        with _system_metrics(run):
            yield run
        outbox.write("log", run.run_id, tags={OUTPUTS: outputs()})
        run.pipeline.metrics({f"seconds.{name}": time.monotonic() - started})
    except BaseException as error:
        status = "FAILED" if isinstance(error, Exception) else "KILLED"
        closed = (run.run_id,) if pipeline_run.is_given(parent) else (run.run_id, parent)
        pipeline_run.close(closed, status, f"{name}: {type(error).__name__}: {error}")
        outbox.deliver()
        raise
    pipeline_run.close((run.run_id, parent) if ends else (run.run_id,), "FINISHED")
    outbox.deliver()


def _open_child(parent: str, stage: str, params: Mapping[str, str]) -> str:
    process = process_identity.identity(psutil.Process())
    tags = {"mlflow.parentRunId": parent, "mlflow.runName": stage, KIND: "stage", STAGE: stage, PROCESS: process}
    resumes = {"parent": parent, "stage": stage, "params": dict(params)}
    key = operations.key()
    run_id = outbox.write("open", key, time=pipeline_run.milliseconds(), tags=tags, resumes=resumes) or key
    outbox.write("log", parent, tags=operations.stage_tags(stage, run_id, "ran"))
    outbox.write("reopen", parent)
    return str(run_id)


@contextmanager
def _system_metrics(run: StageRun) -> Iterator[None]:
    """Sample processor, memory, disk, network and GPU by MLflow's own monitor, at least once."""
    from pipeline.tracking.monitor import Monitor

    with store.quiet("mlflow"):
        monitor = Monitor(run.metrics, run.next_step(Monitor.SIGN))
        monitor.start()
    try:
        yield
    finally:
        with store.quiet("mlflow"):
            monitor.finish()


def _as_texts(values: Mapping[str, object]) -> dict[str, str]:
    """Nested settings as texts under dotted names, secrets out of them and long ones cut."""
    return {name: pipeline_run.cut(store.redact(str(value)), LONGEST_PARAM) for name, value in _flat(values)}


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

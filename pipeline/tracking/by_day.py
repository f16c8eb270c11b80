"""Figures that a run gets day by day, long after it ended: the step is the day, counted from 1970 in UTC."""

from collections.abc import Iterable
from typing import Any, Final

from pipeline.base import escaping
from pipeline.tracking import operations, outbox, store

DAY: Final = 86_400  # seconds
_log = escaping.log(__name__)


def days(run: str, name: str) -> set[int]:
    """The days that a run has a figure of; none where the store does not answer, or does not know the run."""
    from mlflow.exceptions import MlflowException

    nothing: list[Any] = []
    try:
        client = store.client()
        history = outbox.ask(lambda: client.get_metric_history(operations.resolve(run), name), nothing)
    except MlflowException as error:
        _log.warning("%s of run %s cannot be read from MLflow: %s", name, run, error)
        return set()
    return {point.step for point in history}


def write(run: str, points: Iterable[tuple[str, float, int]]) -> None:
    """Write figures: name, value, day. What cannot be written is said, and stops nothing.

    A figure that is written again with the same value stays one figure.
    """
    from mlflow.exceptions import MlflowException

    noon = DAY // 2
    metrics = [[name, float(value), (day * DAY + noon) * 1_000, day] for name, value, day in points]
    try:
        if metrics:
            outbox.write("log", run, metrics=metrics)
    except MlflowException as error:
        _log.warning("figures of run %s were not written to MLflow: %s", run, error)

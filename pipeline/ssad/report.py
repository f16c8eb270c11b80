"""What a training writes: into its folder, to MLflow where there is a store, and to a logger of the user's.

``metrics.jsonl`` in the folder holds every number with its step, ``history.csv`` a row for each epoch.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from pipeline import tracking
from pipeline.artifacts.files import append_line, read_lines, write_bytes, write_csv, write_json
from pipeline.calibration.thresholds.base import VERDICTS, Strategy
from pipeline.models.training.updates import Update
from pipeline.reporting import confidence_table
from pipeline.reporting.figures.confidence import confidence_analysis
from pipeline.reporting.figures.style import svg
from pipeline.tracking import StageRun

if TYPE_CHECKING:
    from pipeline.ssad.scored import Seen

TABLES = ("confidence_epoch_*.csv", "confidence_epoch_*.parquet", "confidence_epoch_*_sample.json")
WRITTEN = (*TABLES, "confidence_intervals_epoch_*.json", "confidence_analysis_epoch_*.svg")
OTHERS = ("test_metrics_threshold=*.json", "metrics.jsonl", "history.csv", "model.safetensors")


class Run(Protocol):
    """Something that takes numbers and files, such as ``StageRun``."""

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Take one value for each name."""

    def file(self, path: Path) -> None:
        """Take a file that lies on disk."""

    def next_step(self, name: str) -> int:
        """The step behind the last one of a number."""


class FolderRun:
    """Numbers in ``metrics.jsonl``; files lie in the folder already."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "metrics.jsonl"

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Append one line."""
        known = {name: float(value) for name, value in values.items() if math.isfinite(value)}
        append_line(self.path, {"step": step or 0, **known})

    def file(self, path: Path) -> None:
        """It lies in the folder."""

    def next_step(self, name: str) -> int:
        """The step behind the last one of a number."""
        return 1 + max((line["step"] for line in read_lines(self.path) if name in line), default=-1)


class LoggerRun:
    """The run of a Lightning ``MLFlowLogger`` that the user brought."""

    def __init__(self, logger: Any) -> None:
        self.logger = logger

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Log one value for each name."""
        self.logger.log_metrics(dict(values), step)

    def file(self, path: Path) -> None:
        """Log the file."""
        self.logger.experiment.log_artifact(self.logger.run_id, str(path))

    def next_step(self, name: str) -> int:
        """A run of a logger begins at 0."""
        return 0


class Report:
    """Writes the results of one training; only the first process has one.

    Args:
        folder: of this training alone.
        name: position of a row -> its record id.
        own: runs that take everything.
        theirs: runs that Lightning gives the numbers of each epoch already.
    """

    def __init__(self, folder: Path, name: Callable[[int], Any], own: Sequence[Run], theirs: Sequence[Run]) -> None:
        self.folder, self.name, self.own, self.theirs = folder, name, own, theirs

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Numbers that Lightning does not know."""
        for run in (*self.own, *self.theirs):
            run.metrics(values, step)

    def file(self, path: Path) -> None:
        """A file that lies in the folder."""
        for run in (*self.own, *self.theirs):
            run.file(path)

    def next_step(self, name: str) -> int:
        """The step behind the last one of a number."""
        return max(run.next_step(name) for run in self.own)

    def epoch(self, row: Mapping[str, float]) -> None:
        """The numbers of an epoch."""
        values = {name: value for name, value in row.items() if name != "epoch"}
        for run in self.own:
            run.metrics(values, int(row["epoch"]))

    def update(self, update: Update, seen: "Seen", strategy: Strategy) -> None:
        """Write the confidence table, interval JSON and figure of an update, and log its shares."""
        epoch, verdict = update.epoch, update.thresholds.verdict(update.score)
        columns = {"record_id": self.ids(seen.rows), "score": update.score, "confidence": update.confidence}
        labels = {"y": seen.y} if (seen.y >= 0).any() else {}
        confidence_table.write(self.folder, epoch, {**columns, "verdict": verdict, **labels})
        intervals = self.folder / f"confidence_intervals_epoch_{epoch}.json"
        write_json(intervals, update.thresholds.intervals())
        drawn = self.folder / f"confidence_analysis_epoch_{epoch}.svg"
        write_bytes(drawn, svg(_figure(update, seen, strategy)))
        for path in (*confidence_table.files(self.folder, epoch), intervals, drawn):
            self.file(path)
        self.metrics(_amounts(update, seen, verdict), epoch)

    def tested(self, seen: "Seen", thresholds: Mapping[str, float]) -> None:
        """``test_metrics_threshold={t}.json`` for each threshold, and the same rates as metrics under its name."""
        self.metrics({f"test_{name}": value for name, value in seen.ranking().items()})
        for name, threshold in thresholds.items():
            values = seen.decided(threshold)
            path = self.folder / f"test_metrics_threshold={threshold:g}.json"
            write_json(path, values)
            self.file(path)
            rates = {key: values[key] for key in ("precision", "recall", "f1", "FPR")}
            self.metrics({f"threshold_{name}.{key.lower()}": v for key, v in rates.items() if v is not None})

    def history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """``history.csv``."""
        names = dict.fromkeys(name for row in rows for name in row)
        write_csv(self.folder / "history.csv", [{name: row.get(name) for name in names} for row in rows])
        self.file(self.folder / "history.csv")

    def ids(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """(n,) record ids of rows."""
        return np.array([self.name(row) for row in rows.tolist()])


def _figure(update: Update, seen: "Seen", strategy: Strategy) -> Any:
    groups = np.array(["row", "normal", "anomaly"])[seen.y + 1]
    analysis = strategy.analysis(update.score, update.previous)
    subtitle = f"training rows after epoch {update.epoch}"
    return confidence_analysis(update.score, groups, update.thresholds, analysis, subtitle=subtitle)


def _amounts(update: Update, seen: "Seen", verdict: NDArray[np.str_]) -> dict[str, float]:
    """The share of each verdict; where labels are known also the ranking, and how right ``anomalous`` is."""
    anomalous, hidden = update.confidence < 0, seen.y == 1
    values = {f"update.{name}": float((verdict == name).mean()) for name in VERDICTS}
    values["update.taken_for_anomalous"] = float(anomalous.mean())
    values |= {f"train_{name}": value for name, value in seen.ranking().items()}
    found = int((anomalous & hidden).sum())
    if hidden.any() and anomalous.any():
        values["update.precision"] = found / int((anomalous & (seen.y >= 0)).sum() or 1)
    if hidden.any():
        values["update.recall"] = found / int(hidden.sum())
    return values


def clear(folder: Path) -> None:
    """Remove what an earlier training left in a folder, so that all files in it belong to one."""
    for pattern in (*WRITTEN, *OTHERS):
        for path in folder.glob(pattern):
            path.unlink()


@contextmanager
def opened(
    folder: Path, name: Callable[[int], Any], logger: Any, track: bool | None, key: str, params: Mapping[str, Any]
) -> Iterator[Report]:
    """The report of a training, with system metrics in it while it is open.

    Args:
        folder: of this training alone.
        name: position of a row -> its record id.
        logger: the trainer's loggers.
        track: whether to log to the project's MLflow store; None: where there is one, and no ``MLFlowLogger``.
        key: of the MLflow run.
        params: settings for it.
    """
    from lightning.pytorch.loggers import MLFlowLogger

    theirs = [LoggerRun(given) for given in logger if isinstance(given, MLFlowLogger)]
    own: list[Run] = [FolderRun(folder)]
    with ExitStack() as stack:
        if track or (track is None and not theirs and tracking.is_set_up()):
            own.append(stack.enter_context(tracking.alone(key, folder.name, "ssad", params)))
        report = Report(folder, name, own, theirs)
        stack.enter_context(tracking.system_metrics(cast(StageRun, report)))
        yield report

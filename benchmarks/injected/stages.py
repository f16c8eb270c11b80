"""The seven stages, each with settings under which it writes something else than lies there."""

import csv
import importlib
import shutil
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Final
from unittest import mock

from benchmarks.injected.operations import Operation, digest, files_below, of_path, read
from pipeline import tracking
from pipeline.artifacts import paths
from pipeline.artifacts.files import write_bytes
from pipeline.artifacts.models import read_model
from pipeline.settings.sections import SECTIONS
from pipeline.stages import frame as doors
from pipeline.stages.reports.report import Report
from pipeline.tracking.untracked import Untracked

RECORDS: Final = 600  # of the simulated week
MODELS: Final = {paths.FEATURES, paths.ENCODER, paths.DETECTOR, paths.HEAD, paths.CONTEXT, paths.THRESHOLDS}
EMPTY: Final = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"></svg>'
HISTORY, TIMES = "history.csv", ("seconds", "records_per_s")
CHANGED: Final = {
    "ingest.unlabelled": ["bot"],
    "validate.outside_share": 0.02,
    "validate.shortcuts.rows": 5_000,
    "preprocess.seed": 1,
    "stage1.pass_features": True,
    "stage2.detector": "radon",
    "stage2.radon.hidden": [8],
    "stage2.confidence.updates": "never",
    "calibrate.percentiles": [99.5, 99.0],
    "evaluate.bootstrap.seed": 1,
}


class Plain(Report):
    """A report with empty figures, which are written as others are: to draw them takes longer than all the rest."""

    def figure(self, name: str, figure: Any) -> None:
        """An empty ``name.svg``."""
        write_bytes(self.folder / f"{name}.svg", EMPTY)


def world() -> None:
    """A project with all stages behind it, and then other settings for each of them."""
    from pipeline.datasets.synthetic.files import write
    from tests.stages.conftest import Project

    project = Project()
    project.report = Plain
    project.set("stage2.fit", project.params["stage2"]["fit"] | {"epochs": 2, "min_steps": 0, "device": "cpu"})
    write(project.raw, records=RECORDS, seed=0)
    for stage in paths.OUTPUTS:
        run(stage)
    for name, value in CHANGED.items():
        project.set(name, value)
    shutil.rmtree(paths.CHECKPOINTS, ignore_errors=True)


def run(stage: str) -> None:
    """A stage by its door, but for the tracked run around it; that it ends the process is what ``launch`` does."""
    with (
        mock.patch.object(tracking, "stage", lambda *_, **__: nullcontext(Untracked())),
        mock.patch.object(doors, "Report", Plain),
    ):
        doors.launch(stage, SECTIONS[stage], getattr(importlib.import_module(f"pipeline.stages.{stage}"), stage))


def look(stage: str) -> dict[str, str]:
    """What a stage wrote: each folder as a whole, each model as its reader sees it, each other file."""
    found = {stem.as_posix(): read(partial(_model, stem)) for stem in _models(stage)}
    others = [path for path in paths.OUTPUTS[stage] if path.with_suffix("") not in MODELS]
    return found | {path.as_posix(): _report(path) if path.is_dir() else of_path(path) for path in others}


def _report(folder: Path) -> str:
    """A folder but for how long its epochs took."""
    files = files_below(folder)
    if HISTORY in files:
        lines = list(csv.DictReader(files.pop(HISTORY).decode().splitlines()))
        files["lines"] = repr([{name: line[name] for name in line if name not in TIMES} for line in lines]).encode()
    return digest(files)


def _model(stem: Path) -> Any:
    about, arrays = read_model(stem)
    return about, {name: arrays[name].tobytes() for name in sorted(arrays)}


def _models(stage: str) -> list[Path]:
    return sorted({path.with_suffix("") for path in paths.OUTPUTS[stage]} & MODELS)


OPERATIONS: Final = tuple(
    Operation(
        stage,
        world,
        partial(run, stage),
        partial(look, stage),
        may_be_refused=frozenset(map(str, _models(stage))),
    )
    for stage in paths.OUTPUTS
)

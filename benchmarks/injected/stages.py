"""The seven stages, each with settings under which it writes something else than lies there."""

import importlib
import shutil
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.injected.operations import Operation, of_path, read
from pipeline import config
from pipeline.artifacts import paths
from pipeline.artifacts.files import whole_folder, write_bytes
from pipeline.artifacts.models import read_model
from pipeline.settings.sections import SECTIONS
from pipeline.stages.reports.report import Report
from pipeline.tracking.untracked import Untracked

RECORDS: Final = 600  # of the simulated week
MODELS: Final = {paths.FEATURES, paths.ENCODER, paths.DETECTOR, paths.HEAD, paths.CONTEXT, paths.THRESHOLDS}
EMPTY: Final = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"></svg>'
CHANGED: Final = {
    "ingest.unlabelled": ["bot"],
    "validate.outside_share": 0.02,
    "validate.shortcuts.rows": 5_000,
    "preprocess.seed": 1,
    "stage1.pass_features": True,
    "stage2.detector": "radon",
    "stage2.radon.hidden": [8],
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
    """A stage, as ``launch`` runs it, without a tracked run."""
    body = getattr(importlib.import_module(f"pipeline.stages.{stage}"), stage)
    with whole_folder(paths.REPORTS / stage) as folder:
        verdict = body(config.load(SECTIONS[stage]), Plain(folder, Untracked()))
    if verdict:
        verdict()


def look(stage: str) -> dict[str, str]:
    """What a stage wrote: each folder as a whole, each model as its reader sees it, each other file."""
    found = {stem.as_posix(): read(partial(read_model, stem)) for stem in _models(stage)}
    others = [path for path in paths.OUTPUTS[stage] if path.with_suffix("") not in MODELS]
    return found | {path.as_posix(): of_path(path) for path in others}


def _models(stage: str) -> list[Path]:
    return sorted({path.with_suffix("") for path in paths.OUTPUTS[stage]} & MODELS)


OPERATIONS: Final = tuple(
    Operation(stage, world, partial(run, stage), partial(look, stage), frozenset(map(str, _models(stage))))
    for stage in paths.OUTPUTS
)

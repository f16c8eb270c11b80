"""A stage that trains on several devices: one process makes what the stage makes, the others only train."""

import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from pipeline import config
from pipeline.base.errors import FlowsculptError
from pipeline.models.base import Model
from pipeline.models.training import launcher, ranks
from pipeline.settings.training import FitSettings, Training
from pipeline.stages import frame
from pipeline.stages.reports.report import Report
from pipeline.tracking import StageRun
from pipeline.tracking.untracked import Untracked

S = TypeVar("S", bound=Training)
Body = Callable[[S, Report], None]


def launch(name: str, shape: type[S], body: Body[S]) -> None:
    """``frame.launch`` on several devices: each process builds the same model, the first writes what is written."""
    number = ranks.rank()
    if launcher.is_started_here():
        launcher.work(partial(_in_rank, shape, body, number == 0))
    elif number:
        try:
            _in_rank(shape, body, False)
        except FlowsculptError as error:
            sys.exit(f"{name}, process {number}: {error}")
    else:
        frame.launch(name, shape, body if number == 0 else partial(_on_devices, name, body))


def _on_devices(name: str, body: Body[S], settings: S, report: Report) -> None:
    if settings.fit.processes == 1:
        return body(settings, report)
    about = {"folder": str(report.folder), "run": report.run.identity}
    return launcher.run([sys.executable, "-m", f"pipeline.stages.{name}"], settings.fit, about)


def _in_rank(shape: type[S], body: Body[S], first: bool) -> None:
    if first:
        about = launcher.about()
        body(config.load(shape), Report(Path(about["folder"]), StageRun(**about["run"])))
        return
    with TemporaryDirectory() as folder, Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        body(config.load(shape), Report(Path(folder), Untracked()))


def trained_or_alone(model: Model, fit: FitSettings, report: Report) -> None:
    """Let one process go on alone with a model in closed form."""
    if not model.trainable and fit.processes > 1:
        ranks.end_others()
        report.say(f"{type(model).__name__} is fitted in closed form: fit.devices and fit.nodes stay unused")

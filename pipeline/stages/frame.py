"""The frame of a stage: its settings in, a tracked run around it, its reports out."""

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from pipeline import config, tracking
from pipeline.artifacts import paths
from pipeline.artifacts.files import whole_folder
from pipeline.base import engine, machine
from pipeline.base.errors import FlowsculptError
from pipeline.base.escaping import printable
from pipeline.base.parallel import limit_threads
from pipeline.settings.base import Section, plain
from pipeline.stages.reports import overview
from pipeline.stages.reports.report import Report

S = TypeVar("S", bound=Section)

Verdict = Callable[[], None]
"""Raises where what a stage found out stops the line."""


def launch(name: str, shape: type[S], body: Callable[[S, Report], Verdict | None]) -> None:
    """Run the stage ``name``: its settings in, a tracked run around it, its reports out.

    The reports of a stage are a folder that appears whole when the stage succeeds, and go to MLflow as they are; a
    verdict that the stage returns is called after that, so that what stops the line can be read. An error that a user
    can mend ends the process with its message and exit code 1, a server that does not answer with ``EX_TEMPFAIL``.
    """
    limit_threads()
    try:
        with machine.refusals():
            _run(name, shape, body)
    except (ConnectionError, TimeoutError) as error:
        print(printable(f"{name}: a server does not answer: {error}"), file=sys.stderr)
        sys.exit(os.EX_TEMPFAIL)
    except FlowsculptError as error:
        sys.exit(f"{name}: {error}")


def _run(name: str, shape: type[S], body: Callable[[S, Report], Verdict | None]) -> None:
    settings = config.load(shape)
    upstream = {stage: partial(paths.content_hash, stage) for stage in paths.upstream(name)}
    outputs = partial(paths.content_hash, name)
    last = name == next(reversed(paths.OUTPUTS))
    with engine.using(**config.engine()), tracking.stage(name, plain(settings), upstream, outputs, last) as run:
        overview.settings(run.pipeline)
        with whole_folder(paths.REPORTS / name) as folder:
            verdict = body(settings, Report(folder, run))
        for file in sorted((paths.REPORTS / name).rglob("*")):
            if file.is_file():
                parent = file.parent.relative_to(paths.REPORTS / name).as_posix()
                run.file(file, None if parent == "." else parent)
        if verdict:
            verdict()
        if last and run.ends_pipeline:
            overview.results(run.pipeline)

"""The stages that make a model, in the working folder and without MLflow: ``python -m pipeline.alarms.training``.

They read ``params.yaml`` and write under ``data/``, as ever. validate and evaluate, which make no model, are left out.
"""

import sys
from collections.abc import Callable
from typing import Any, Final

from pipeline import config
from pipeline.artifacts import paths
from pipeline.artifacts.files import whole_folder
from pipeline.base.errors import FlowsculptError
from pipeline.settings.sections import SECTIONS
from pipeline.stages.calibrate import calibrate
from pipeline.stages.ingest import ingest
from pipeline.stages.preprocess import preprocess
from pipeline.stages.reports.report import Report
from pipeline.stages.stage1 import stage1
from pipeline.stages.stage2 import stage2
from pipeline.tracking.untracked import Untracked

STAGES: Final[dict[str, Callable[[Any, Report], Any]]] = {
    "ingest": ingest,
    "preprocess": preprocess,
    "stage1": stage1,
    "stage2": stage2,
    "calibrate": calibrate,
}


def main() -> None:
    """Run the stages; what stops one ends the process with its message."""
    for name, body in STAGES.items():
        try:
            settings = config.load(SECTIONS[name])
            with whole_folder(paths.REPORTS / name) as folder:
                verdict = body(settings, Report(folder, Untracked()))
            if verdict is not None:
                verdict()
        except FlowsculptError as error:
            sys.exit(f"{name}: {error}")


if __name__ == "__main__":
    main()

"""All sections of params.yaml by name: those of the stages, in their order, and those of the flows."""

from collections.abc import Mapping
from typing import Final

from pipeline.settings.alerts import Alerts
from pipeline.settings.base import Section
from pipeline.settings.calibrate import Calibrate
from pipeline.settings.engine import Engine
from pipeline.settings.evaluate import Evaluate
from pipeline.settings.files import Files
from pipeline.settings.ingest import Ingest
from pipeline.settings.notify import Notify
from pipeline.settings.preprocess import Preprocess
from pipeline.settings.prometheus import Prometheus
from pipeline.settings.promotion import Rules
from pipeline.settings.retention import Retention
from pipeline.settings.retraining import Retraining
from pipeline.settings.scoring import Scoring
from pipeline.settings.stage1 import Stage1
from pipeline.settings.stage2 import Stage2
from pipeline.settings.tracking import Tracking
from pipeline.settings.validate import Limits
from pipeline.settings.watch import Watch
from pipeline.settings.workers import Workers


def _named(*shapes: type[Section]) -> Mapping[str, type[Section]]:
    return {shape.section: shape for shape in shapes}


SECTIONS: Final = _named(Ingest, Limits, Preprocess, Stage1, Stage2, Calibrate, Evaluate)
FLOW_SECTIONS: Final = _named(
    *(Engine, Workers, Rules, Retraining, Files, Scoring, Alerts, Watch, Notify, Prometheus, Tracking, Retention)
)

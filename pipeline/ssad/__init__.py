"""Self-supervised anomaly detection as a library: bring a model, data and a rule.

::

    from pipeline import ssad

    result = ssad.train(model, data, ssad.Updates(ssad.Triangular(), ssad.Binary()), out="runs/first")

``docs/ssad.md`` shows what may be brought and what comes out.
"""

from pipeline.calibration.confidence import Binary, Ecdf, Hybrid
from pipeline.calibration.thresholds.base import Thresholds
from pipeline.calibration.thresholds.conformal import Conformal
from pipeline.calibration.thresholds.evt import EVT
from pipeline.calibration.thresholds.percentile import Percentile
from pipeline.calibration.thresholds.triangular import Triangular
from pipeline.models.training import Updates
from pipeline.ssad.door import train
from pipeline.ssad.objectives import RADON, GRAnD, Weighted, cosine_distance, squared_error
from pipeline.ssad.result import Result
from pipeline.ssad.rules import Manual, Mixture

__all__ = [
    "EVT",
    "RADON",
    "Binary",
    "Conformal",
    "Ecdf",
    "GRAnD",
    "Hybrid",
    "Manual",
    "Mixture",
    "Percentile",
    "Result",
    "Thresholds",
    "Triangular",
    "Updates",
    "Weighted",
    "cosine_distance",
    "squared_error",
    "train",
]

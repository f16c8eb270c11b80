"""Self-supervised anomaly detection as a library: bring a model, data and a rule.

::

    from pipeline import ssad

    result = ssad.train(model, data, ssad.Updates(ssad.Triangular(), ssad.Binary()), out="runs/first")

``docs/ssad.md`` shows what may be brought and what comes out.
"""

from pipeline.confidence import Binary, Ecdf, Hybrid
from pipeline.ssad.door import Result, train
from pipeline.ssad.objectives import RADON, GRAnD, Weighted, cosine_distance, squared_error
from pipeline.ssad.rules import Manual, Mixture
from pipeline.thresholds import EVT, Conformal, Percentile, Thresholds, Triangular
from pipeline.training import Updates

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

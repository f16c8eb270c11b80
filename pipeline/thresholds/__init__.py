"""Threshold strategies: (n,) scores -> Thresholds(low, high).

To add one: a file with a class whose settings are its constructor's arguments, whose instances are called with scores
and tell by ``analysis`` what they saw, and a line in the registry. ``tests/contracts/test_thresholds.py`` tests it.
"""

from collections.abc import Callable, Mapping
from typing import Final

from pipeline.thresholds.base import VERDICTS, Analysis, Strategy, Thresholds
from pipeline.thresholds.conformal import Conformal, Guarantee
from pipeline.thresholds.evt import EVT
from pipeline.thresholds.percentile import Percentile, percentiles
from pipeline.thresholds.triangular import Triangular

THRESHOLDS: Final[Mapping[str, Callable[..., Strategy]]] = {
    "percentile": Percentile,
    "triangular": Triangular,
    "evt": EVT,
    "conformal": Conformal,
}

__all__ = [
    "EVT",
    "THRESHOLDS",
    "VERDICTS",
    "Analysis",
    "Conformal",
    "Guarantee",
    "Percentile",
    "Strategy",
    "Thresholds",
    "Triangular",
    "percentiles",
]

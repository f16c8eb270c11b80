"""Threshold strategies: (n,) scores -> Thresholds(low, high).

To add one: a file with a class whose settings are its constructor's arguments and whose instances are called with
scores, and a line in the registry. ``tests/contracts/test_thresholds.py`` then tests it.
"""

from collections.abc import Callable, Mapping
from typing import Final

from pipeline.thresholds.base import VERDICTS, Strategy, Thresholds
from pipeline.thresholds.percentile import Percentile, percentiles

THRESHOLDS: Final[Mapping[str, Callable[..., Strategy]]] = {
    "percentile": Percentile,
}

__all__ = ["THRESHOLDS", "VERDICTS", "Percentile", "Strategy", "Thresholds", "percentiles"]

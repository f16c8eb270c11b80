"""Threshold strategies by name, as ``params.yaml`` spells it."""

from collections.abc import Callable, Mapping
from typing import Final

from pipeline.calibration.thresholds.base import Strategy
from pipeline.calibration.thresholds.conformal import Conformal
from pipeline.calibration.thresholds.evt import EVT
from pipeline.calibration.thresholds.percentile import Percentile
from pipeline.calibration.thresholds.triangular import Triangular

THRESHOLDS: Final[Mapping[str, Callable[..., Strategy]]] = {
    "percentile": Percentile,
    "triangular": Triangular,
    "evt": EVT,
    "conformal": Conformal,
}

"""Latent -> score."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pipeline.settings.base import Bounds, Count, Names, Seed, Shape
from pipeline.settings.training import Training


@dataclass(frozen=True)
class CalibrationSettings(Shape):
    """Which benign records set the thresholds; see ``pipeline.calibration.cross_conformal``.

    Attributes:
        kind: whether these are records held out (``split``), or all of them in folds (``cross``).
        folds: how many.
        together: record columns whose records share a fold, such as a host or a day.
        seed: of the folds.
    """

    kind: Literal["auto", "cross", "split"]
    folds: Annotated[int, Bounds(ge=2)]  # a single one leaves no record out
    together: Names
    seed: Seed


@dataclass(frozen=True)
class Stage2(Training):
    """The detector, its head and their training; the plug-ins are detectors.

    Attributes:
        unlabelled: what stands in for the ensemble where no record has a label. ``robust``: members that a few hidden
            attacks hardly change; it ranks better where many are hidden, but finds few attacks at a low rate of alarms
            where none is. ``auto``: that for a table, and the ensemble itself for traffic of a known tool.
        max_rows: how many benign records the models in closed form and the thresholds are fitted on, at most; of
            attacks, half as many. Of more, a sample is drawn by the ids of the records. Rare attacks stay whole.
        label_weight: how many records one counts as that an analyst has confirmed, for models that learn from attacks.
    """

    section: ClassVar[str] = "stage2"
    detector: str
    unlabelled: Literal["auto", "robust", "ensemble"]
    head: str
    max_rows: Annotated[int, Bounds(ge=100)]
    label_weight: Count
    calibration: CalibrationSettings

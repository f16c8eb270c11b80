"""Benign calibration scores -> thresholds."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pipeline.settings.base import Bounds, CountOrZero, Names, Section, WithPlugins

Percentile = Annotated[float, Bounds(gt=0, lt=100)]


@dataclass(frozen=True)
class Calibrate(Section, WithPlugins):
    """How scores become one score, and where its thresholds lie; the plug-ins are threshold strategies.

    Attributes:
        scores: the scores that the fusion takes, as far as there are any: all of them, or some of margin, detector
            and head.
        few_attacks: with fewer attacks than this among the train records, ``beside`` takes the place of the fusion
            ``fisher``: the head knows these few attacks alone, and in a sum it would hide others. 0: never.
        percentiles: of benign scores at which alarms start. Each is a threshold with a name: 99 is p99, at which 1 % of
            benign records raise an alarm.
    """

    section: ClassVar[str] = "calibrate"
    fusion: str
    few_attacks: CountOrZero
    drawn_from: Literal["calibration", "train"]
    scores: Literal["all"] | Names
    thresholds: str
    group: str | None
    percentiles: Annotated[tuple[Percentile, ...], Bounds(min_length=1)]

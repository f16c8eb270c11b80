"""When traffic has drifted, and how far thresholds may follow it; see ``pipeline.evaluation.drift``."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pipeline.settings.base import Bounds, OpenShare, Section, Seed, Shape, ShareAboveZero


@dataclass(frozen=True)
class DriftLimits(Shape):
    """How large a change of the traffic must be to count as drift.

    Attributes:
        alpha: false alarm rate of all tests of one kind together.
        small: at this KS distance of the score, thresholds are set anew.
        large: at this KS distance, of the score or a feature, the model no longer fits.
        features: if this share of the features has a large distance, the model no longer fits either.
        alarms: how many times as many alarms as promised, beyond chance, mean attacks or traffic that is not known.
    """

    alpha: OpenShare
    small: ShareAboveZero
    large: ShareAboveZero
    features: ShareAboveZero
    alarms: Annotated[float, Bounds(ge=1)]


@dataclass(frozen=True)
class Retraining(DriftLimits, Section):
    """Which records the drift check looks at, when a change counts, and how far thresholds may follow.

    Raises:
        ValueError: a lower one of two limits is not below the upper one.
    """

    section: ClassVar[str] = "retraining"
    records: Annotated[int, Bounds(ge=100)]
    min_records: Annotated[int, Bounds(ge=50)]
    looks: OpenShare
    body: OpenShare
    step: Annotated[float, Bounds(gt=1)]
    rate: ShareAboveZero
    seed: Seed

    def __post_init__(self) -> None:
        super().__post_init__()
        for low, high in (("looks", "body"), ("small", "large"), ("min_records", "records")):
            if not getattr(self, low) < getattr(self, high):
                raise ValueError(
                    f"{low} is {getattr(self, low):g}, allowed is less than {high}, {getattr(self, high):g}"
                )

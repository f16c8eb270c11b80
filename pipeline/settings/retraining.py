"""When recent traffic is another one, and how far thresholds may follow; see ``pipeline.evaluation.drift``."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pipeline.settings.base import Bounds, OpenShare, Section, Seed, ShareAboveZero


@dataclass(frozen=True)
class DriftLimits:
    """When a change counts.

    Attributes:
        alpha: false alarm rate of all tests of one kind together.
        small: KS distance of the score from which on thresholds are set anew.
        large: KS distance, of the score or a feature, from which on a model is not the right one any more.
        features: share of the features with a large change from which on that holds for the model too.
    """

    alpha: OpenShare
    small: ShareAboveZero
    large: ShareAboveZero
    features: ShareAboveZero


@dataclass(frozen=True)
class Retraining(DriftLimits, Section):
    """Which records are looked at, when a change counts, and how far thresholds may follow.

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
        for low, high in (("looks", "body"), ("small", "large"), ("min_records", "records")):
            if not getattr(self, low) < getattr(self, high):
                raise ValueError(
                    f"{low} is {getattr(self, low):g}, allowed is less than {high}, {getattr(self, high):g}"
                )

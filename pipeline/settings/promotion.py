"""What a candidate must keep to."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pipeline.settings.base import (
    Bounds,
    Count,
    CountOrZero,
    Level,
    OpenShare,
    Rounds,
    Section,
    Seed,
    Shape,
    Share,
    ShareBelowOne,
    Threshold,
)


@dataclass(frozen=True)
class Shadow(Shape):
    """How a candidate must behave on the records that arrived last; see ``pipeline.evaluation.shadow``.

    Attributes:
        records: how many of them it scores at most; 0: none.
        min_records: fewer decide nothing.
        margin: how far its share of alarms may lie above the champion's, absolute.

    Raises:
        ValueError: fewer records are scored than are needed.
    """

    records: CountOrZero
    min_records: Annotated[int, Bounds(ge=100)]
    margin: ShareBelowOne

    def __post_init__(self) -> None:
        super().__post_init__()
        if 0 < self.records < self.min_records:
            raise ValueError(
                f"records is {self.records:,}, allowed is 0, or min_records, {self.min_records:,}, or more"
            )


@dataclass(frozen=True)
class Rules(Section):
    """What is asked of a candidate; ``pipeline.evaluation.promotion_gate`` says how.

    Attributes:
        threshold: name of the threshold whose alarms decide, such as ``p99``, which asks for a benign FPR of 1 %.
        level: probability with which each bound holds.
        rounds: of the bootstrap.
        seed: of the bootstrap.
        fpr_margin: how far the benign FPR may lie above the champion's, or above what was asked for; absolute.
        auroc_margin: how much lower the AUROC on unseen attacks may be.
        recall_at_fpr: benign FPR at which the recall of all attacks is compared.
        recall_margin: how much lower that recall may be, absolute.
        alarm_drop: how much the recall of the unseen, or of the seen attacks may fall at the threshold, absolute.
        alarm_kept: the share of the champion's recall there that must be left.
        family_drop: how much the recall of a family may fall, absolute.
        family_minimum: records that a family, or the seen attacks, need to decide.
        asked_margin: how much more than the asked benign FPR a model may realise, beyond chance.
        min_benign: benign records that are needed to decide.
        min_unseen: unseen attacks that are needed to decide.
        shadow: what is asked of it on the records that arrived last.
    """

    section: ClassVar[str] = "promotion"
    threshold: Threshold
    level: Level
    rounds: Rounds
    seed: Seed
    fpr_margin: Share
    auroc_margin: Share
    recall_at_fpr: OpenShare
    recall_margin: Share
    alarm_drop: Share
    alarm_kept: Share
    family_drop: Share
    family_minimum: Count
    asked_margin: ShareBelowOne
    min_benign: Count
    min_unseen: Count
    shadow: Shadow

    @property
    def asked(self) -> float:
        """The benign FPR that the threshold is calibrated for: 0.01 for ``p99``."""
        return round(1 - float(self.threshold.removeprefix("p")) / 100, 12)

"""The limits of the audit: which share of the records may break a rule before the rule counts as broken."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pipeline.settings.base import Bounds, Names, Section, Shape, Share

Auroc = Annotated[float, Bounds(ge=0.5, le=1)]


@dataclass(frozen=True)
class ShortcutLimits(Shape):
    """What one feature alone may tell. On the records at hand, no genuine feature but the port comes near the limits.

    Attributes:
        leak_auroc: AUROC of a feature against all attacks, three or more, at once; above it, the label has leaked into
            the feature (hard). The strongest genuine one reaches 0.92; a label that is wrong in 1 of 100 records 0.99.
        leak_auroc_of_few: the same of one or two attacks, which a genuine feature may well tell (hard).
        attack_auroc: AUROC of a feature against one attack; above it, finding that attack proves little (soft).
        known: features that are known to be shortcuts; they are reported, and no leaks.
        rows: records of each class that are looked at, at most.
    """

    leak_auroc: Auroc
    leak_auroc_of_few: Auroc
    attack_auroc: Auroc
    known: Names
    rows: Annotated[int, Bounds(ge=100)]


@dataclass(frozen=True)
class DoubtLimits(Shape):
    """When a benign label is doubted because of the attacks between the same two hosts.

    Attributes:
        hours: length of the periods; the period of a record, the one before and the one after are looked at.
        below: a label is doubted where a smaller share of the labelled records there is benign; 0 for never.
    """

    hours: Annotated[float, Bounds(gt=0, le=8784)]
    below: Share


@dataclass(frozen=True)
class Limits(Section):
    """Shares of all records. What ships holds on CIC-IDS-2017 as published and on its corrected release.

    Attributes:
        missing_share: null or infinite in a feature that the extractor always writes (hard).
        null_share: null in a rate, which is undefined over a duration of zero (hard).
        infinite_share: infinite in a rate (hard).
        outside_share: outside the range that has a meaning, say a negative duration (soft).
        identity_share: breaking an identity that faults of the extractor may break (soft).
        scrambled_share: breaking an identity that holds by arithmetic; more means mixed-up columns (hard).
        duplicate_share: repeating all features of an earlier record (soft).
        disagreeing_share: having an exact duplicate with another label (soft).
        tolerance: relative, of identities. The published files write numbers from 1e7 on with three digits (1.13E+07),
            an error of up to 0.5 %; products of two such numbers stay within 1 %.
        open_vocabulary: whether an unknown attack or family is reported only (soft), for sources that name their own.
        doubts: which benign labels are doubted.
        shortcuts: what one feature alone may tell.
    """

    section: ClassVar[str] = "validate"
    missing_share: Share
    null_share: Share
    infinite_share: Share
    outside_share: Share
    identity_share: Share
    scrambled_share: Share
    duplicate_share: Share
    disagreeing_share: Share
    tolerance: Share
    open_vocabulary: bool
    doubts: DoubtLimits
    shortcuts: ShortcutLimits

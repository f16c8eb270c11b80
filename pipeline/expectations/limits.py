"""The budgets of the suite: which share of the records may break a rule before the rule counts as broken."""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Limits:
    """Shares in [0, 1] of all records. The defaults hold on CIC-IDS-2017 as published and on its corrected release.

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
    """

    missing_share: float = 0.001
    null_share: float = 0.05
    infinite_share: float = 0.05
    outside_share: float = 0.01
    identity_share: float = 0.01
    scrambled_share: float = 0.1
    duplicate_share: float = 0.15
    disagreeing_share: float = 0.005
    tolerance: float = 0.01
    open_vocabulary: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value <= 1:
                raise ValueError(f"Limits: {field.name} must lie in [0, 1], given {value}")

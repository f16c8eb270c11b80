"""The budgets of the suite: which share of the records may break a rule before the rule counts as broken."""

from dataclasses import dataclass, field, fields


@dataclass(frozen=True)
class ShortcutLimits:
    """What one feature alone may tell. On the records at hand, no genuine feature but the port comes near the limits.

    Attributes:
        leak_auroc: AUROC of a feature against all attacks, three or more, at once; above it, the label has leaked into
            the feature (hard). The strongest genuine one reaches 0.92; a label that is wrong in 1 of 100 records 0.99.
        leak_auroc_of_few: the same of one or two attacks, which a genuine feature may well tell (hard).
        attack_auroc: AUROC of a feature against one attack; above it, finding that attack proves little (soft).
        known: features that are known to be shortcuts; they are reported, and no leaks.
        rows: records of each class that are looked at, at most.
    """

    leak_auroc: float = 0.97
    leak_auroc_of_few: float = 0.9999
    attack_auroc: float = 0.99
    known: tuple[str, ...] = ("destination_port",)
    rows: int = 10_000

    def __post_init__(self) -> None:
        for name in ("leak_auroc", "leak_auroc_of_few", "attack_auroc"):
            if not 0.5 <= getattr(self, name) <= 1:
                raise ValueError(f"ShortcutLimits: {name} must lie in [0.5, 1], given {getattr(self, name)}")


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
        shortcuts: what one feature alone may tell.
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
    shortcuts: ShortcutLimits = field(default_factory=ShortcutLimits)

    def __post_init__(self) -> None:
        for name in (each.name for each in fields(self) if each.type is float):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"Limits: {name} must lie in [0, 1], given {value}")

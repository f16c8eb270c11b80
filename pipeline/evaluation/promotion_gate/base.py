"""Inputs and outputs of the gate: held-out records, the alarms and scores of a model, and the decision."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.settings.promotion import Rules

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

FPR: Final = "benign FPR"
AS_ASKED: Final = "benign FPR as asked for"
AUROC: Final = "AUROC on unseen attacks"
RECALL: Final = "recall at {:g} % benign FPR"
ALL, UNSEEN, SEEN = (f"recall of {which} attacks" for which in ("all", "unseen", "seen"))
FAMILY: Final = "recall of {}"
AT: Final = "{} at {}"
BENIGN_REMEDY: Final = "train on more records, raise preprocess.shares.test_unseen, or lower promotion.min_benign"
UNSEEN_REMEDY: Final = (
    "name some of the attacks in preprocess.unseen, raise evaluate.drills.records, or lower promotion.min_unseen"
)


@dataclass(frozen=True)
class Heldout:
    """Records that neither model has used.

    Attributes:
        y: (n,) 1 for an attack.
        family: (n,) its family, read where y is 1.
        unseen: (n,) whether it is an attack that no model was trained on.
        drilled: whether these are drills, which are no attacks; see ``pipeline.evaluation.drills``.
    """

    y: NDArray[np.int8]
    family: NDArray[np.object_]
    unseen: Mask
    drilled: bool = False

    def __post_init__(self) -> None:
        if not self.y.shape == self.family.shape == self.unseen.shape:
            raise ValueError(f"Heldout: rows differ: {self.y.shape}, {self.family.shape}, {self.unseen.shape}")
        if (self.unseen & (self.y != 1)).any():
            raise ValueError("Heldout: an unseen attack has y = 1")

    @property
    def families(self) -> dict[str, Ints]:
        """The rows of each family of attacks, in the order of their names."""
        attacks = np.flatnonzero(self.y == 1)
        names = self.family[attacks].astype(str)
        return {str(name): attacks[names == name] for name in np.unique(names)}

    def strata(self) -> list[Ints]:
        """The rows that are drawn among themselves: benign, and the seen and the unseen attacks of each family."""
        parts = [np.flatnonzero(self.y != 1)]
        for rows in self.families.values():
            parts += [rows[self.unseen[rows]], rows[~self.unseen[rows]]]
        return [rows for rows in parts if rows.size]

    def called(self, name: str) -> str:
        """A figure as people read it: where drills stand for unseen attacks, it is not said to be of attacks."""
        if not self.drilled:
            return name
        everything = "all drills" if self.unseen.sum() == (self.y == 1).sum() else "all attacks and drills"
        for attacks, drills in {
            "unseen attacks": "drills",
            "all attacks": everything,
            "recall at": f"recall of {everything} at",
        }.items():
            name = name.replace(attacks, drills)
        return name

    def shortage(self, rules: Rules) -> str:
        """Of which records there are too few to decide; "" where there are enough."""
        have = {
            "benign records": (int((self.y != 1).sum()), max(rules.min_benign, 1), BENIGN_REMEDY),
            self.called("unseen attacks"): (int(self.unseen.sum()), max(rules.min_unseen, 1), UNSEEN_REMEDY),
        }
        short = [
            f"{n:,} held-out {kind}, at least {least:,} are needed: {remedy}"
            for kind, (n, least, remedy) in have.items()
            if n < least
        ]
        return f"undecided: {'; '.join(short)}" if short else ""


@dataclass(frozen=True)
class Judged:
    """Scores and alarms of one model on the held-out records.

    Attributes:
        score: (n,) higher = more anomalous, on one scale whatever decision judged a record.
        alarm: (n,) whether it is flagged at the threshold that decides.
        calibrated_on: benign records that the threshold was calibrated on.
        others: name of each other threshold -> (n,) whether a record is flagged at it.
        without_context: how many records it judges without a context, though it reads contexts.
    """

    score: Floats
    alarm: Mask
    calibrated_on: int
    others: Mapping[str, Mask] = field(default_factory=dict)
    without_context: int = 0

    def __post_init__(self) -> None:
        shapes = {values.shape for values in (self.score, self.alarm, *self.others.values())}
        if len(shapes) > 1 or np.isnan(self.score).any():
            raise ValueError(f"Judged: {self.alarm.shape} alarms, {self.score.shape} scores, or one of them NaN")


@dataclass(frozen=True)
class Criterion:
    """One line of a decision.

    Attributes:
        name: what is measured.
        n: records that it is measured on.
        champion: its figure, None where there is no champion.
        candidate: its figure.
        difference: candidate - champion; None where the candidate's figure is judged by itself.
        low: lower bound of the difference, or of the candidate's figure where there is no difference.
        high: upper bound of the same.
        rule: the requirement in words; "" if the figure is only shown.
        passed: whether it is met.
        reason: the verdict in words.
    """

    name: str
    n: int
    champion: float | None
    candidate: float
    difference: float | None
    low: float
    high: float
    rule: str
    passed: bool
    reason: str

    @property
    def decides(self) -> bool:
        """Whether the decision depends on it."""
        return bool(self.rule)

    @property
    def is_share(self) -> bool:
        """Whether it is a share of records, which people read in percent."""
        return not self.name.startswith("AUROC")


@dataclass(frozen=True)
class Decision:
    """The outcome of the gate.

    Attributes:
        criteria: every figure, those that decide first.
        level: probability with which each bound holds.
        threshold: whose alarms a line counts that names no other one.
        notes: what must be known to read the figures.
    """

    criteria: tuple[Criterion, ...]
    level: float
    threshold: str = ""
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every criterion that decides is met."""
        return all(criterion.passed for criterion in self.criteria if criterion.decides)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why not; where it passed, why."""
        deciding = [criterion for criterion in self.criteria if criterion.decides]
        shown = [criterion for criterion in deciding if not criterion.passed] or deciding
        return (*(f"{criterion.name}: {criterion.reason}" for criterion in shown), *self.notes)

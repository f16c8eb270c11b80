"""Which decision judges a record: the one place that compares scores with thresholds."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.base.errors import DataError
from pipeline.calibration.decisions import (
    WITHOUT_CONTEXT,
    Decisions,
    Move,
    all_without_context,
    lacks_context,
    without_context,
)
from pipeline.calibration.named_thresholds import UNKNOWN, Decision, Names
from pipeline.calibration.surprisal import Floats, Surprisal
from pipeline.calibration.thresholds.base import Thresholds


@dataclass(frozen=True, kw_only=True)
class Judges:
    """All decisions by their names, and which one judges a record.

    A record without a context is judged by its other scores, under thresholds that were fitted without any context:
    they are those of a calibration that knows of none. Its fused score is the sum of fewer parts, so it is compared
    with no other threshold, and with no other reference.

    Where a group tells records apart, each group of which there are enough calibration records has a decision of its
    own, so that the promised false alarms hold for it, and not only for all benign records together. Records of other
    groups, or of none, are judged as all are. Source: Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World"
    (2005), section 4.5, on Mondrian conformal predictors.

    Attributes:
        whole: the decision on fused scores, fitted on all calibration records that have a context, where any has one.
        groups: name of a group -> its decision.
        alone: the decisions on records without a context; None where no record has one.
    """

    whole: Decision
    groups: Mapping[str, Decision] = field(default_factory=dict)
    alone: Decisions | None = None

    @property
    def reference(self) -> Floats:
        """(n,) fused scores of all calibration records, ascending."""
        return self.whole.reference

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Name -> fused score above which a record is flagged, where its group has no threshold of its own."""
        return self.whole.thresholds

    @property
    def intervals(self) -> Thresholds:
        """Where benign ends and anomalous begins, where the group of a record has no intervals of its own."""
        return self.whole.intervals

    def p_value(self, score: ArrayLike) -> Floats:
        """(n,) conformal p-values of fused scores, (n,), of records that the decision for all judges."""
        return self.whole.p_value(score)

    @property
    def sides(self) -> dict[str, Decisions]:
        """The decisions on records with a context, or on all where none has one, and those on records without."""
        usual = {UNKNOWN: Decisions(self.whole, self.groups)}
        return usual if self.alone is None else {**usual, WITHOUT_CONTEXT: self.alone}

    @property
    def decisions(self) -> dict[str, Decision]:
        """Name -> each decision."""
        found = {UNKNOWN: self.whole, **self.groups}
        if self.alone is not None:
            own = {without_context(name): decision for name, decision in self.alone.groups.items()}
            found |= {WITHOUT_CONTEXT: self.alone.whole, **own}
        return found

    @property
    def on_its_own(self) -> Decision:
        """The decision on a record of which nothing but its features is known, as in a call: it has no past."""
        return self.whole if self.alone is None else self.alone.whole

    def deciding(self, n: int, groups: Names | None = None, context: ArrayLike | None = None) -> Names:
        """(n,) names of the decisions that judge records; "": that for all.

        Args:
            n: records.
            groups: (n,) of these, if they are known.
            context: (n,) scores of their contexts, NaN where a record has none; None where no record has one.

        Raises:
            DataError: there are more or fewer ``groups`` than records.
        """
        if groups is not None and groups.shape != (n,):
            raise DataError(f"calibration: {n} records, but groups of shape {groups.shape}")
        known = np.full(n, UNKNOWN, dtype=object) if groups is None else groups
        found = self.sides[UNKNOWN].names(known)
        if self.alone is not None:
            bare = np.ones(n, bool) if context is None else lacks_context(context)
            names = self.alone.names(known[bare]).tolist()
            found[bare] = np.array([without_context(name) for name in names], dtype=object)
        return found

    def flagged(self, score: Floats, deciding: Names) -> dict[str, NDArray[np.bool_]]:
        """Name of a threshold -> (n,) which records are above that of their own decision.

        Args:
            score: (n,) fused.
            deciding: (n,) as ``deciding`` names it.
        """
        flagged = {name: np.zeros(score.size, bool) for name in self.thresholds}
        for each, decision in self.decisions.items():
            rows = np.flatnonzero(deciding == each)
            for name, threshold in decision.thresholds.items():
                flagged[name][rows] = score[rows] > threshold
        return flagged

    def ranked(self, score: Floats, deciding: Names) -> Floats:
        """(n,) scores on one scale: how rarely a benign record of the same side, with or without context, is as high.

        They are the scores themselves where no record has a context. Arguments are those of ``flagged``.
        """
        if self.alone is None:
            return score
        bare = all_without_context(deciding)
        usual, alone = (Surprisal.fit(side.whole.reference).surprise(score) for side in self.sides.values())
        return np.where(bare, alone, usual)

    def most(self, deciding: Names) -> tuple[str, NDArray[np.bool_]]:
        """The name in ``sides`` of the side that judged most of n records, and (n,) which these are."""
        bare = all_without_context(deciding)
        if self.alone is None or 2 * bare.sum() <= bare.size:
            return UNKNOWN, ~bare
        return WITHOUT_CONTEXT, bare

    def moved(self, side: str, reference: Floats, move: Move) -> Self:
        """The decision for all records of a side follows; the other side stays. See ``Decisions.moved``."""
        new = self.sides[side].moved(reference, move)
        return replace(self, alone=new) if side == WITHOUT_CONTEXT else replace(self, whole=new.whole)

"""From the fused scores of benign records to a decision for all of them, and one for each frequent group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.base.errors import SplitError
from pipeline.base.samples import CONTEXT
from pipeline.calibration.decisions import Decisions
from pipeline.calibration.named_scores import fuse, judged
from pipeline.calibration.named_thresholds import Decision, Names, frequent
from pipeline.calibration.surprisal import Floats, Surprisal
from pipeline.calibration.thresholds.base import Strategy


@dataclass(frozen=True)
class Fused:
    """Scores, and how thresholds are fitted on them.

    Attributes:
        benign: (n,) fused scores of benign records.
        cut: (n,) other scores of these that the thresholds of the published cascade are percentiles of; None for
            conformal thresholds. The paper takes the scores of the second stage over all benign records, flagged or
            not.
        attacks: (k,) fused scores of seen attacks, for a strategy that tells what is like them.
        percentiles: in percent, one for each named threshold.
        strategy: fits the intervals.
    """

    benign: Floats
    cut: Floats | None
    attacks: Floats | None
    percentiles: Sequence[float]
    strategy: Strategy

    def whole(self) -> Decision:
        """The decision fitted on all records.

        Raises:
            SplitError: there are too few.
        """
        return self._decision(np.ones(self.benign.size, bool), self.attacks)

    def by_group(self, column: str, groups: Names, attack_groups: Names | None) -> dict[str, Decision]:
        """Name of each frequent group -> the decision fitted on its records.

        Args:
            column: that names the groups, for the message.
            groups: (n,) of the benign records.
            attack_groups: (k,) of the attacks, if they are known.

        Raises:
            SplitError: a group has too few records for the strategy.
        """
        names, known = groups.astype(str), self.attacks is not None and attack_groups is not None
        decisions = {}
        for name in frequent(names):
            like = self.attacks[attack_groups.astype(str) == name] if known else None  # type: ignore[index,union-attr]
            try:
                decisions[name] = self._decision(names == name, like)
            except SplitError as error:
                raise SplitError(f"{name!r} of {column}: {error}; or set calibrate.group to null") from error
        return decisions

    def _decision(self, rows: NDArray[np.bool_], attacks: Floats | None) -> Decision:
        if self.cut is not None:
            return Decision.published(self.benign[rows], self.cut[rows], self.percentiles, self.strategy)
        return Decision.fit(self.benign[rows], self.percentiles, self.strategy, attacks)


class Sides(TypedDict):
    """What ``Judges`` takes."""

    whole: Decision
    groups: Mapping[str, Decision]
    alone: Decisions | None


@dataclass(frozen=True)
class Grouping:
    """How records are told apart.

    Attributes:
        column: that names the groups, for messages.
        benign: (n,) groups of the benign records, "" where a record does not tell.
        attacks: (k,) those of the attacks, if they are known.
    """

    column: str
    benign: Names
    attacks: Names | None = None


@dataclass(frozen=True)
class Scored:
    """The scores of n benign records and of k seen attacks by their names, and how they become one.

    Attributes:
        fusion: a name in ``FUSIONS``.
        surprisals: of each score.
        benign: (n,) of each score.
        attacks: (k,) each, in the same order; None where none are known.
        percentiles: in percent, one for each named threshold.
        strategy: fits the intervals.
    """

    fusion: str
    surprisals: Mapping[str, Surprisal]
    benign: Mapping[str, Floats]
    attacks: Sequence[ArrayLike] | None
    percentiles: Sequence[float]
    strategy: Strategy

    def fused(self, names: Sequence[str]) -> Fused:
        """The fused scores that the named ones give, of the records that have all of these."""
        rows = judged(names, self.benign)
        attacks = None if self.attacks is None else dict(zip(self.benign, self.attacks, strict=True))
        return Fused(
            self._one(names, self.benign)[rows],
            self.benign["detector"][rows] if self.fusion == "cascade" else None,
            None if attacks is None else self._one(names, attacks),
            self.percentiles,
            self.strategy,
        )

    def sides(self, names: Sequence[str], grouping: Grouping | None = None) -> Sides:
        """The decisions by the named scores, and those by all of them but the context, where it is one of them."""
        judged = self.decisions(names, grouping)
        others = [name for name in names if name != CONTEXT]
        alone = self.decisions(others, grouping) if CONTEXT in names else None
        return {"whole": judged.whole, "groups": judged.groups, "alone": alone}

    def decisions(self, names: Sequence[str], grouping: Grouping | None = None) -> Decisions:
        """What the named scores decide, for all records that have these and for each frequent group of them."""
        fused, rows = self.fused(names), judged(names, self.benign)
        if grouping is None:
            return Decisions(fused.whole())
        own = fused.by_group(grouping.column, grouping.benign[rows], grouping.attacks)
        return Decisions(fused.whole(), own)

    def _one(self, names: Sequence[str], scores: Mapping[str, ArrayLike]) -> Floats:
        return fuse(self.fusion, self.surprisals, names, scores)

"""Several scores of a record become one, and thresholds and p-values are fitted on it.

A record has up to four scores: the margin of the first stage, the score of the second, that of a supervised head, and
that of the recent past of its hosts. They have different units. So each becomes its *surprise* first, -log of the share
of benign calibration records that score as high. A fusion makes one score of them. Thresholds and p-values are fitted
on the fused scores of the benign calibration records.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.base.errors import ArtifactError, ConfigError, DataError
from pipeline.base.registry import find
from pipeline.base.samples import CONTEXT
from pipeline.calibration.former_names import in_current_names
from pipeline.calibration.fused import Scored
from pipeline.calibration.fusion import FUSIONS
from pipeline.calibration.named_scores import finite_named, fuse, judged, surprisals_of, used_of
from pipeline.calibration.named_thresholds import UNKNOWN, Decision, Names
from pipeline.calibration.surprisal import Floats, Surprisal
from pipeline.calibration.thresholds.base import Strategy, Thresholds
from pipeline.calibration.thresholds.conformal import Guarantee
from pipeline.calibration.thresholds.percentile import Percentile

LEAST_FOR_SURPRISALS: Final = 40  # benign records of val; of fewer, those of calibration make better surprisals
LEAST_FOR_A_CLASS: Final = 19  # seen attacks of val that support a share of 5 %
WITHOUT_CONTEXT: Final = "without context"  # the group of a record that has none, where others have one


@dataclass(frozen=True)
class Calibration:
    """The decision on top of the scores, fitted on benign records that no model has seen.

    Wherever ``scores`` are taken, they are those of ``SCORES`` in its order: margin, detector, a head's and the
    context's as far as there are, (n,) each, higher = more anomalous.

    A record without a context, whose score there is NaN, is judged by what the others say alone, under thresholds that
    were fitted without any context: they are those of a calibration that knows of none.

    Where a ``group`` tells records apart, each group of which there are enough calibration records has a decision of
    its own, so that the promised false alarms hold for it, and not only for all benign records together; records of
    other groups, or of none, are judged as all are. Source: Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random
    World" (2005), section 4.5, on Mondrian conformal predictors.

    Attributes:
        fusion: name of the fusion.
        surprisals: name -> surprisal of a score, of all that there are.
        used: names of the scores that the fusion takes.
        whole: the decision on fused scores, fitted on all calibration records.
        group: the record column that tells groups apart; None for none.
        groups: name of a group -> its decision.
        worst: how many times as often as promised all benign records together may raise an alarm, whatever the models:
            1 where one model has seen none of the calibration records; see ``pipeline.calibration.cross_conformal``.
        alone: the decision on records without a context; None where no record has one.
    """

    fusion: str
    surprisals: Mapping[str, Surprisal]
    used: tuple[str, ...]
    whole: Decision
    group: str | None = None
    groups: Mapping[str, Decision] = field(default_factory=dict)
    worst: float = 1.0
    alone: Decision | None = None

    @classmethod
    def fit(
        cls,
        margin: ArrayLike,
        detector: ArrayLike,
        fusion: str = "fisher",
        percentiles: Sequence[float] = (99, 97, 95),
        strategy: Strategy | None = None,
        *,
        head: ArrayLike | None = None,
        context: ArrayLike | None = None,
        used: Sequence[str] | None = None,
        surprisals_from: Sequence[ArrayLike] | None = None,
        attacks: Sequence[ArrayLike] | None = None,
        group: str | None = None,
        groups: Names | None = None,
        attack_groups: Names | None = None,
        worst: float = 1.0,
    ) -> Self:
        """Calibrate on benign records.

        What ``Decision.fit`` promises is exact if the surprisals were fitted on other records (``surprisals_from``).

        Args:
            margin: (n,) of the first stage, higher = more anomalous.
            detector: (n,) of the second stage, higher = more anomalous.
            fusion: a name in ``FUSIONS``.
            percentiles: in percent, one for each named threshold.
            strategy: fits the intervals; ``Percentile()`` if None.
            head: (n,) of a supervised head, if there is one.
            context: (n,) of the recent past of the hosts, NaN where a record has none; None where no record has one.
            used: names of the scores that the fusion takes, as far as there are; all if None.
            surprisals_from: the same scores, (m,) each, of other benign records that no fit has seen; these if None.
            attacks: the same scores, (k,) each, of seen attacks that no fit has seen; for the intervals.
            group: the record column that tells groups apart.
            groups: (n,) names of the groups of the benign records, "" where a record does not tell.
            attack_groups: (k,) those of the attacks; a group that has none is judged as if none were known.
            worst: see the attribute.

        Raises:
            SplitError: there are no records.
            DataError: a score is NaN or infinite, or one score has other rows than another.
            ConfigError: ``fusion`` is unknown, or ``used`` names no score, or not what the fusion needs.
        """
        values = finite_named(margin, detector, head, context)
        names = used_of(fusion, tuple(values), used)
        surprisals = surprisals_of(values, surprisals_from)
        scored = Scored(fusion, surprisals, values, attacks, percentiles, strategy or Percentile())
        every = scored.fused(names)
        own = {} if groups is None else every.by_group(str(group), groups[judged(names, values)], attack_groups)
        return cls(fusion, surprisals, names, every.whole(), group, own, worst, scored.without_context(names))

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

    def score(self, *scores: ArrayLike) -> Floats:
        """(n,) fused scores; higher = more anomalous. The context may be left out: then no record has one.

        Raises:
            DataError: if one of ``scores`` is NaN, or there are more or fewer of them than at calibration.
        """
        return fuse(self.fusion, self.surprisals, self.used, self.named(*scores))

    def named(self, *scores: ArrayLike) -> dict[str, ArrayLike]:
        """Name -> (n,) of each score, in the order of ``SCORES``; a context that is left out is NaN.

        Raises:
            DataError: there are more or fewer of them than at calibration.
        """
        if len(scores) == len(self.surprisals) - 1 and CONTEXT in self.surprisals:
            scores = (*scores, np.full(np.shape(scores[0]), np.nan))
        if len(scores) != len(self.surprisals):
            raise DataError(f"calibration: made for {', '.join(self.surprisals)}, given {len(scores)} of them")
        return dict(zip(self.surprisals, scores, strict=True))

    def promises(self, group: str | None = None) -> dict[str, float]:
        """Threshold -> share of benign records that exceed it at most, on average over calibration sets.

        Of ``p99`` it is 1 %, or the smallest level that there are records for; the published cascade promises nothing.
        Where groups have decisions of their own, each ``group`` has its promise, and all records together have none:
        those of no such group are judged as if all groups were among them.
        """
        if group is None and self.groups:
            return {}
        smallest = Guarantee().smallest_risk((self.whole if group is None else self.groups[group]).reference.size)
        nominal = {name: round(1 - float(name.removeprefix("p")) / 100, 12) for name in self.thresholds}
        return {} if self.fusion == "cascade" else {name: max(risk, smallest) for name, risk in nominal.items()}

    def p_value(self, score: ArrayLike) -> Floats:
        """(n,) conformal p-values of fused scores, (n,), of records whose group has no decision of its own."""
        return self.whole.p_value(score)

    def decisions(self, deciding: Names) -> Iterator[tuple[NDArray[np.intp], Decision]]:
        """Each decision with the rows of the records that it judges, by what ``deciding`` gives."""
        alone = {} if self.alone is None else {WITHOUT_CONTEXT: self.alone}
        for name, decision in {UNKNOWN: self.whole, **self.groups, **alone}.items():
            yield np.flatnonzero(deciding == name), decision

    def deciding(self, n: int, groups: Names | None = None, context: ArrayLike | None = None) -> Names:
        """(n,) names of the groups by whose decisions records are judged, "" where by that for all.

        Args:
            n: records.
            groups: (n,) of these, if they are known.
            context: (n,) scores of their contexts; a record that has none is of the group ``WITHOUT_CONTEXT``.

        Raises:
            DataError: there are more or fewer ``groups`` than records.
        """
        if groups is not None and groups.shape != (n,):
            raise DataError(f"calibration: {n} records, but groups of shape {groups.shape}")
        found = np.full(n, UNKNOWN, dtype=object)
        if groups is not None:
            found = np.where(np.isin(groups.astype(str), list(self.groups)), groups.astype(str), UNKNOWN).astype(object)
        if self.alone is not None and context is not None:
            found[np.isnan(np.asarray(context, dtype=np.float64))] = WITHOUT_CONTEXT
        return found

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """All that ``load`` needs: what JSON can hold, and arrays."""
        values = {
            "fusion": self.fusion,
            "scores": list(self.surprisals),
            "used": list(self.used),
            **self.whole.state(),
            "group": self.group,
            "groups": {name: decision.state() for name, decision in self.groups.items()},
            "worst": self.worst,
        }
        values |= {} if self.alone is None else {"without_context": self.alone.state()}
        arrays = {"reference": self.reference}
        arrays |= {f"group.{name}.reference": decision.reference for name, decision in self.groups.items()}
        arrays |= {} if self.alone is None else {"without_context.reference": self.alone.reference}
        for name, each in self.surprisals.items():
            arrays[f"{name}.knots"] = each.knots
            arrays[f"{name}.surprises"] = each.surprises
            arrays[f"{name}.scales"] = np.array([each.above, each.below])
        return values, arrays

    @classmethod
    def load(cls, values: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The calibration whose ``state`` this is.

        Raises:
            ArtifactError: if a part is missing or unsound.
        """
        try:
            values, arrays = in_current_names(values, arrays)
            surprisals = {
                name: Surprisal(
                    arrays[f"{name}.knots"], arrays[f"{name}.surprises"], *map(float, arrays[f"{name}.scales"])
                )
                for name in values["scores"]
            }
            find(FUSIONS, values["fusion"])
            used = used_of(values["fusion"], tuple(surprisals), values["used"])
            whole = Decision.load(values, arrays["reference"])
            groups = {
                name: Decision.load(each, arrays[f"group.{name}.reference"])
                for name, each in values.get("groups", {}).items()  # an older calibration knows none
            }
            alone = values.get("without_context")
            alone = None if alone is None else Decision.load(alone, arrays["without_context.reference"])
            worst = float(values.get("worst", 1.0))
            return cls(values["fusion"], surprisals, used, whole, values.get("group"), groups, worst, alone)
        except (ConfigError, KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"calibration: not the state of a calibration: {error!r}; calibrate again") from error

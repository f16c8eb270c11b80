"""Several scores of a record become one, and thresholds and p-values are fitted on it.

A record has up to four scores: the margin of the first stage, the score of the second, that of a supervised head, and
that of the recent past of its hosts. They have different units. So each becomes its *surprise* first, -log of the share
of benign calibration records that score as high. A fusion makes one score of them. Thresholds and p-values are fitted
on the fused scores of the benign calibration records.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.base.errors import ArtifactError, ConfigError, DataError
from pipeline.base.registry import find
from pipeline.base.samples import CONTEXT
from pipeline.calibration import stored
from pipeline.calibration.decisions import Decisions, Promise
from pipeline.calibration.former_names import in_current_names
from pipeline.calibration.fused import Grouping, Scored
from pipeline.calibration.fusion import FUSIONS
from pipeline.calibration.judges import Judges
from pipeline.calibration.named_scores import finite_named, fuse, surprisals_of, used_of
from pipeline.calibration.named_thresholds import UNKNOWN, Names
from pipeline.calibration.surprisal import Floats, Surprisal
from pipeline.calibration.thresholds.base import Strategy
from pipeline.calibration.thresholds.conformal import Guarantee
from pipeline.calibration.thresholds.percentile import Percentile

LEAST_FOR_SURPRISALS: Final = 40  # benign records of val; of fewer, those of calibration make better surprisals
LEAST_FOR_A_CLASS: Final = 19  # seen attacks of val that support a share of 5 %


@dataclass(frozen=True)
class Calibration(Judges):
    """The decision on top of the scores, fitted on benign records that no model has seen.

    Wherever ``scores`` are taken, they are those of ``SCORES`` in its order: margin, detector, a head's and the
    context's as far as there are, (n,) each, higher = more anomalous.

    Contexts of fewer records than a group needs for a decision of its own are left out.

    ``Judges`` says which decision judges a record, where there are several.

    Attributes:
        fusion: name of the fusion.
        surprisals: name -> surprisal of a score, of all that there are.
        used: names of the scores that the fusion takes.
        group: the record column that tells groups apart; None for none.
        worst: how many times as often as promised all benign records together may raise an alarm, whatever the models:
            1 where one model has seen none of the calibration records; see ``pipeline.calibration.cross_conformal``.
    """

    fusion: str
    surprisals: Mapping[str, Surprisal]
    used: tuple[str, ...]
    group: str | None = None
    worst: float = 1.0

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
        others, attacks = (each and [*each][: len(values)] for each in (surprisals_from, attacks))
        surprisals = surprisals_of(values, others)
        scored = Scored(fusion, surprisals, values, attacks, percentiles, strategy or Percentile())
        sides = scored.sides(names, None if groups is None else Grouping(str(group), groups, attack_groups))
        return cls(fusion, surprisals, names, group, worst, **sides)

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

    def promises(self, name: str = UNKNOWN) -> dict[str, float]:
        """Threshold -> share of benign records that exceed it at most, on average over calibration sets.

        Of ``p99`` it is 1 %, or the smallest level that there are records for; the published cascade promises nothing.
        Where groups have decisions of their own, the decision for all has none: it judges records of no such group as
        if all groups were among them.

        Args:
            name: of the decision.
        """
        if self.fusion == "cascade" or (name in self.sides and self.sides[name].groups):
            return {}
        smallest = Guarantee().smallest_risk(self.decisions[name].reference.size)
        nominal = {each: round(1 - float(each.removeprefix("p")) / 100, 12) for each in self.thresholds}
        return {each: max(risk, smallest) for each, risk in nominal.items()}

    def promised(self, decided: Mapping[str, int]) -> dict[str, tuple[Promise, ...]]:
        """Threshold -> the promises that hold for records, by how many each decision judged.

        A threshold is absent where a decision promises nothing of it.
        """
        counts = {name: decided[name] for name in self.decisions if decided.get(name)} or {UNKNOWN: 0}
        found: dict[str, tuple[Promise, ...]] = {}
        for threshold in self.thresholds:
            shares = [self.promises(name).get(threshold) for name in counts]
            sizes = [self.decisions[name].reference.size for name in counts]
            parts = zip(counts.values(), shares, sizes, strict=True)
            if None not in shares:
                found[threshold] = tuple(Promise(n, share, size) for n, share, size in parts if share is not None)
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
        arrays = Decisions(self.whole, self.groups).arrays()
        if self.alone is not None:
            values[stored.ALONE] = self.alone.state()
            arrays |= self.alone.arrays(f"{stored.ALONE}.")
        return values, {**arrays, **stored.surprisal_arrays(self.surprisals)}

    @classmethod
    def load(cls, values: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The calibration whose ``state`` this is.

        Raises:
            ArtifactError: if a part is missing or unsound.
        """
        try:
            values, arrays = in_current_names(values, arrays)
            surprisals = stored.surprisals(values["scores"], arrays)
            find(FUSIONS, values["fusion"])
            used = used_of(values["fusion"], tuple(surprisals), values["used"])
            judged, alone = stored.decisions(values, arrays)
            about = (values["fusion"], surprisals, used, values.get("group"), float(values.get("worst", 1.0)))
            return cls(*about, whole=judged.whole, groups=judged.groups, alone=alone)
        except (ConfigError, KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"calibration: not the state of a calibration: {error!r}; calibrate again") from error

"""The shortcut audit: what would let a detector look good without having learnt what an attack is."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats.contingency import association

from pipeline.settings.validate import ShortcutLimits
from pipeline.validation.single_feature import MIN_RECORDS, FeatureAuroc

FEW = 2  # attacks: a genuine feature may tell so many apart from all benign records


@dataclass(frozen=True)
class AttackCount:
    """What is known of the records of one attack.

    Attributes:
        records: how many there are.
        days: known capture day -> records.
        attempted: records that reached nothing, None where the source tells of none of them.
        disagreeing: records that equal one of another class, another attack or benign, in all features.
    """

    records: int
    days: Mapping[str, int]
    attempted: int | None
    disagreeing: int


@dataclass(frozen=True)
class Shortcuts:
    """The findings of the audit.

    Attributes:
        limits: what a feature may tell.
        tellings: what each feature alone tells; none where there are too few records.
        attacks: what is known of each attack, the most frequent first.
        both_labels: records that equal one with the other y in all features, benign ones among them.
        several_days: whether the records, benign ones among them, were captured on several known days.
    """

    limits: ShortcutLimits
    tellings: tuple[FeatureAuroc, ...] = ()
    attacks: Mapping[str, AttackCount] = field(default_factory=dict)
    both_labels: int = 0
    several_days: bool = False

    @property
    def judged(self) -> tuple[str, ...]:
        """The attacks with records enough."""
        return tuple(attack for attack in self.attacks if any(attack in each.by_attack for each in self.tellings))

    @property
    def too_few(self) -> tuple[str, ...]:
        """The attacks of which fewer than five records are there."""
        return tuple(attack for attack, count in self.attacks.items() if count.records < MIN_RECORDS)

    @property
    def known_here(self) -> tuple[str, ...]:
        """The known shortcuts that these records have."""
        names = {each.feature for each in self.tellings}
        return tuple(name for name in self.limits.known if name in names)

    @property
    def leak_limit(self) -> float:
        """The AUROC above which a feature that tells all attacks carries the label."""
        return self.limits.leak_auroc if len(self.judged) > FEW else self.limits.leak_auroc_of_few

    @property
    def leaks(self) -> tuple[FeatureAuroc, ...]:
        """The features that tell all attacks and are no known shortcuts, the strongest first."""
        return tuple(
            each for each in self.ranked() if each.of_all > self.leak_limit and each.feature not in self.known_here
        )

    @property
    def told(self) -> dict[str, tuple[str, float]]:
        """The attacks that one feature alone tells, which one, and its AUROC."""
        best = {attack: self.strongest(attack) for attack in self.judged}
        return {attack: each for attack, each in best.items() if each[1] > self.limits.attack_auroc}

    @property
    def one_day(self) -> dict[str, str]:
        """The attacks whose records of known day are all of one, and which."""
        days = {attack: count.days for attack, count in self.attacks.items()} if self.several_days else {}
        return {attack: next(iter(each)) for attack, each in days.items() if len(each) == 1}

    def ranked(self) -> list[FeatureAuroc]:
        """The features, those first that tell most of all attacks."""
        return sorted(self.tellings, key=lambda each: -each.of_all)

    def strongest(self, attack: str, without: Sequence[str] = ()) -> tuple[str, float]:
        """The feature that tells ``attack`` best, and its AUROC; "" and chance where there is none."""
        told = [(each.feature, each.by_attack[attack]) for each in self.tellings if each.feature not in without]
        return max(told, key=lambda each: each[1], default=("", 0.5))

    @property
    def day_association(self) -> float | None:
        """Cramér's V of attack and day: 1 where the day names the attack; None where days or attacks do not vary.

        Source: Cramér, "Mathematical Methods of Statistics" (1946), section 21.9.
        """
        counts = pd.DataFrame([count.days for count in self.attacks.values() if count.days]).fillna(0)
        n = counts.to_numpy(np.float64)
        if min(n.shape) < 2:
            return None
        return float(association(n.astype(np.int64), method="cramer"))

    @property
    def attempted_share(self) -> float | None:
        """Share of the attack records that reached nothing, None where the source does not tell."""
        told = [count for count in self.attacks.values() if count.attempted is not None]
        return sum(count.attempted or 0 for count in told) / sum(count.records for count in told) if told else None

    def frames(self) -> dict[str, pd.DataFrame]:
        """What the suite judges: a row for each feature that is no known shortcut, and one for each attack."""
        leaks = {each.feature for each in self.leaks}
        features = [each.feature for each in self.tellings if each.feature not in self.known_here]
        dated = [attack for attack, count in self.attacks.items() if count.days and self.several_days]
        return {
            "leaks": _marks("leaks", features, leaks),
            "told": _marks("told", self.judged, self.told),
            "one_day": _marks("one_day", dated, self.one_day),
        }

    def rows(self) -> list[dict[str, Any]]:
        """One for each attack and feature, the strongest feature of an attack first."""
        return [
            {
                "attack": attack,
                "records": self.attacks[attack].records,
                "feature": each.feature,
                "read_by": each.reading,
                "auroc": round(each.by_attack[attack], 6),
                "known": int(each.feature in self.known_here),
            }
            for attack in self.judged
            for each in sorted(self.tellings, key=lambda each: -each.by_attack[attack])
        ]

    def table(self) -> list[dict[str, Any]]:
        """One row for each attack: the strongest feature with and without the known shortcuts, days, labels."""
        return [self._row(attack, count) for attack, count in self.attacks.items()]

    def _row(self, attack: str, count: AttackCount) -> dict[str, Any]:
        judged = attack in self.judged
        feature, auroc = self.strongest(attack) if judged else (None, None)
        other, without = self.strongest(attack, self.known_here) if judged else (None, None)
        return {
            "attack": attack,
            "records": count.records,
            "feature": feature,
            "auroc": auroc,
            "feature_without_known": other,
            "auroc_without_known": without,
            "days": dict(count.days),
            "attempted": count.attempted,
            "disagreeing": count.disagreeing,
        }

    def summary(self) -> dict[str, Any]:
        """Ready for JSON."""
        features = [
            {"feature": each.feature, "read_by": each.reading, "pooled": each.pooled, "mean": each.mean}
            | {"known": each.feature in self.known_here, "leaks": each in self.leaks}
            for each in self.ranked()
        ]
        return {
            "limits": asdict(self.limits) | {"known": list(self.limits.known)},
            "leaks": [each.feature for each in self.leaks],
            "told_by_one_feature": list(self.told),
            "too_few_records": list(self.too_few),
            "one_day": self.one_day,
            "day_association": self.day_association,
            "attempted_share": self.attempted_share,
            "records_with_both_labels": self.both_labels,
            "attacks": self.table(),
            "features": features,
        }


def _marks(column: str, names: Sequence[str], marked: Collection[str]) -> pd.DataFrame:
    return pd.DataFrame({column: [int(name in marked) for name in names]}, dtype=np.int64)

"""The shortcut audit: what would let a detector look good though it has not learnt what an attack is."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats.contingency import association

from pipeline.settings.validate import ShortcutLimits
from pipeline.validation.single_feature import MIN_RECORDS, FeatureAuroc

FEW = 2  # attacks; a genuine feature may tell that many from all benign records


@dataclass(frozen=True)
class AttackCount:
    """What is known of the records of one attack.

    Attributes:
        records: how many there are.
        days: known capture day -> records.
        attempted: records that reached nothing, None where the source does not say.
        disagreeing: records with a copy of another class, another attack or benign.
    """

    records: int
    days: Mapping[str, int]
    attempted: int | None
    disagreeing: int


@dataclass(frozen=True)
class Shortcuts:
    """The findings of the audit.

    Attributes:
        limits: of the audit.
        features: how well each feature alone tells attacks from benign records; none where there are too few records.
        attacks: what is known of each attack, the most frequent first.
        both_labels: records, benign ones included, with a copy that has the other label.
        several_days: whether the records, benign ones included, were captured on several known days.
    """

    limits: ShortcutLimits
    features: tuple[FeatureAuroc, ...] = ()
    attacks: Mapping[str, AttackCount] = field(default_factory=dict)
    both_labels: int = 0
    several_days: bool = False

    @property
    def measured(self) -> tuple[str, ...]:
        """The attacks with enough records."""
        return tuple(attack for attack in self.attacks if any(attack in feature.by_attack for feature in self.features))

    @property
    def too_few(self) -> tuple[str, ...]:
        """The attacks with fewer than five records."""
        return tuple(attack for attack, count in self.attacks.items() if count.records < MIN_RECORDS)

    @property
    def known_here(self) -> tuple[str, ...]:
        """The known shortcuts that these records have."""
        names = {auroc.feature for auroc in self.features}
        return tuple(name for name in self.limits.known if name in names)

    @property
    def leak_limit(self) -> float:
        """The AUROC above which a feature that tells all attacks carries the label."""
        return self.limits.leak_auroc if len(self.measured) > FEW else self.limits.leak_auroc_of_few

    @property
    def leaks(self) -> tuple[FeatureAuroc, ...]:
        """The features that tell all attacks and are no known shortcuts, the strongest first."""
        return tuple(
            auroc
            for auroc in self.ranked()
            if (auroc.of_all > self.leak_limit or self.by_place(auroc)) and auroc.feature not in self.known_here
        )

    def by_place(self, auroc: FeatureAuroc) -> bool:
        """Whether a feature tells all attacks by where its values lie, though it does not grow with them."""
        return auroc.of_all <= self.leak_limit and auroc.by_place > self.limits.leak_auroc_of_few

    @property
    def by_one_feature(self) -> dict[str, tuple[str, float]]:
        """Attack that one feature alone tells from benign -> that feature and its AUROC."""
        best = {attack: self.strongest(attack) for attack in self.measured}
        return {attack: (name, auroc) for attack, (name, auroc) in best.items() if auroc > self.limits.attack_auroc}

    @property
    def one_day(self) -> dict[str, str]:
        """Attack that was captured on one day only, as far as its days are known -> that day."""
        days = {attack: count.days for attack, count in self.attacks.items()} if self.several_days else {}
        return {attack: next(iter(counts)) for attack, counts in days.items() if len(counts) == 1}

    def ranked(self) -> list[FeatureAuroc]:
        """The features, first the one that tells all attacks best."""
        return sorted(self.features, key=lambda auroc: -auroc.of_all)

    def strongest(self, attack: str, without: Sequence[str] = ()) -> tuple[str, float]:
        """The feature that tells ``attack`` best, and its AUROC; "" and chance where there is none."""
        others = [auroc for auroc in self.features if auroc.feature not in without]
        best = max(others, key=lambda auroc: auroc.by_attack[attack], default=None)
        return (best.feature, best.by_attack[attack]) if best else ("", 0.5)

    @property
    def day_association(self) -> float | None:
        """Cramér's V of attack and day: 1 where the day determines the attack; None where days or attacks do not vary.

        Source: Cramér, "Mathematical Methods of Statistics" (1946), section 21.9.
        """
        counts = pd.DataFrame([count.days for count in self.attacks.values() if count.days]).fillna(0)
        n = counts.to_numpy(np.float64)
        if min(n.shape) < 2:
            return None
        return float(association(n.astype(np.int64), method="cramer"))

    @property
    def attempted_share(self) -> float | None:
        """Share of the attack records that reached nothing, None where the source does not say."""
        known = [count for count in self.attacks.values() if count.attempted is not None]
        return sum(count.attempted or 0 for count in known) / sum(count.records for count in known) if known else None

    def frames(self) -> dict[str, pd.DataFrame]:
        """The frames that the rules are about: a row for each feature that is no known shortcut, or for each attack."""
        leaks = {auroc.feature for auroc in self.leaks}
        features = [auroc.feature for auroc in self.features if auroc.feature not in self.known_here]
        dated = [attack for attack, count in self.attacks.items() if count.days and self.several_days]
        return {
            "leaks": _marks("leaks", features, leaks),
            "one_feature": _marks("one_feature", self.measured, self.by_one_feature),
            "one_day": _marks("one_day", dated, self.one_day),
        }

    def rows(self) -> list[dict[str, Any]]:
        """One for each attack and feature, the strongest feature of an attack first."""
        return [
            {
                "attack": attack,
                "records": self.attacks[attack].records,
                "feature": auroc.feature,
                "read_by": auroc.reading,
                "auroc": round(auroc.by_attack[attack], 6),
                "known": int(auroc.feature in self.known_here),
            }
            for attack in self.measured
            for auroc in sorted(self.features, key=lambda auroc: -auroc.by_attack[attack])
        ]

    def table(self) -> list[dict[str, Any]]:
        """One row for each attack: the strongest feature with and without the known shortcuts, days, labels."""
        return [self._row(attack, count) for attack, count in self.attacks.items()]

    def _row(self, attack: str, count: AttackCount) -> dict[str, Any]:
        measured = attack in self.measured
        feature, auroc = self.strongest(attack) if measured else (None, None)
        other, without = self.strongest(attack, self.known_here) if measured else (None, None)
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
            {"feature": auroc.feature, "read_by": auroc.reading, "pooled": auroc.pooled, "mean": auroc.mean}
            | {"known": auroc.feature in self.known_here, "leaks": auroc in self.leaks}
            for auroc in self.ranked()
        ]
        return {
            "limits": asdict(self.limits) | {"known": list(self.limits.known)},
            "leaks": [auroc.feature for auroc in self.leaks],
            "told_by_one_feature": list(self.by_one_feature),
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

"""Rules that make groups of the alerts of a week, and what they find: attacks, and false incidents."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from benchmarks.incident_weeks import BEACON, HOUR, Week, items
from pipeline.serving.alerts.incidents import incidents_of
from pipeline.settings.alerts import IncidentRules


@dataclass
class Outcome:
    """What a rule says of weeks: false incidents, and of each attack in how many weeks it was there and was found."""

    benign: int = 0
    false: int = 0
    there: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    lines: Counter[str] = field(default_factory=Counter)

    def add(self, week: Week, groups: Sequence[Sequence[int]]) -> None:
        """Take the groups of alerts that a rule makes of a week, each by its record ids."""
        seen = Counter[str]()
        for group in groups:
            named = Counter(week.attack[record] for record in group)
            if 2 * named["benign"] > len(group):
                self.false += week.number != BEACON
            else:
                seen.update({*named} - {"benign"})
        self.benign += week.benign * (week.number != BEACON)
        attacks = week.attacks if week.number != BEACON else {"beacon"}
        self.there.update(attacks)
        self.found.update(attacks & seen.keys())
        self.lines.update({name: seen[name] for name in attacks})

    @property
    def rate(self) -> float:
        """False incidents per million benign records."""
        return 1e6 * self.false / self.benign

    @property
    def share(self) -> float:
        """Of the attacks that were found, without the bots by the clock."""
        there = {name: n for name, n in self.there.items() if name != "beacon"}
        return sum(self.found[name] for name in there) / sum(there.values())


Rule = Callable[[Week], list[list[int]]]


def grouped(rules: IncidentRules) -> Rule:
    """The records of each incident that counts."""
    whole = replace(rules, keys=10**9)

    def rule(week: Week) -> list[list[int]]:
        found = incidents_of(items(week, rules.gap), whole)
        return [[int(key) for key in each.keys] for each in found if each.severity != "low"]

    return rule


def alone(level: str) -> Rule:
    """Each alert for itself."""

    def rule(week: Week) -> list[list[int]]:
        return [[record] for record in week.records.filter(week.records.column(level)).column("record_id").to_pylist()]

    return rule


def counted(level: str, least: int) -> Rule:
    """The alerts of a source that come without a gap of an hour, if they are so many."""

    def rule(week: Week) -> list[list[int]]:
        alerts = week.records.filter(week.records.column(level)).sort_by("timestamp")
        runs: dict[str, list[list[int]]] = defaultdict(list)
        last: dict[str, int] = {}
        times = alerts.column("timestamp").cast(pa.int64()).to_pylist()
        sources, records = (alerts.column(name).to_pylist() for name in ("src_ip", "record_id"))
        for moment, source, record in zip(times, sources, records, strict=True):
            if source not in last or moment - last[source] > HOUR:
                runs[source].append([])
            runs[source][-1].append(record)
            last[source] = moment
        return [run for each in runs.values() for run in each if len(run) >= least]

    return rule

"""One incident: what alerts that belong together are in all, and how severe that is."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from pipeline.serving.alerts import evidence as evidences
from pipeline.serving.alerts.stretches import EPOCH, Item, Stretch, stretches
from pipeline.settings.alerts import IncidentRules

Severity = Literal["low", "medium", "high", "critical"]
SEVERITIES: Final[tuple[Severity, ...]] = ("critical", "high", "medium", "low")  # the worst first
SHOWN: Final = 10  # hosts and ports that an incident names
Counts = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Incident:
    """Alerts that belong together.

    Attributes:
        incident: key: 16 hexadecimal digits, by its first record. It stays while later alerts join.
        view: whose alerts they are: of a ``source``, a ``destination``, a ``pair`` of both, or a ``file``.
        record_id: of its first alert.
        first, last: when its first and last alert were; None where they have no time.
        alerts: how many.
        keys: of the first alerts, at most ``keys`` of the settings.
        sources, destinations, ports: the commonest, at most ``SHOWN``, with counts of alerts; ports of destinations.
        source_count, destination_count, port_count: how many there are.
        file: source file of its first alert.
        kind, family: the commonest of its alerts; None where none was explained.
        reason: strongest reason of its strongest alert, in words; "" where that was not explained.
        level: the strictest threshold that one exceeds.
        score: the highest.
        severity: ``low``: not enough evidence, or not yet. See ``evidence`` of the settings.
        evidence: log10 of its e-value; None where the records between its alerts were not counted.
        suppressed_by: name of the rule that hides it, or None.
        merged_into: key of the incident that it is a part of now, or None. It has no alerts then.
    """

    incident: str
    view: str
    record_id: int
    first: datetime | None
    last: datetime | None
    alerts: int
    keys: tuple[str, ...]
    sources: Counts
    destinations: Counts
    ports: Counts
    source_count: int
    destination_count: int
    port_count: int
    file: str
    kind: str | None
    family: str | None
    reason: str
    level: str
    score: float
    severity: Severity
    evidence: float | None
    suppressed_by: str | None = None
    merged_into: str | None = None

    @property
    def hosts(self) -> Counts:
        """Its commonest sources and destinations together, with counts of alerts."""
        return _most(Counter(dict(self.sources)) + Counter(dict(self.destinations)))

    @property
    def false_per_million(self) -> float | None:
        """At most so many incidents as strong as this one arise per million benign records; None for no bound."""
        return None if self.evidence is None else evidences.false_per_million(self.evidence)


def incident_of(stretch: Stretch, members: Sequence[Item], rules: IncidentRules) -> Incident:
    """What the items that chose a stretch are together; those that chose others count as no alerts."""
    cut = [stretch] if len(members) == len(stretch.items) else stretches(stretch.name, members, rules.gap)
    found = None if any(each.evidence is None for each in cut) else max(each.evidence or 0.0 for each in cut)
    first, last = members[0], members[-1]
    strongest = min(members, key=lambda item: (item.p_value, -item.score, item.order))
    sources, destinations, ports = (
        Counter(str(value) for item in members if (value := getattr(item, name)) is not None)
        for name in ("src_ip", "dst_ip", "dst_port")
    )
    return Incident(
        incident=key_of_first(first),
        view=stretch.view,
        record_id=first.record_id,
        first=_moment(first),
        last=_moment(last),
        alerts=len(members),
        keys=tuple(item.alert for item in members[: rules.keys]),
        sources=_most(sources),
        destinations=_most(destinations),
        ports=_most(ports),
        source_count=len(sources),
        destination_count=len(destinations),
        port_count=len(ports),
        file=first.source_file,
        kind=_commonest(item.kind for item in members),
        family=_commonest(item.family for item in members),
        reason=strongest.reason,
        level=max((item.level for item in members), key=lambda level: float(level.removeprefix("p"))),
        score=max(item.score for item in members),
        severity="low"
        if found is None and any(item.is_early for item in members)
        else severity(found, len(members), rules),
        evidence=found,
        suppressed_by=first.rule,
    )


def key_of_first(item: Item) -> str:
    """The key of an incident by its first record."""
    return hashlib.sha256(f"incident {item.record_id:016x} {item.rule or ''}".encode()).hexdigest()[:16]


def severity(evidence: float | None, alerts: int, rules: IncidentRules) -> Severity:
    """The severity by the evidence; where there is none, several alerts are ``medium`` and one is ``low``."""
    if evidence is None:
        return "medium" if alerts > 1 else "low"
    bounds: tuple[tuple[Severity, float], ...] = (
        ("critical", rules.critical),
        ("high", rules.high),
        ("medium", rules.medium),
    )
    return next((name for name, bound in bounds if evidence >= evidences.needed(bound)), "low")


def _most(counts: Counter[str]) -> Counts:
    if len(counts) < 2:
        return tuple(counts.items())
    return tuple(sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:SHOWN])


def _commonest(words: Iterable[str | None]) -> str | None:
    counts = _most(Counter(word for word in words if word is not None))
    return counts[0][0] if counts else None


def _moment(item: Item) -> datetime | None:
    return None if item.time is None else EPOCH + timedelta(microseconds=item.time)

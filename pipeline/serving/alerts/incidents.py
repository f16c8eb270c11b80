"""Alerts that belong together, as one incident.

An alert belongs to a stretch of its source, of its destination, of the pair of both, or of its file where it has no
addresses; see ``stretches``. It chooses the stretch with the strongest evidence; see ``evidence``. An incident is all
alerts that chose one stretch. So a scan of one host is one incident of a pair, a sweep over many hosts one of their
source, and a flood from many sources one of their destination. A destination can be chosen only if its alerts have at
least ``many`` sources: two attackers of one server are two incidents. Where nobody counted the records between alerts,
the stretch with the most alerts is chosen, and the evidence is None.

The kind of reason does not tell incidents apart, because one scan raises alerts of several kinds. An incident says
which kind is the commonest.

All this depends on the set of alerts alone: neither on the order in which they come, nor on how they are cut into files
and parts. A record is one alert however often it comes; of several models the newest version counts. A late alert, or
one of a clock that runs backwards, goes to the place that its time says. It may join two incidents: then the earlier
one goes on, and the later one is merged into it.

``Grouping`` takes alerts as they come. It remembers the last ``remembered`` of them, by their time. What it forgets
stays as it was returned last. An incident that has more alerts than that goes on under a new key.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pipeline.serving.alerts.incident import SEVERITIES, Incident, Severity, incident_of
from pipeline.serving.alerts.schema import Alert
from pipeline.serving.alerts.stretches import DESTINATION, VIEWS, Item, Line, Name, Order, Stretch
from pipeline.serving.alerts.traces import Trace
from pipeline.settings.alerts import IncidentRules

__all__ = ["SEVERITIES", "Grouping", "Incident", "Severity", "incidents_of"]
StretchKey = tuple[Name, Order]


def incidents_of(
    alerts: Iterable[Alert | Item], rules: IncidentRules, traces: Mapping[int, Trace] | None = None
) -> list[Incident]:
    """The incidents of all these alerts, in the order of their first alerts.

    Args:
        alerts: in any order.
        rules: how they are grouped.
        traces: record id -> what the records around it add, see ``traces``. Without them no evidence is computed.
    """
    grouping = Grouping(rules, forgets=False)
    grouping.add(alerts, traces)
    return grouping.incidents()


class Grouping:
    """Groups alerts as they come.

    Args:
        rules: how they are grouped.
        forgets: whether it remembers no more alerts than ``remembered`` of the rules.
    """

    def __init__(self, rules: IncidentRules, forgets: bool = True) -> None:
        self.rules, self.forgets = rules, forgets
        self._items: dict[int, Item] = {}  # by record
        self._lines: dict[Name, Line] = {}
        self._stretches: dict[StretchKey, Stretch] = {}
        self._of: dict[Order, dict[str, StretchKey]] = {}  # of each item its stretches, by view
        self._chosen: dict[Order, StretchKey] = {}  # and that which it belongs to
        self._incidents: dict[StretchKey, Incident] = {}

    def add(self, alerts: Iterable[Alert | Item], traces: Mapping[int, Trace] | None = None) -> list[Incident]:
        """Take alerts; returns the incidents that changed, those that were merged into others among them.

        Args:
            alerts: in any order; one that came before changes nothing.
            traces: record id -> what the records around it add; an ``Item`` may have it already.
        """
        added, removed = self._new(alerts, traces or {})
        changed = self._changed(added, removed) if added else []
        self._forget()
        return changed

    def incidents(self) -> list[Incident]:
        """All that it remembers, in the order of their first alerts."""
        return [self._incidents[key] for key in sorted(self._incidents, key=lambda key: (key[1], key[0]))]

    def _new(self, alerts: Iterable[Alert | Item], traces: Mapping[int, Trace]) -> tuple[list[Item], list[Item]]:
        """What comes in, and what it takes the place of."""
        added, removed = dict[int, Item](), list[Item]()
        for alert in alerts:
            item = alert if isinstance(alert, Item) else Item.of(alert)
            item = item._replace(trace=traces.get(item.record_id, item.trace))
            before = added.get(item.record_id) or self._items.get(item.record_id)
            if before is None or _rank(item) > _rank(before):
                added[item.record_id] = item
        removed += [self._items[each] for each in added if each in self._items]
        self._items |= added
        return [*added.values()], removed

    def _changed(self, added: Sequence[Item], removed: Sequence[Item]) -> list[Incident]:
        """Group anew what the change touches; returns the incidents that are not what they were."""
        touched = self._cut(added, removed)
        gone = {item.order for item in removed} - {item.order for item in added}
        keys = {self._chosen.pop(order) for order in touched if order in self._chosen}
        known: dict[tuple[StretchKey, ...], StretchKey] = {}  # items of the same stretches choose the same one
        for order in touched - gone:
            among = tuple(self._of[order].values())
            if among not in known:
                known[among] = self._choice(order)
            self._chosen[order] = known[among]
        keys |= {*known.values()}
        before = [self._incidents.pop(key) for key in keys if key in self._incidents]
        for key in keys & self._stretches.keys():
            if members := [item for item in self._stretches[key].items if self._chosen[item.order] == key]:
                self._incidents[key] = incident_of(self._stretches[key], members, self.rules)
        return self._differences(before, [self._incidents[key] for key in sorted(keys & self._incidents.keys())])

    def _cut(self, added: Sequence[Item], removed: Sequence[Item]) -> set[Order]:
        """Cut the lines anew that the change touches; returns the items of stretches that changed."""
        touched = {item.order for item in removed}
        for name, (new, old) in _by_line(added, removed).items():
            line = self._lines.setdefault(name, Line(name, self.rules.gap))
            before, after = line.change(new, old)
            same = {each.key: each.items for each in before}
            for each in before:
                del self._stretches[each.key]
            for each in after:
                self._stretches[each.key] = each
                if same.pop(each.key, None) != each.items:
                    touched |= {item.order for item in each.items}
                    for item in each.items:
                        self._of.setdefault(item.order, {})[each.view] = each.key
            if not line.items:
                del self._lines[name]
        for order in {item.order for item in removed} - {item.order for item in added}:
            del self._of[order]
        return touched

    def _choice(self, order: Order) -> StretchKey:
        """The stretch that an item belongs to; of equals the first in the order of ``VIEWS``."""
        found = [self._stretches[key] for view in VIEWS if (key := self._of[order].get(view)) is not None]
        allowed = [each for each in found if each.view != DESTINATION or each.sources >= self.rules.many] or found
        if any(each.evidence is None for each in allowed):
            return max(allowed, key=lambda each: len(each.items)).key
        return max(allowed, key=lambda each: each.evidence or 0.0).key

    def _differences(self, before: Sequence[Incident], after: Sequence[Incident]) -> list[Incident]:
        known, now = {each.incident: each for each in before}, {each.incident for each in after}
        merged = [
            replace(each, alerts=0, keys=(), merged_into=self._holder(each))
            for each in before
            if each.incident not in now
        ]
        return [*(each for each in after if known.get(each.incident) != each), *merged]

    def _holder(self, incident: Incident) -> str | None:
        """The incident that has the first record of this one now."""
        item = self._items.get(incident.record_id)
        return None if item is None else self._incidents[self._chosen[item.order]].incident

    def _forget(self) -> None:
        """Forget the oldest alerts, a tenth more than needs be, so that this is seldom done."""
        if not self.forgets or len(self._items) <= self.rules.remembered:
            return
        oldest = sorted(self._items.values(), key=lambda item: item.order)
        dropped = oldest[: len(oldest) - int(0.9 * self.rules.remembered)]
        for item in dropped:
            del self._items[item.record_id]
        self._changed([], dropped)


def _rank(item: Item) -> tuple[int, str]:
    return item.model_version, item.alert


def _by_line(added: Sequence[Item], removed: Sequence[Item]) -> dict[Name, tuple[list[Item], list[Item]]]:
    found: dict[Name, tuple[list[Item], list[Item]]] = {}
    for place, items in enumerate((added, removed)):
        for item in items:
            for _, name in item.lines():
                found.setdefault(name, ([], []))[place].append(item)
    return found

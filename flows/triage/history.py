"""The log of labels as a page shows it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from flows.triage.filters import MARKS
from flows.triage.index import Snapshot
from flows.triage.marks import Said
from flows.triage.paging import Pages
from pipeline.artifacts.labels import Label
from pipeline.serving.alerts.schema import Alert

PER_PAGE = 100


class Entry(NamedTuple):
    """A line of the log of labels.

    Attributes:
        label: it.
        stands: whether nobody took it back.
        holds: whether it is the last that stands on its record.
        is_own_last: whether it is the last of this person that stands there, so that they can take it back.
        alert: key of the first alert on the record; "" for none.
        then: that alert, which has what its model said; None for none.
    """

    label: Label
    stands: bool
    holds: bool
    is_own_last: bool
    alert: str
    then: Alert | None


def entries(said: Said, part: slice | None = None) -> list[Entry]:
    """The lines of the log, the latest first."""
    places = range(len(said.history) - 1, -1, -1)
    return [_entry(said, place) for place in (places if part is None else places[part])]


def _entry(said: Said, place: int) -> Entry:
    label = said.history[place]
    holds = said.last.get(label.record_id) is label
    return Entry(label, place in said.standing, holds, place in said.own_last, "", None)


@dataclass(frozen=True)
class History:
    """The log of labels.

    Attributes:
        entries: of this page, the latest first.
        pages: which one it is.
        counts: how many records have each mark that stands.
        attacks: name of an attack -> how many records.
    """

    entries: list[Entry]
    pages: Pages
    counts: Mapping[str, int]
    attacks: Mapping[str, int]


def history(shown: Snapshot, said: Said, page: str = "") -> History:
    """A page of the log, each label with the first alert on its record."""
    pages, part = Pages.cut(page, len(said.history), PER_PAGE)
    found = entries(said, part)
    rows = [shown.rows_of_record(entry.label.record_id)[:1] for entry in found]
    alerts = iter(shown.alerts(np.concatenate([np.zeros(0, np.intp), *rows])))
    with_alerts = [
        entry._replace(alert=alert.alert, then=alert) if len(row) and (alert := next(alerts)) else entry
        for entry, row in zip(found, rows, strict=True)
    ]
    counts = {verdict: said.verdicts.count(verdict) for verdict in MARKS[1:]}
    attacks: dict[str, int] = {}
    for label in said.last.values():
        attacks[label.attack] = attacks.get(label.attack, 0) + 1
    return History(with_alerts, pages, counts, dict(sorted(attacks.items(), key=lambda item: (-item[1], item[0]))))

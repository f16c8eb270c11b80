"""What each page shows, gathered from alerts, incidents and marks; the templates only lay it out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flows.triage import drawings
from flows.triage.drawings import Drawn, Timeline
from flows.triage.filters import ALL, DONE, MARKS, OPEN, SUPPRESSED, Filter, codes_of
from flows.triage.grouping import Incident
from flows.triage.index import NO_TIME, Rows, Snapshot
from flows.triage.marks import Said
from pipeline.artifacts.labels import Label
from pipeline.serving import labelling
from pipeline.serving.alerts.schema import Alert
from pipeline.serving.labelling import Found

PER_QUEUE, PER_INCIDENT, PER_HISTORY = 50, 100, 100


class Pages(NamedTuple):
    """Which of several pages is shown, counted from 1."""

    at: int
    of: int
    total: int

    @classmethod
    def cut(cls, asked: str, total: int, each: int) -> tuple["Pages", slice]:
        """The page that is asked for, or the nearest there is, and its part of ``total`` things."""
        last = max(1, -(-total // each))
        at = min(max(1, int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 10 else 1), last)
        return cls(at, last, total), slice((at - 1) * each, at * each)


class Line(NamedTuple):
    """An incident in the queue: how many of its alerts fit the filter, and how many have each mark of ``MARKS``."""

    incident: Incident
    fitting: int
    marks: tuple[int, ...]


@dataclass(frozen=True)
class Queue:
    """Incidents by severity.

    Attributes:
        lines: of this page.
        pages: which one it is.
        alerts: that fit the filter, of all incidents.
        states: how many incidents are in each state.
        severities: how many of those that fit have each severity.
    """

    lines: list[Line]
    pages: Pages
    alerts: int
    states: Mapping[str, int]
    severities: Mapping[str, int]


def queue(shown: Snapshot, said: Said, asked: Filter, page: str = "") -> Queue:
    """The incidents that have an alert which fits the filter."""
    codes = codes_of(shown, said)
    kept = asked.rows(shown, codes) & (shown.of >= 0)
    n, places = len(shown.incidents), shown.of[shown.of >= 0]
    marks = np.bincount(places * 4 + codes[shown.of >= 0], minlength=4 * n).reshape(n, 4)
    fitting = np.bincount(shown.of[kept], minlength=n)
    candidates = [place for place in np.flatnonzero(fitting).tolist() if _fits(shown.incidents[place], asked)]
    by_state = {state: [each for each in candidates if state in _states(shown, each, marks)] for state in _ORDER}
    chosen = by_state[asked.state]
    pages, part = Pages.cut(page, len(chosen), PER_QUEUE)
    severities: dict[str, int] = {}
    for place in chosen:
        severities[shown.incidents[place].severity] = severities.get(shown.incidents[place].severity, 0) + 1
    lines = [Line(shown.incidents[at], int(fitting[at]), tuple(marks[at].tolist())) for at in chosen[part]]
    counts = {state: len(found) for state, found in by_state.items()}
    return Queue(lines, pages, int(fitting[chosen].sum()), counts, severities)


_ORDER: Final = (OPEN, DONE, SUPPRESSED, ALL)


def _states(shown: Snapshot, place: int, marks: NDArray[np.int64]) -> tuple[str, str]:
    if shown.incidents[place].suppressed_by:
        return SUPPRESSED, ALL
    return (OPEN if marks[place, 0] else DONE), ALL


def _fits(incident: Incident, asked: Filter) -> bool:
    """Whether severity and kind are those that are asked for."""
    if asked.severity and incident.severity != asked.severity:
        return False
    words = f"{incident.kind or ''} {incident.family or ''} {incident.reason}".lower()
    return not asked.kind or asked.kind.lower() in words


class Row(NamedTuple):
    """An alert in a table, with the last label of its record."""

    alert: Alert
    label: Label | None


@dataclass(frozen=True)
class Case:
    """One incident.

    Attributes:
        incident: it.
        rows: the alerts of this page, the earliest first.
        pages: which one it is.
        timeline: of all alerts that fit; None where none has a time.
        top: the strongest alert, whose reasons are drawn.
        drawn: its reasons.
        versions: of the models that raised alerts.
        marks: how many alerts have each mark of ``MARKS``.
    """

    incident: Incident
    rows: list[Row]
    pages: Pages
    timeline: Timeline | None
    top: Alert
    drawn: list[Drawn]
    versions: list[int]
    marks: tuple[int, ...]


def case(shown: Snapshot, said: Said, asked: Filter, place: int, page: str = "") -> Case:
    """The incident at a place, with those of its alerts that fit the filter."""
    members = shown.members(place)
    codes = codes_of(shown, said)
    kept = members[asked.rows(shown, codes)[members]]
    pages, part = Pages.cut(page, len(kept), PER_INCIDENT)
    p_values = shown.table.column("p_value").to_numpy()[members]
    (top,) = shown.alerts(members[[int(np.argmin(p_values))]])
    rows = [Row(alert, said.last.get(alert.record_id)) for alert in shown.alerts(kept[part])]
    marks = np.bincount(codes[members], minlength=4)
    return Case(
        shown.incidents[place],
        rows,
        pages,
        drawings.timeline(shown.time[kept]),
        top,
        drawings.drawn(top.reasons),
        np.unique(shown.version[members]).tolist(),
        tuple(marks.tolist()),
    )


class Beside(NamedTuple):
    """A raw column of an alert's record beside that of its neighbours; None where they do not have it."""

    name: str
    values: tuple[Any, ...]
    reason: bool


@dataclass(frozen=True)
class Detail:
    """One alert.

    Attributes:
        row: it, and its label.
        incident: that it belongs to, or None.
        drawn: its reasons.
        neighbours: who they are, each with its record id: the most similar benign record, the most similar attack.
        columns: raw values of the record, then those of each neighbour.
        kept: whether raw values are kept of the record, so that it can be marked.
        others: alerts of other models on the same record.
        history: what people said of the record, the latest first; those that were taken back among them.
    """

    row: Row
    incident: Incident | None
    drawn: list[Drawn]
    neighbours: list[tuple[str, int]]
    columns: list[Beside]
    kept: bool
    others: list[Alert]
    history: list["Entry"]


def detail(shown: Snapshot, said: Said, row: int) -> Detail:
    """The alert in a row."""
    (alert,) = shown.alerts(np.array([row]))
    benign, attack = alert.similar_benign, alert.similar_attack
    neighbours = [("most similar benign record", benign)] if benign is not None else []
    neighbours += [(f"most similar {alert.similar_attack_name or 'attack'}", attack)] if attack is not None else []
    found = labelling.search({alert.record_id, *(number for _, number in neighbours)})
    others = [each for each in shown.rows_of_record(alert.record_id).tolist() if each != row]
    place = int(shown.of[row])
    return Detail(
        Row(alert, said.last.get(alert.record_id)),
        shown.incidents[place] if place >= 0 else None,
        drawings.drawn(alert.reasons),
        neighbours,
        _beside(alert, found, [number for _, number in neighbours]),
        alert.record_id in found,
        shown.alerts(np.array(others, dtype=np.intp)),
        [entry for entry in _entries(shown, said) if entry.label.record_id == alert.record_id],
    )


def _beside(alert: Alert, found: Mapping[int, Found], neighbours: Sequence[int]) -> list[Beside]:
    """The columns that gave a reason first, then those of the record, by name."""
    reasons = [reason.feature for reason in alert.reasons]
    columns = [found[each].columns if each in found else {} for each in (alert.record_id, *neighbours)]
    names = [name for name in reasons if any(name in each for each in columns)]
    names += sorted({*columns[0]} - {*names})
    return [Beside(name, tuple(each.get(name) for each in columns), name in reasons) for name in dict.fromkeys(names)]


class Entry(NamedTuple):
    """A line of the log of labels.

    Attributes:
        label: it.
        stands: whether nobody took it back.
        holds: whether it is the last that stands on its record.
        alert: key of an alert on the record; "" for none.
        then: the verdict of the model that raised the alert; "" for none.
    """

    label: Label
    stands: bool
    holds: bool
    alert: str
    then: Alert | None


def _entries(shown: Snapshot, said: Said, part: slice | None = None) -> list[Entry]:
    """The lines of the log, the latest first."""
    places = range(len(said.history) - 1, -1, -1)
    return [_entry(shown, said, place) for place in (places if part is None else places[part])]


def _entry(shown: Snapshot, said: Said, place: int) -> Entry:
    label = said.history[place]
    return Entry(label, place in said.standing, said.last.get(label.record_id) is label, "", None)


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
    pages, part = Pages.cut(page, len(said.history), PER_HISTORY)
    entries = _entries(shown, said, part)
    rows = [shown.rows_of_record(entry.label.record_id)[:1] for entry in entries]
    alerts = iter(shown.alerts(np.concatenate([np.zeros(0, np.intp), *rows])))
    with_alerts = [
        entry._replace(alert=alert.alert, then=alert) if len(row) and (alert := next(alerts)) else entry
        for entry, row in zip(entries, rows, strict=True)
    ]
    counts = {verdict: said.verdicts.count(verdict) for verdict in MARKS[1:]}
    attacks: dict[str, int] = {}
    for label in said.last.values():
        attacks[label.attack] = attacks.get(label.attack, 0) + 1
    return History(with_alerts, pages, counts, dict(sorted(attacks.items(), key=lambda item: (-item[1], item[0]))))


def moment(when: datetime | int | None, seconds: bool = True) -> str:
    """A time in UTC for people; "" for none. A number counts microseconds since 1970."""
    if when is None or when == NO_TIME:
        return ""
    if not isinstance(when, datetime):
        when = datetime.fromtimestamp(when / 1e6, UTC)
    return when.strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")


def since(first: datetime, last: datetime) -> str:
    """When something began that lasted until ``last``: without the date where that is the same."""
    return f"{first:%H:%M}" if first.date() == last.date() else f"{first:%Y-%m-%d %H:%M}"


def span(seconds: float) -> str:
    """A length of time for people."""
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size and seconds % size == 0:
            n = round(seconds / size)
            return f"{n} {word}{'s' * (n > 1)}"
    return f"{seconds:g} second{'s' * (seconds != 1)}"


def raw(value: Any) -> str:
    """A value of a raw column for people; "" for none."""
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.6g}"
    return "" if value is None else str(value)


def share(value: float | None) -> str:
    """A share in percent; a dash for none."""
    return "–" if value is None else f"{100 * value:.3g} %"


def selected(shown: Snapshot, alerts: Sequence[str], incidents: Sequence[str], records: Sequence[int]) -> list[int]:
    """Ids of the records that a form names, by alerts, by whole incidents or by themselves; each once, as given."""
    rows = [shown.row_of[key] for key in alerts if key in shown.row_of]
    parts: list[Rows] = [shown.members(shown.place_of[key]) for key in incidents if key in shown.place_of]
    every = np.concatenate([np.array(rows, dtype=np.intp), *parts])
    return [*dict.fromkeys([*shown.record_id[every].tolist(), *records])]

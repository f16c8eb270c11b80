"""What each page shows, gathered from alerts, incidents and marks; the templates only lay it out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flows.triage import drawings
from flows.triage.drawings import Drawn, Timeline
from flows.triage.filters import ALL, DONE, OPEN, STATES, SUPPRESSED, WEAK, Filter, codes_of
from flows.triage.grouping import Incident
from flows.triage.history import Entry, entries
from flows.triage.index import Rows, Snapshot
from flows.triage.marks import Said
from flows.triage.paging import Pages
from pipeline.artifacts.labels import Label
from pipeline.serving import labelling
from pipeline.serving.alerts.schema import Alert
from pipeline.serving.labelling import Found

PER_QUEUE, PER_INCIDENT = 50, 100
LOW: Final = "low"  # the severity of an incident with too little evidence


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
    by_state = {state: [each for each in candidates if state in _states(shown, each, marks)] for state in STATES}
    chosen = by_state[asked.state]
    pages, part = Pages.cut(page, len(chosen), PER_QUEUE)
    severities: dict[str, int] = {}
    for place in chosen:
        severities[shown.incidents[place].severity] = severities.get(shown.incidents[place].severity, 0) + 1
    lines = [Line(shown.incidents[at], int(fitting[at]), tuple(marks[at].tolist())) for at in chosen[part]]
    counts = {state: len(found) for state, found in by_state.items()}
    return Queue(lines, pages, int(fitting[chosen].sum()), counts, severities)


def _states(shown: Snapshot, place: int, marks: NDArray[np.int64]) -> tuple[str, str]:
    incident = shown.incidents[place]
    if incident.suppressed_by:
        return SUPPRESSED, ALL
    if not marks[place, 0]:
        return DONE, ALL
    return (WEAK if incident.severity == LOW else OPEN), ALL


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
    history: list[Entry]


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
        [entry for entry in entries(said) if entry.label.record_id == alert.record_id],
    )


def _beside(alert: Alert, found: Mapping[int, Found], neighbours: Sequence[int]) -> list[Beside]:
    """The columns that gave a reason first, then those of the record, by name."""
    reasons = [reason.feature for reason in alert.reasons]
    columns = [found[each].columns if each in found else {} for each in (alert.record_id, *neighbours)]
    names = [name for name in reasons if any(name in each for each in columns)]
    names += sorted({*columns[0]} - {*names})
    return [Beside(name, tuple(each.get(name) for each in columns), name in reasons) for name in dict.fromkeys(names)]


def selected(shown: Snapshot, alerts: Sequence[str], incidents: Sequence[str], records: Sequence[int]) -> list[int]:
    """Ids of the records that a form names, by alerts, by whole incidents or by themselves; each once, as given."""
    rows = [shown.row_of[key] for key in alerts if key in shown.row_of]
    parts: list[Rows] = [shown.members(shown.place_of[key]) for key in incidents if key in shown.place_of]
    every = np.concatenate([np.array(rows, dtype=np.intp), *parts])
    return [*dict.fromkeys([*shown.record_id[every].tolist(), *records])]

"""Alerts of one host that come close together: its stretches.

An alert stands in up to three lines: that of its source, of its destination, and of the pair of both. An alert without
addresses stands in the line of its file. A line is in the order of time, then of source file and row. Where alerts have
no time, each file has lines of its own, in the order of rows. Here a line is cut into stretches, as ``evidence``
describes. Where nobody counted the records between the alerts, only a gap in time ends a stretch.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Self

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.serving.alerts.evidence import shared
from pipeline.serving.alerts.schema import Alert
from pipeline.serving.alerts.traces import SECOND, Trace

SOURCE, DESTINATION, PAIR, FILE = VIEWS = ("source", "destination", "pair", "file")
EPOCH: Final = datetime(1970, 1, 1)  # times of records are in UTC, without saying so
Order = tuple[int, str, int, int]  # time in microseconds or 0, source file, row, record id
Name = tuple[str, ...]  # of a line
SAME: Final = (  # attributes of an alert that are taken as they are
    "alert",
    "record_id",
    "src_ip",
    "dst_ip",
    "dst_port",
    "source_file",
    "row",
    "p_value",
    "score",
    "level",
    "kind",
    "family",
    "model_version",
)


class Item(NamedTuple):
    """What is needed of an alert to group it; ``time`` in microseconds since 1970, ``reason`` the strongest one."""

    order: Order
    alert: str
    record_id: int
    time: int | None
    src_ip: str | None
    dst_ip: str | None
    dst_port: int | None
    source_file: str
    row: int
    p_value: float
    score: float
    level: str
    kind: str | None
    family: str | None
    reason: str
    model_version: int
    trace: Trace | None = None
    rule: str | None = None  # of suppression
    is_early: bool = False  # the records around it are not stored yet

    @classmethod
    def of(cls, alert: Alert) -> Self:
        """An alert, but for its trace."""
        time = None if alert.time is None else (alert.time.replace(tzinfo=None) - EPOCH) // timedelta(microseconds=1)
        reason = alert.reasons[0].text if alert.reasons else ""
        order = (time or 0, alert.source_file, alert.row, alert.record_id)
        same = {name: getattr(alert, name) for name in SAME}
        return cls(order=order, time=time, reason=reason, **same)

    def lines(self) -> Iterator[tuple[str, Name]]:
        """The lines that it stands in: view and name."""
        part = (self.rule or "", "" if self.time is not None else self.source_file)
        if self.src_ip is not None:
            yield SOURCE, (SOURCE, *part, self.src_ip)
        if self.dst_ip is not None:
            yield DESTINATION, (DESTINATION, *part, self.dst_ip)
        if self.src_ip is not None and self.dst_ip is not None:
            yield PAIR, (PAIR, *part, self.src_ip, self.dst_ip)
        if self.src_ip is None and self.dst_ip is None:
            yield FILE, (FILE, *part, self.source_file)


def items_of(table: pa.Table) -> list[Item]:
    """The rows of a table of alerts; quicker than by ``Alert``."""
    columns = [table.column(name).to_pylist() for name in SAME]
    times, reasons = table.column("time").cast(pa.int64()).to_pylist(), _first_reasons(table.column("reasons"))
    found = []
    for time, reason, *values in zip(times, reasons, *columns, strict=True):
        same = dict(zip(SAME, values, strict=True))
        order = (time or 0, same["source_file"], same["row"], same["record_id"])
        found.append(Item(order=order, time=time, reason=reason, **same))
    return found


def _first_reasons(column: pa.ChunkedArray) -> list[str]:
    """(n,) texts of the strongest reasons; "" for none."""
    found = [""] * len(column)
    lists = column.combine_chunks()
    first = pc.list_slice(lists, 0, 1)
    texts = pc.struct_field(pc.list_flatten(first), "text").to_pylist()
    for place, text in zip(pc.list_parent_indices(first).to_pylist(), texts, strict=True):
        found[place] = text or ""
    return found


@dataclass(frozen=True)
class Stretch:
    """Alerts of one line without an end between them.

    Attributes:
        name: of the line.
        items: in their order.
        evidence: log10 of the largest M that they reach, up to the first one around which nobody counted the records;
            None where that is the first of all.
        sources: how many sources they have, where the line is of a destination.
    """

    name: Name
    items: Sequence[Item] = field(repr=False)
    evidence: float | None
    sources: int

    @property
    def view(self) -> str:
        """Which of ``VIEWS`` it is."""
        return self.name[0]

    @property
    def key(self) -> tuple[Name, Order]:
        """What tells it from others."""
        return self.name, self.items[0].order


def stretches(name: Name, items: Sequence[Item], gap: float) -> list[Stretch]:
    """The stretches of a line.

    Args:
        name: of the line.
        items: in their order.
        gap: seconds without an alert that end a stretch.
    """
    view, found = name[0], list[Stretch]()
    begin, reached, most, is_counted = 0, 0, 0, True
    for place, item in enumerate(items):
        runup = 0 if item.trace is None else getattr(item.trace, view).runup
        kept = _kept(items[place - 1], item, view, gap, reached) if place else -1
        if place and kept <= runup:
            found.append(_stretch(name, items[begin:place], most))
            begin, reached, most = place, 0, 0
        reached = max(kept, runup) + (0 if item.trace is None else getattr(item.trace, view).gain)
        is_counted = item.trace is not None and (is_counted or place == begin)
        most = max(most, reached) if is_counted else most
    if items:
        found.append(_stretch(name, items[begin:], most))
    return found


def _kept(before: Item, after: Item, view: str, gap: float, reached: int) -> int:
    """What is left of the M of one alert when the next one comes; -1 where a stretch ends in any case.

    That is after a gap in time, and where a record came later than one that is younger: what lies between is not known.
    Where nobody counted the records between, more than all is left, so that the stretch goes on.
    """
    if before.time is not None and after.time is not None and after.time - before.time > gap * SECOND:
        return -1
    if before.trace is None or after.trace is None:
        return reached + 1
    if after.trace.place < before.trace.place:
        return -1
    return reached + int(getattr(after.trace, view).before - getattr(before.trace, view).before)


def _stretch(name: Name, items: Sequence[Item], most: int) -> Stretch:
    is_counted = items[0].trace is not None
    sources = len({item.src_ip for item in items}) if name[0] == DESTINATION else 1
    return Stretch(name, items, shared(name[0], most) if is_counted else None, sources)


class Line:
    """A line that grows: its items in order, and the stretches of them."""

    def __init__(self, name: Name, gap: float) -> None:
        self.name, self.gap = name, gap
        self.items: list[Item] = []
        self.stretches: list[Stretch] = []

    def change(self, added: Sequence[Item], removed: Sequence[Item] = ()) -> tuple[list[Stretch], list[Stretch]]:
        """Add and remove items; returns the stretches that are no longer, and those that are new.

        What comes later changes no stretch that has ended before. So only those from the first change on are cut again.
        """
        if not self.items:
            self.items = sorted(added)
            self.stretches = stretches(self.name, self.items, self.gap)
            return [], self.stretches
        first = min(each.order for each in (*added, *removed))
        gone = {each.order for each in removed}
        place = max(0, bisect_left([each.items[0].order for each in self.stretches], first) - 1)
        begin = bisect_left(self.items, self.stretches[place].items[0].order, key=lambda item: item.order)
        kept = [item for item in self.items[begin:] if item.order not in gone]
        self.items[begin:] = sorted([*kept, *added], key=lambda item: item.order)
        old, new = self.stretches[place:], stretches(self.name, self.items[begin:], self.gap)
        self.stretches[place:] = new
        return old, new

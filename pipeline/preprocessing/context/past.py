"""The context of records: what their source, their destination and the pair of both did shortly before.

One pass over the records in the order of time. A record sees those before it, and never itself or a later one. Of
records with the same time, each sees those that were given before it. Memory is bounded: the last ``most`` records are
remembered, whoever sent them. So a count is exact as long as a window holds fewer records than that, of all hosts
together; beyond it, the count is that of the last ``most`` records, and too low.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.preprocessing.context.latest import Latest
from pipeline.preprocessing.context.regularity import regularity
from pipeline.preprocessing.context.talks import Ints, Mask, Talks
from pipeline.preprocessing.context.windows import Floats, Grouped, Window, distinct, first_in_window, totals

Matrix = NDArray[np.float32]

FEW: Final = 4  # of so many records at least, the context of one is asked for: then only what it needs is counted
AT_ONCE: Final = 65_536  # records, at least: each step looks at all that are remembered once more
SIDES: Final = ("source", "destination", "pair")
GAP_COLUMNS: Final = ("gaps", "gap_mean", "gap_variation")
_SECOND: Final = 1_000_000
# Of one side in one window. Hosts are those on the other side; a pair has none.
_PER_WINDOW: Final = ("records", "ports", "port_entropy", "failed_share", "sent", "received", "hosts")


def columns(windows: Sequence[float]) -> tuple[str, ...]:
    """The names of the features, for windows in seconds."""
    named = [f"{side}_{name}_{window:g}s" for side in SIDES for window in windows for name in _named(side)]
    return (*named, *GAP_COLUMNS)


def _named(side: str) -> tuple[str, ...]:
    return _PER_WINDOW[:-1] if side == "pair" else _PER_WINDOW


@dataclass
class Past:
    """Remembers the last records, and gives each new one its context.

    Attributes:
        windows: lengths in seconds, ascending.
        most: records that are remembered.
        remembered: the last records, in the order of time.
    """

    windows: Sequence[float]
    most: int
    remembered: Talks = field(default_factory=Talks.none, repr=False)

    def add(self, talks: Talks) -> Matrix:
        """(n, F) context of n records, in the order of time and none before those that are remembered.

        Raises:
            ValueError: a record is earlier than the one before it.
        """
        old, both = len(self.remembered), Talks.joined(self.remembered, talks)
        if (np.diff(both.time) < 0).any():
            raise ValueError("records must come in the order of time")
        found = _features(both, self.windows, self.most)[old:]
        self.remembered = both.take(slice(max(0, len(both) - self.most), None))
        return found


def context(talks: Talks, known: Mask, windows: Sequence[float], most: int, since: int = 0) -> Matrix:
    """(n - since, F) context of the last of n records, NaN in the rows of those that are not ``known``, (n,).

    Records come in any order; each has its place by its own time.

    Args:
        talks: n records.
        known: (n,) which have a time and both addresses.
        windows: lengths in seconds, ascending.
        most: records that are remembered.
        since: records at the start whose context nobody asks for. Where few follow, their context costs little.
    """
    rows = np.flatnonzero(known)
    rows = rows[np.argsort(talks.time[rows], kind="stable")]
    asked = np.flatnonzero(rows >= since)
    if len(asked) * FEW < len(rows):
        found, ordered = _unknown(len(talks) - since, windows), talks.take(rows)
        for part in _on_time_and_late(asked, rows, since):
            found[rows[part] - since] = _latest(ordered, part, windows, most)
        return found
    found, past = _unknown(len(talks), windows), Past(windows, most)
    for part in _parts(rows, past):
        found[part] = past.add(talks.take(part))
    return found[since:]


def _unknown(n: int, windows: Sequence[float]) -> Matrix:
    return np.full((n, len(columns(windows))), np.nan, np.float32)


def _on_time_and_late(asked: Ints, rows: Ints, since: int) -> list[Ints]:
    """Those behind all records before, and those among them: apart, the windows of the first have more in common."""
    old = np.flatnonzero(rows < since)
    late = asked < old[-1]
    return [part for part in (asked[~late], asked[late]) if len(part)]


def _latest(talks: Talks, asked: Ints, windows: Sequence[float], most: int) -> Matrix:
    """(m, F) of some of the records in the order of time: the same bits as those of ``_features``."""
    latest = Latest(talks, asked, most)
    lengths = [round(each * _SECOND) for each in windows]
    sides = (each for side in SIDES for window in latest.windows(side, lengths) for each in _values(window))
    parts = [*sides, *_gap_values(*latest.gaps())]
    return np.stack([np.asarray(each, np.float32) for each in parts], axis=1)


def _parts(rows: Ints, past: Past) -> Iterator[Ints]:
    """Steps that are as long as what is remembered, so that little is looked at more than twice."""
    start = 0
    while start < len(rows):
        length = max(AT_ONCE, len(past.remembered))
        yield rows[start : start + length]
        start += length


def backwards(time: Ints, known: Mask, allowed: float) -> int:
    """How many records lie more than ``allowed`` seconds behind an earlier one: a clock was set back, or logs mixed.

    Args:
        time: (n,) microseconds, in the order of the file.
        known: (n,) which records have a time.
        allowed: seconds by which a record may be late.
    """
    times = time[known]
    return int((np.maximum.accumulate(times) - times > allowed * _SECOND).sum()) if len(times) else 0


def late_sentence(late: int, allowed: float) -> str:
    """What ``backwards`` found, in words."""
    return (
        f"{late:,} records lie more than {allowed:g} s behind an earlier one of their file: a clock was set back, or "
        "logs are mixed. In the context each counts at its own time"
    )


def _features(talks: Talks, windows: Sequence[float], most: int) -> Matrix:
    """(n, F) of n records in the order of time."""
    oldest = [_oldest(talks.time, window, most) for window in windows]
    keys = {"source": (talks.source,), "destination": (talks.destination,), "pair": (talks.source, talks.destination)}
    other = {"source": talks.destination, "destination": talks.source}
    parts = [_side(talks, keys[side], other.get(side), oldest) for side in SIDES]
    return np.concatenate([*parts, _gaps(talks, most)], axis=1)


def _oldest(time: Ints, window: float, most: int) -> Ints:
    """(n,) place of the oldest record that each may see: younger than the window, and one of the last ``most``."""
    by_time = np.searchsorted(time, time - round(window * _SECOND), side="right")
    return np.maximum(by_time, np.arange(len(time)) - most)


def _side(talks: Talks, keys: tuple[Ints, ...], hosts: Ints | None, oldest: Sequence[Ints]) -> Matrix:
    """(n, f) what the records of the same key did, window by window."""
    groups = Grouped.by(*keys)
    ports = _by_value(groups, talks.port)
    others = None if hosts is None else _by_value(groups, hosts)
    parts = []
    for each in oldest:
        first = first_in_window(groups, each)
        failed, sent, received = (
            totals(values[groups.order], first) for values in (talks.failed, talks.sent, talks.received)
        )
        records = np.arange(len(first)) - first
        seen = None if others is None else distinct(*others, first)
        parts += _values(Window(records, distinct(*ports, first), failed, sent, received, seen))
    found = np.empty((len(talks), len(parts)), np.float32)
    found[groups.order] = np.stack(parts, axis=1)
    return found


def _by_value(groups: Grouped, values: Ints) -> tuple[Ints, Ints]:
    """What ``distinct`` takes: the events by key and value, and the number of each."""
    found = Grouped.by(groups.code, values[groups.order])
    return found.order, found.code


def _values(window: Window) -> list[Floats]:
    """The features of a window, (n,) each: counts and bytes as log(1 + n), shares and entropies as they are."""
    share = window.failed / np.maximum(window.records, 1)
    counted, ports = np.log1p(window.records), window.ports
    found = [counted, np.log1p(ports.values), ports.entropy, share, np.log1p(window.sent), np.log1p(window.received)]
    return found if window.hosts is None else [*found, np.log1p(window.hosts.values)]


def _gaps(talks: Talks, most: int) -> Matrix:
    """(n, 3) of the last gaps between records of the same pair and port; see ``GAP_COLUMNS``."""
    groups = Grouped.by(talks.source, talks.destination, talks.port)
    count, mean, variation = regularity(talks.time[groups.order], groups.order, groups.start, most)
    found = np.empty((len(talks), len(GAP_COLUMNS)), np.float32)
    found[groups.order] = np.stack(_gap_values(count, mean, variation), axis=1)
    return found


def _gap_values(count: Ints, mean: Floats, variation: Floats) -> list[Floats]:
    """The features of gaps, (n,) each."""
    return [count.astype(np.float64), np.log1p(mean), variation]

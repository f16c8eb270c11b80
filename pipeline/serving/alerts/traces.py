"""What all scored records, alerts or not, add to the evidence of the alerts.

A line is the records of one source, of one destination, of one pair of both, or of one file where a record has no
address; see ``stretches``. Records come in parts, such as files. In a part they are taken in the order of time, and of
rows at the same time. How records are cut into parts changes nothing, if no part has records from before the end of
the last one. Records without a time have lines of their own in each file.

Some benign records are not independent. Two things allow for that. Their constants were chosen on simulated weeks, see
``benchmarks/incidents.py``:

- A line is compared with its own past, because some benign hosts are always odd. If k of the n records before had a
  p-value of at most 0.05, the levels q of ``evidence`` become (a + k) / (b + 0.05 n) times as large, but never smaller.
  For a new line that factor is a / b. So a source is taken for twice as odd as promised, and a destination for four
  times as odd, as it is often a service unlike others. ``evidence.PRIOR`` has a and b.
- A flow of a connection that was seen in the ``gap`` before is a repetition. A connection is both addresses, both ports
  and the protocol. The e-value of a repetition counts with the exponent ``evidence.REPEATED``.
"""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.serving.alerts import evidence

COLUMNS: Final = (
    "record_id",
    "source_file",
    "row",
    "timestamp",
    "src_ip",
    "src_port",
    "dst_ip",
    "dst_port",
    "protocol",
    "p_value",
)
SECOND: Final = 1_000_000  # microseconds
MOST: Final = 500_000  # lines and connections that are remembered
FAR: Final = 10**12  # a line that was forgotten begins so far below, so that no stretch goes on
Ints = NDArray[np.int64]
Keys = NDArray[np.uint64]
Mask = NDArray[np.bool_]


class Sum(NamedTuple):
    """What an alert and the records before it add in one line, in thousandths of log10 e.

    Attributes:
        gain: the alert itself.
        before: all records of the line before it that are no alerts.
        runup: M just before it, as far as the records since the last alert of the line make it.
    """

    gain: int
    before: int
    runup: int


class Trace(NamedTuple):
    """What stands behind an alert in each of its lines; ``place`` counts all records that were taken."""

    place: int
    source: Sum
    destination: Sum
    pair: Sum
    file: Sum


class _State(NamedTuple):
    """(m,) of each line: sum without alerts, records, unusual ones, M since the last alert, time of the last one."""

    total: Ints
    records: Ints
    unusual: Ints
    runup: Ints
    last: Ints


@dataclass
class Tracer:
    """Takes scored records, part by part.

    Attributes:
        gap: seconds without a record after which what was before does not count.
    """

    gap: float
    _place: int = 0
    _connections: "_Memory" = field(default_factory=lambda: _Memory(1))
    _lines: "_Memory" = field(default_factory=lambda: _Memory(5))

    def add(self, scored: pa.Table, alerts: Keys) -> dict[int, Trace]:
        """Record id of an alert -> its trace.

        Args:
            scored: n records with the ``COLUMNS``, of one file or several.
            alerts: ids of the records that are alerts; one that is not there gets no trace.
        """
        if not scored.num_rows:
            return {}
        table = scored.take(pa.array(_in_time(scored)))
        times, ids = _times(table), table.column("record_id").to_numpy()
        p_value, is_alert = table.column("p_value").to_numpy(), np.isin(ids, alerts)
        lines = _lines(table)
        named = [np.asarray(table.column(name).is_valid(), bool) for name in ("src_ip", "dst_ip")]
        again = self._is_again(_mixed(lines["pair"], *_ports(table)), times) & named[0] & named[1]
        sums = [self._sums(view, line, p_value, times, again, is_alert) for view, line in lines.items()]
        places = (self._place + np.flatnonzero(is_alert)).tolist()
        self._place += len(ids)
        traces = (Trace(*row) for row in zip(places, *sums, strict=True))
        return dict(zip(ids[is_alert].tolist(), traces, strict=True))

    def _is_again(self, connection: Keys, times: Ints) -> Mask:
        """(n,) whether a record of the same connection is at most the gap before."""
        order, first, line = _grouped(connection)
        known, found = self._connections.get(connection[order][first])
        before = np.where(
            first, np.where(known, found[:, 0], times.min() - self._gap - 1)[line], np.roll(times[order], 1)
        )
        again = np.empty(len(order), bool)
        again[order] = times[order] - before <= self._gap
        last = _last(first)
        recent = times[order][last] >= times.max() - self._gap
        self._connections.put(connection[order][first][recent], times[order][last][recent, None], 0)
        return again

    @property
    def _gap(self) -> int:
        return round(self.gap * SECOND)

    def _sums(
        self, view: str, key: Keys, p_value: NDArray[np.float64], times: Ints, again: Mask, is_alert: Mask
    ) -> list[Sum]:
        """Of each alert, in a line of this view."""
        order, first, line = _grouped(key)
        known, stored = self._lines.get(key[order][first])
        old = _State(*np.where(known[:, None], stored, [self._lines.floor, 0, 0, 0, 0]).T)
        p_value, times, ends = p_value[order], times[order], is_alert[order]
        begin = np.flatnonzero(first)[line]
        is_unusual = (p_value <= evidence.UNUSUAL).astype(np.int64)
        whole = np.cumsum(is_unusual)
        unusual, number = whole - (whole - is_unusual)[begin], np.arange(len(line)) - begin
        odd = evidence.odd(view, old.records[line] + number, old.unusual[line] + unusual - is_unusual)
        own = evidence.gains(p_value, again[order], odd)
        calm = np.where(ends, 0, own)
        is_late = np.where(
            first, known[line] & (times - old.last[line] > self._gap), np.diff(times, prepend=0) > self._gap
        )
        runup = _runup(calm, first | is_late | np.r_[False, ends[:-1]], np.where(first & ~is_late, old.runup[line], 0))
        whole = np.cumsum(calm)
        total = old.total[line] + whole - (whole - calm)[begin]
        last = _last(first)
        new = _State(
            total[last], old.records + number[last] + 1, old.unusual + unusual[last],
            np.where(ends, 0, runup)[last], times[last],
        )  # fmt: skip
        self._lines.put(key[order][first], np.stack(new, axis=1), 4)
        back = np.argsort(order)[is_alert]
        return [Sum(*row) for row in np.stack([own, total, runup], axis=1)[back].tolist()]


class _Memory:
    """Numbers by key; of more than ``MOST``, those are forgotten whose time is furthest back."""

    def __init__(self, width: int) -> None:
        self.keys, self.values = np.zeros(0, np.uint64), np.zeros((0, width), np.int64)
        self.floor = 0

    def get(self, keys: Keys) -> tuple[Mask, Ints]:
        """(m,) which are known, and (m, width) their numbers; 0 for the others."""
        found = np.zeros((len(keys), self.values.shape[1]), np.int64)
        known, place = self._places(keys)
        found[known] = self.values[place[known]]
        return known, found

    def put(self, keys: Keys, values: Ints, time: int) -> None:
        """Keep (m, width) numbers of sorted keys; ``time`` is the column of times."""
        known, place = self._places(keys)
        self.values[place[known]] = values[known]
        self.keys = np.insert(self.keys, place[~known], keys[~known])
        self.values = np.insert(self.values, place[~known], values[~known], axis=0)
        if len(self.keys) > MOST:
            newest = np.sort(np.argsort(-self.values[:, time], kind="stable")[: MOST * 9 // 10])
            self.keys, self.values = self.keys[newest], self.values[newest]
            self.floor -= FAR

    def _places(self, keys: Keys) -> tuple[Mask, Ints]:
        """(m,) which keys are known, and (m,) where they are or would be."""
        place = np.searchsorted(self.keys, keys)
        known = np.zeros(len(keys), bool)
        inside = place < len(self.keys)
        known[inside] = self.keys[place[inside]] == keys[inside]
        return known, place


def _in_time(scored: pa.Table) -> Ints:
    files = scored.column("source_file").cast(pa.string()).combine_chunks().dictionary_encode()
    ranks = np.argsort(np.argsort(np.asarray(files.dictionary.to_pylist(), dtype=object)))
    file = ranks[files.indices.to_numpy(zero_copy_only=False)]
    return np.lexsort((scored.column("record_id").to_numpy(), scored.column("row").to_numpy(), file, _times(scored)))


def _times(table: pa.Table) -> Ints:
    """(n,) microseconds; 0 where there is no time."""
    times: Ints = table.column("timestamp").cast(pa.int64()).fill_null(0).to_numpy()
    return times


def _lines(table: pa.Table) -> dict[str, Keys]:
    """View -> (n,) the line of each record; all records that lack the address of a view share one line."""
    source, destination, file = (_hashed(table.column(name)) for name in ("src_ip", "dst_ip", "source_file"))
    has_time = np.asarray(table.column("timestamp").is_valid())
    part = np.where(has_time, np.uint64(0), file)
    words = {"source": (source,), "destination": (destination,), "pair": (source, destination), "file": (file,)}
    return {
        view: _mixed(np.full(len(part), number, np.uint64), part, *keys)
        for number, (view, keys) in enumerate(words.items(), 1)
    }


def _hashed(column: pa.ChunkedArray) -> Keys:
    """(n,) a hash of each word; 0 for none."""
    from pandas.util import hash_array

    coded = column.cast(pa.string()).combine_chunks().dictionary_encode()
    words = np.r_[hash_array(np.asarray(coded.dictionary.to_pylist(), dtype=object)), np.zeros(1, np.uint64)]
    found: Keys = words[coded.indices.fill_null(len(words) - 1).to_numpy(zero_copy_only=False)].astype(np.uint64)
    return found


def _ports(table: pa.Table) -> list[Keys]:
    columns = (table.column(name).cast(pa.int64()).fill_null(-1) for name in ("src_port", "dst_port", "protocol"))
    return [each.to_numpy().astype(np.uint64) for each in columns]


def _mixed(*keys: Keys) -> Keys:
    """(n,) a hash of each combination: the finalizer of splitmix64 after each part."""
    found = np.zeros(len(keys[0]), np.uint64)
    for key in keys:
        found = found * np.uint64(31) + key + np.uint64(0x9E3779B97F4A7C15)
        found = (found ^ (found >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        found = (found ^ (found >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        found ^= found >> np.uint64(31)
    return found


def _grouped(key: Keys) -> tuple[Ints, Mask, Ints]:
    """(n,) an order by key; in it, (n,) whether a record is the first of its key, and (n,) the number of the key."""
    order = np.argsort(key, kind="stable")
    first = np.r_[True, np.diff(key[order]) != 0]
    return order, first, np.cumsum(first) - 1


def _last(first: Mask) -> Ints:
    """(m,) places of the last records of each key."""
    found: Ints = np.r_[np.flatnonzero(first)[1:], len(first)] - 1
    return found


def _runup(gain: Ints, is_new: Mask, start: Ints) -> Ints:
    """(n,) M after each record; it begins anew where ``is_new``, at ``start``."""
    first, part = np.flatnonzero(is_new), np.cumsum(is_new) - 1
    whole = np.cumsum(gain)
    after = whole - (whole - gain)[first][part]  # from 0 on in each part
    before = after - gain
    wide = 1 + int(np.abs(before).max(initial=0))
    lowest = np.minimum.accumulate(before - 2 * wide * part) + 2 * wide * part  # of the part alone
    reached: Ints = np.maximum(np.maximum(after - lowest, start[first][part] + after), 0)
    return reached

"""Counts of records by their two hosts and their hour, in bounded memory."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.base.samples import row_hash
from pipeline.preprocessing.context.talks import hashed

Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]
Keys = NDArray[np.uint64]

UNTIMED: Final = np.iinfo(np.int64).min // 2  # the hour of records without a time
MOST: Final = 2**21  # cells of a count: about 50 MB
_HOUR: Final = 3_600_000_000  # microseconds


@dataclass(frozen=True)
class Places:
    """Between which hosts n records went, and when; (n,) each.

    Attributes:
        hosts: a hash of both addresses, the same in both directions.
        hour: number of the period; ``UNTIMED`` where a record has no time.
        known: whether a record has both addresses. The others mean nothing.
    """

    hosts: Keys
    hour: Ints
    known: Mask

    @classmethod
    def of(cls, table: pa.Table, hours: float) -> Self:
        """Those of a table with ``src_ip``, ``dst_ip`` and ``timestamp``, in periods of so many hours."""
        ends = [table.column(name) for name in ("src_ip", "dst_ip")]
        codes = np.sort(np.stack([hashed(end) for end in ends]), axis=0)
        nobody = hashed(pa.chunked_array([[""]], pa.string()))[0]
        time = table.column("timestamp").cast(pa.int64())
        period = (time.fill_null(0).to_numpy() // (hours * _HOUR)).astype(np.int64)
        hour = np.where(time.is_valid().to_numpy(), period, UNTIMED)
        return cls(row_hash([*codes]), hour, (codes != nobody).all(axis=0))

    def select(self, rows: Mask | Ints) -> "Places":
        """Those of some of the records."""
        return Places(self.hosts[rows], self.hour[rows], self.known[rows])


class Meetings:
    """How many records went between two hosts in each hour.

    Where there are more than ``most`` cells, only those pairs of hosts stay whose hash is small. They are a random
    share of all pairs, the same one in whichever order the records come, and their counts are exact.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._waiting: list[tuple[Keys, Keys]] = []
        self._rows = 0
        self._hosts, self._cell, self._count = np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0, np.int64)
        self._pairs, self._totals = np.empty(0, np.uint64), np.empty(0, np.int64)
        self.limit = np.uint64(2**64 - 1)

    @property
    def share(self) -> float:
        """Share of all pairs of hosts that is counted."""
        self._merge()
        return (int(self.limit) + 1) / 2**64

    def add(self, places: Places) -> None:
        """Count these records, all of which have both addresses."""
        kept = places.select(places.hosts <= self.limit)
        self._waiting.append((kept.hosts, _cells(kept.hosts, kept.hour)))
        self._rows += len(kept.hosts)
        if self._rows > self._most:
            self._merge()

    def around(self, places: Places) -> Ints:
        """(n,) records of the same hosts in the hour of each record, the one before and the one after."""
        self._merge()
        counts = np.zeros(len(places.hosts), np.int64)
        for step in (-1, 0, 1):
            counts += _found(self._cell, self._count, _cells(places.hosts, places.hour + step))
        return counts

    def ever(self, places: Places) -> Ints:
        """(n,) records of the same hosts at any time."""
        self._merge()
        return _found(self._pairs, self._totals, places.hosts)

    def pairs(self) -> int:
        """How many pairs of hosts are counted."""
        self._merge()
        return len(self._pairs)

    def _merge(self) -> None:
        if not self._waiting:
            return
        hosts, cells = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        counts = np.concatenate([self._count, np.ones(len(cells), np.int64)])
        self._cell, first, inverse = np.unique(
            np.concatenate([self._cell, cells]), return_index=True, return_inverse=True
        )
        self._count = np.bincount(inverse, counts, len(first)).astype(np.int64)
        self._hosts = np.concatenate([self._hosts, hosts])[first]
        self._waiting, self._rows = [], 0
        while len(self._cell) > self._most:
            self.limit //= np.uint64(2)
            kept = self._hosts <= self.limit
            self._hosts, self._cell, self._count = self._hosts[kept], self._cell[kept], self._count[kept]
        self._pairs, inverse = np.unique(self._hosts, return_inverse=True)
        self._totals = np.bincount(inverse, self._count, len(self._pairs)).astype(np.int64)


def _cells(hosts: Keys, hour: Ints) -> Keys:
    return row_hash([hosts, hour])


def _found(keys: Keys, counts: Ints, wanted: Keys) -> Ints:
    """(n,) counts of the wanted keys, 0 for those that are not among the sorted ``keys``."""
    if not len(keys):
        return np.zeros(len(wanted), np.int64)
    at = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return np.where(keys[at] == wanted, counts[at], 0)

"""All alerts in memory, as a page asks for them: by key, by incident, and as columns that filters compare.

A ``Snapshot`` never changes. ``Index.refresh`` looks which tables of alerts are there, reads those that are new, and
puts a new snapshot in the place of the old one. While it works, pages are answered from the old one.
"""

import ipaddress
import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flows.triage.grouping import SEVERITIES, Incident, grouped
from pipeline.artifacts import paths
from pipeline.artifacts.tables import read_table
from pipeline.serving.alerts import stored
from pipeline.serving.alerts.schema import SCHEMA, Alert, alerts_of

NO_TIME: Final = np.iinfo(np.int64).min
Rows = NDArray[np.intp]
Stamp = tuple[int, int, int]  # inode, size and time of the last change of a file


class Words(NamedTuple):
    """A column of words: (n,) the place of each among ``names``, -1 for none."""

    names: list[str]
    codes: NDArray[np.int32]

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> "Words":
        """The words of a column of strings."""
        encoded = column.combine_chunks().dictionary_encode()
        return cls(encoded.dictionary.to_pylist(), encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False))

    def addresses(self) -> NDArray[np.int64]:
        """(k,) the number of each of k names that is an IPv4 address; -1 for others."""
        return np.array([_ipv4(name) for name in self.names], dtype=np.int64)


def _ipv4(name: str) -> int:
    try:
        return int(ipaddress.IPv4Address(name))
    except ValueError:
        return -1


@dataclass(frozen=True)
class Snapshot:
    """n alerts and their incidents at one moment.

    Attributes:
        table: n rows of ``SCHEMA``.
        file: (n,) the place of the table of each among ``files``.
        files: names of the tables of alerts, without a suffix; raw columns have the same.
        incidents: the most severe first.
        of: (n,) the place of the incident of each, -1 for none.
    """

    table: pa.Table
    file: NDArray[np.int32]
    files: tuple[str, ...]
    incidents: tuple[Incident, ...]
    of: NDArray[np.int64]

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Key of an alert -> its row."""
        return {key: row for row, key in enumerate(self.table.column("alert").to_pylist())}

    @cached_property
    def place_of(self) -> dict[str, int]:
        """Key of an incident -> its place."""
        return {each.incident: place for place, each in enumerate(self.incidents)}

    @cached_property
    def record_id(self) -> NDArray[np.uint64]:
        """(n,)."""
        found: NDArray[np.uint64] = self.table.column("record_id").to_numpy()
        return found

    @cached_property
    def time(self) -> NDArray[np.int64]:
        """(n,) microseconds since 1970 in UTC; ``NO_TIME`` for none."""
        return self._numbers("time", NO_TIME)

    @cached_property
    def ports(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(n,) and (n,) of source and destination; -1 for none."""
        return self._numbers("src_port", -1), self._numbers("dst_port", -1)

    @cached_property
    def hosts(self) -> tuple[Words, Words]:
        """Addresses of source and destination."""
        return self.words("src_ip"), self.words("dst_ip")

    @cached_property
    def addresses(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Of the names of ``hosts``."""
        source, destination = self.hosts
        return source.addresses(), destination.addresses()

    @cached_property
    def version(self) -> NDArray[np.int64]:
        """(n,) of the model."""
        return self._numbers("model_version", -1)

    @cached_property
    def verdict(self) -> Words:
        """Of the model."""
        return self.words("verdict")

    @cached_property
    def _by_record(self) -> Rows:
        return np.argsort(self.record_id, kind="stable")

    @cached_property
    def _by_incident(self) -> tuple[Rows, Rows]:
        order = np.argsort(self.of, kind="stable")
        return order, np.searchsorted(self.of[order], np.arange(len(self.incidents) + 1))

    def warm(self) -> None:
        """Make everything that pages ask for, so that the first of them need not wait."""
        columns = ("time", "ports", "hosts", "addresses", "version", "verdict")
        for name in ("row_of", "place_of", *columns, "_by_record", "_by_incident"):
            getattr(self, name)

    def words(self, name: str) -> Words:
        """A column of words."""
        return Words.of(self.table.column(name))

    def members(self, place: int) -> Rows:
        """The rows of the alerts of an incident, the earliest first."""
        order, ends = self._by_incident
        rows = order[ends[place] : ends[place + 1]]
        return rows[np.argsort(self.time[rows], kind="stable")]

    def rows_of_record(self, record_id: int) -> Rows:
        """The rows of the alerts on a record: one for each model that raised one."""
        ids, wanted = self.record_id[self._by_record], np.uint64(record_id)
        return self._by_record[np.searchsorted(ids, wanted) : np.searchsorted(ids, wanted, side="right")]

    def places_in(self, record_ids: NDArray[np.uint64]) -> NDArray[np.intp]:
        """(n,) the place of the record of each alert among (m,) ascending ids; -1 for none."""
        if not len(record_ids):
            return np.full(len(self.record_id), -1)
        found = np.searchsorted(record_ids, self.record_id).clip(max=len(record_ids) - 1)
        return np.where(record_ids[found] == self.record_id, found, -1)

    def alerts(self, rows: Rows) -> list[Alert]:
        """The alerts of some rows, in their order."""
        return alerts_of(self.table.take(pa.array(rows)))

    def _numbers(self, name: str, missing: int) -> NDArray[np.int64]:
        values = self.table.column(name).cast(pa.int64())
        found: NDArray[np.int64] = pc.fill_null(values, missing).to_numpy()
        return found


class Index:
    """The newest snapshot of ``data/scored/alerts``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stamps: dict[Path, Stamp] = {}
        self._tables: dict[Path, pa.Table] = {}
        self.now = _snapshot({})

    def refresh(self) -> bool:
        """Look for new tables and other rules of suppression; returns whether the snapshot is another one now.

        Raises:
            ArtifactError: a table cannot be read. The old snapshot stays.
        """
        with self._lock:
            watched = (paths.SUPPRESSIONS, *stored.candidates())
            stamps = {path: stamp for path in watched if (stamp := stamp_of(path))}
            if stamps == self._stamps:
                return False
            changed = {path for path, stamp in stamps.items() if self._stamps.get(path) != stamp}
            kept = {path: table for path, table in self._tables.items() if path in stamps and path not in changed}
            new = {
                path: read_table(path).select(SCHEMA.names).cast(SCHEMA)
                for path in stored.current(changed - {paths.SUPPRESSIONS})
            }
            tables = dict(sorted((kept | new).items()))
            snapshot = _snapshot(tables)
            snapshot.warm()
            self._stamps, self._tables, self.now = stamps, tables, snapshot
            return True


def stamp_of(path: Path) -> Stamp | None:
    """What changes with the content of a file; None where it is gone."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _snapshot(tables: dict[Path, pa.Table]) -> Snapshot:
    """The alerts of these tables, each key once: the first row of it."""
    whole = pa.concat_tables([SCHEMA.empty_table(), *tables.values()])
    file = np.repeat(np.arange(len(tables), dtype=np.int32), [each.num_rows for each in tables.values()])
    seen: set[str] = set()
    first = [row for row, key in enumerate(whole.column("alert").to_pylist()) if not (key in seen or seen.add(key))]  # type: ignore[func-returns-value]
    if len(first) < whole.num_rows:
        whole, file = whole.take(pa.array(first)), file[first]
    whole = whole.combine_chunks()
    incidents, of = grouped(whole)
    order = sorted(range(len(incidents)), key=lambda place: _rank(incidents[place]))
    place_of = np.empty(len(order) + 1, dtype=np.int64)
    place_of[order] = np.arange(len(order))
    place_of[-1] = -1
    return Snapshot(
        whole, file, tuple(path.stem for path in tables), tuple(incidents[at] for at in order), place_of[of]
    )


def _rank(incident: Incident) -> tuple[Any, ...]:
    """The most severe first, of those the one with the strongest evidence, then the one that is still going on."""
    evidence = float("-inf") if incident.evidence is None else incident.evidence
    last = incident.last.timestamp() if incident.last else float("-inf")
    return SEVERITIES.index(incident.severity), -evidence, -last, incident.incident

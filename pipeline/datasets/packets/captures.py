"""Captures as a data set: each flow of a pcap is a record with the features of CIC-IDS-2017."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from pipeline.base.errors import SourceError
from pipeline.datasets import sources
from pipeline.datasets.base import REJECTED_SCHEMA, Chunk, Dataset, record_schema
from pipeline.datasets.extractors import ONCE, Extractor
from pipeline.datasets.meaning import Meaning, Notes
from pipeline.datasets.packets.assembly import Assembly, Flows
from pipeline.datasets.packets.clock import Clock, Ready
from pipeline.datasets.packets.decode import decode
from pipeline.datasets.packets.definitions import SECOND, Pauses
from pipeline.datasets.packets.files import Capture
from pipeline.datasets.packets.rejects import Rejects
from pipeline.datasets.packets.rules import meaning, rules_beside
from pipeline.datasets.packets.table import table_of
from pipeline.datasets.packets.traffic import joined
from pipeline.datasets.places import Where, is_one_file, shown, sources_under, where_of
from pipeline.datasets.reading import Reading
from pipeline.datasets.schema import FEATURES, UNLABELLED, Column
from pipeline.datasets.sources import Source

SUFFIXES = tuple(f".{kind}{packing}" for kind in ("pcap", "pcapng", "cap") for packing in ("", ".gz"))
LONGEST = 86_400  # seconds


class Captures(Dataset):
    """Reads the captures under ``path``: a file, a folder or a zip of pcap and pcapng files, plain or gzip'd.

    A record is a flow in both directions. Each file is read for itself: a flow ends where its file ends.

    Args:
        path: where the captures are.
        label: of all flows that no rule names, such as ``benign``; empty where it is not known. A file
            ``NAME.labels.csv`` beside the capture ``NAME`` holds rules.
        flow_timeout: seconds from its first packet on that a flow lasts at most.
        activity_timeout: seconds without a packet, more of which are idle time.
        subflow_gap: seconds without a packet, more of which begin a new subflow.
        bulk_gap: seconds without data, more of which end a bulk.
        reorder: seconds by which a packet may be late and still finds its place.
        reading: the zone of times, and words that mean "not labelled".
        needed: for records to be scored: any features.

    Attributes:
        at_once: packets that are grouped into flows at once; more where more are kept.
    """

    at_once: ClassVar[int] = 1 << 16

    def __init__(
        self,
        path: Where,
        label: str = "",
        flow_timeout: float = 120.0,
        activity_timeout: float = 5.0,
        subflow_gap: float = 1.0,
        bulk_gap: float = 1.0,
        reorder: float = 1.0,
        reading: Reading | None = None,
        needed: tuple[Column, ...] | None = None,
    ) -> None:
        self.path = where_of(path)
        self.reading = reading or Reading()
        self.label = meaning(label, self.reading)
        self._seconds = {
            "flow_timeout": flow_timeout,
            "activity_timeout": activity_timeout,
            "subflow_gap": subflow_gap,
            "bulk_gap": bulk_gap,
            "reorder": reorder,
        }
        self.flow_timeout, *pauses, self.reorder = (_microseconds(*setting) for setting in self._seconds.items())
        self.pauses = Pauses(*pauses)

    @property
    def extraction(self) -> Mapping[str, float]:
        """The settings in seconds."""
        return self._seconds

    @property
    def families(self) -> None:
        """None: any label is allowed."""

    def read(self) -> Iterator[Chunk]:
        """All records, the files in the order of their names, the flows of a file in that of their first packets.

        Raises:
            SourceError: a file is absent, empty, no capture or of a link type that is not read, or none has a flow.
            SchemaError: a file of rules lacks the column ``label`` or has an unknown one.
            DataError: a cell of it cannot be read.
        """
        any_flow, reasons = False, Counter[str]()
        for source in sources_under(self.path, _captures):
            for chunk in self._file(source):
                any_flow = any_flow or chunk.records.num_rows > 0
                reasons.update(chunk.rejected["reason"].to_pylist())
                yield chunk
        if not any_flow:
            found = f"; frames have none most often because: {reasons.most_common(1)[0][0]}" if reasons else ""
            raise SourceError(f"{shown(self.path)}: no IP packet was found in it, and a flow needs at least one{found}")

    def _file(self, source: Source) -> Iterator[Chunk]:
        rules = rules_beside(source.file, self.label, self.reading)
        rejects, row = Rejects(source.name), 1
        for flows in self._flows(source, rejects):
            if len(flows):
                table = table_of(flows, source.name, row, self.pauses, rules)
                yield Chunk(table, REJECTED_SCHEMA.empty_table(), _notes(source, table))
                row += len(flows)
        yield Chunk(record_schema(FEATURES).empty_table(), rejects.table())

    def _flows(self, source: Source, rejects: Rejects) -> Iterator[Flows]:
        """The flows of a file in the order of their first packets, some at a time."""
        capture, assembly = Capture(source), Assembly(self.flow_timeout)
        clock = Clock(source.name, self.reorder, self.flow_timeout)
        parts: list[Ready] = []
        for ready in _packets(capture, clock, rejects):
            parts.append(ready)
            waiting = sum(len(part.traffic) for part in parts)
            if ready.horizon is None or waiting >= max(self.at_once, len(assembly)):
                yield assembly.add(joined([part.traffic for part in parts]), ready.horizon)
                parts = []
        if clock.late:
            rejects.note(f"{clock.late:,} packets came too late to find their place, and moved")
        if clock.setbacks:
            rejects.note(f"the clock was set back {clock.setbacks:,} times, and all flows ended there")
        if capture.lost:
            rejects.refuse(f"the file {capture.lost}")
        if capture.missing:
            rejects.note(f"the file {capture.missing}")


def _captures(path: Path) -> list[Source]:
    """The captures in a folder or a zip, by their names; a file that is named may be called anything."""
    if not is_one_file(path):
        return sources.sources(path, SUFFIXES)
    name = path.name
    stem = name[:-3] if name.lower().endswith(".gz") else name
    return [Source(stem, name, lambda: path.open("rb"), path)]


def _packets(capture: Capture, clock: Clock, rejects: Rejects) -> Iterator[Ready]:
    for frames in capture.frames():
        decoded = decode(frames)
        rejects.add(frames, decoded)
        yield from clock.put(decoded.traffic)
    yield clock.end()


def _notes(source: Source, records: pa.Table) -> Notes:
    labels = Counter(word for word in records["attack"].to_pylist() if word != UNLABELLED)
    return Notes(source.name, Meaning(extractor=Extractor("captures", ONCE)), labels=labels)


def _microseconds(name: str, seconds: float) -> int:
    if not 0 < seconds <= LONGEST:
        raise ValueError(f"{name} must lie above 0 and be at most {LONGEST:,} s, given {seconds}")
    return max(round(seconds * SECOND), 1)

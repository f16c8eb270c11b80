"""Captures as a data set: each flow of a pcap is a record with the features of CIC-IDS-2017."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from pipeline.base.errors import SourceError
from pipeline.datasets import sources
from pipeline.datasets.base import REJECTED_SCHEMA, Chunk, Dataset, record_schema
from pipeline.datasets.extractors import ONCE, Extractor
from pipeline.datasets.meaning import Meaning, Notes
from pipeline.datasets.packets.assembly import MOST_OPEN, Flows
from pipeline.datasets.packets.definitions import SECOND, Pauses
from pipeline.datasets.packets.files import Capture
from pipeline.datasets.packets.rejects import Rejects
from pipeline.datasets.packets.rules import Rules, file_of_rules, meaning, rules_for
from pipeline.datasets.packets.sequence import OVERLAPS, Neighbours, in_order
from pipeline.datasets.packets.succession import Limits, Succession
from pipeline.datasets.packets.table import table_of
from pipeline.datasets.places import Where, is_one_file, shown, sources_under, where_of
from pipeline.datasets.reading import Reading
from pipeline.datasets.schema import FEATURES, UNLABELLED, Column
from pipeline.datasets.sources import SeenContents, Source
from pipeline.datasets.suffixes import CAPTURES

LONGEST = 86_400  # seconds
MEANING = Meaning(extractor=Extractor("captures", ONCE))


class Captures(Dataset):
    """Reads the captures under ``path``: a file, a folder or a zip of pcap and pcapng files, plain or gzip'd.

    A record is a flow in both directions. A flow that is open where its file ends goes on in the next file of the same
    folder, if that begins within the flow timeout. Files of a folder that overlap in time are read each for itself.

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
        most_open: packets of open flows that are kept.
    """

    at_once: ClassVar[int] = 1 << 16
    most_open: ClassVar[int] = MOST_OPEN

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
        """All records, folder by folder, the files and the flows in the order of their first packets.

        Raises:
            SourceError: a file is absent, empty, no capture or of a link type that is not read, two have the same
                content, or none has a flow.
            SchemaError: a file of rules lacks the column ``label`` or has an unknown one.
            DataError: a cell or the text of it cannot be read.
        """
        any_flow, reasons = False, Counter[str]()
        for chunk in self._chunks(reasons):
            any_flow = any_flow or chunk.records.num_rows > 0
            yield chunk
        if not any_flow:
            found = f"; frames have none most often because: {reasons.most_common(1)[0][0]}" if reasons else ""
            raise SourceError(f"{shown(self.path)}: no IP packet was found in it, and a flow needs at least one{found}")

    def _chunks(self, reasons: Counter[str]) -> Iterator[Chunk]:
        """The chunks of all files; why frames hold no packet is counted in ``reasons``."""
        seen = SeenContents()
        files = in_order(sources_under(self.path, _captures), self.reorder, self.flow_timeout)
        neighbours = Neighbours(self.reorder, self.flow_timeout)
        goes_on, succession, read = False, self._succession(), list[_File]()
        for this, following in zip(files, [*files[1:], None], strict=True):
            if not goes_on:
                succession, read = self._succession(), []
            source = this.source
            read.append(_File(source, rules_for(source, self.label, self.reading)))
            rejects = Rejects(source.name)
            yield from self._records(succession, read, succession.read(Capture(source, seen), rejects))
            goes_on, overlaps = neighbours.meet(this, succession.latest(following and following.begin), following)
            if not goes_on:
                yield from self._records(succession, read, succession.end())
            for remark in chain(succession.told(), [OVERLAPS] * overlaps):
                rejects.note(remark)
            reasons.update(rejects.reasons)
            notes = Notes(source.name, MEANING, remarks=rejects.remarks())
            yield Chunk(record_schema(FEATURES).empty_table(), rejects.table(), notes)

    def archives(self) -> dict[Path, set[str]]:
        """Archive -> its captures and their labels."""
        found = sources_under(self.path, _captures)
        rules = [rules for source in found if source.member and (rules := file_of_rules(source))]
        return sources.by_archive([*found, *rules])

    def _succession(self) -> Succession:
        return Succession(Limits(self.flow_timeout, self.reorder, self.at_once, self.most_open))

    def _records(self, succession: Succession, files: list["_File"], found: Iterator[Flows]) -> Iterator[Chunk]:
        """The records of flows, each with the file of its first packet."""
        for flows in found:
            for place, mine in succession.files(flows):
                file = files[place]
                table = table_of(mine, file.source.name, file.records + 1, self.pauses, file.rules)
                file.records += len(mine)
                yield Chunk(table, REJECTED_SCHEMA.empty_table(), _notes(file.source, table))


@dataclass
class _File:
    """A capture, its rules, and how many records it has given."""

    source: Source
    rules: Rules
    records: int = 0


def _captures(path: Path) -> list[Source]:
    """The captures in a folder or a zip, by their names; a file that is named may be called anything."""
    if not is_one_file(path):
        return sources.sources(path, CAPTURES, numbered=True)
    name = path.name
    return [Source(name[:-3] if name.lower().endswith(".gz") else name, name, lambda: path.open("rb"), path)]


def _notes(source: Source, records: pa.Table) -> Notes:
    labels = Counter(word for word in records["attack"].to_pylist() if word != UNLABELLED)
    return Notes(source.name, MEANING, labels=labels)


def _microseconds(name: str, seconds: float) -> int:
    if not 0 < seconds <= LONGEST:
        raise ValueError(f"{name} must lie above 0 and be at most {LONGEST:,} s, given {seconds}")
    return max(round(seconds * SECOND), 1)

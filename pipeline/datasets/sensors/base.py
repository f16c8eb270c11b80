"""What the data sets of all sensors share: files, labels, columns, and records in bounded memory."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from pipeline.base.errors import SchemaError, SourceError, near_miss
from pipeline.datasets import sources
from pipeline.datasets.base import Chunk, Dataset, Part, read_parts
from pipeline.datasets.blocks import Block
from pipeline.datasets.places import Where, is_one_file, shown, sources_under, where_of
from pipeline.datasets.reading import Reading
from pipeline.datasets.schema import Column
from pipeline.datasets.sensors import json_blocks, json_lines
from pipeline.datasets.sensors.assemble import chunk
from pipeline.datasets.sensors.fields import Field, text
from pipeline.datasets.sensors.labels import Labels
from pipeline.datasets.sensors.schema import Schema
from pipeline.datasets.sources import Source

BENIGN = ("0", "false", "benign", "normal", "background")


class Sensor(Dataset):
    """The connections that a sensor logged, under ``path``: a file, a folder or a zip, plain or gzip'd.

    Args:
        path: of the logs.
        label: name of a field that somebody has added to tell benign connections from attacks. Where it is absent, or
            says nothing, the record has no label.
        benign: its values that mean benign, in any case. Any other value names an attack; 1 stands for ``attack``.
        needed: for records to be scored, the columns that a model reads; they are among those of the sensor.
        reading: the zone that times are stored in, and words that mean that a record has no label.

    Attributes:
        schema: the fields of the log.
        suffixes: of the files that are read.
        prefix: of their names in a folder or a zip.
        behind: what may follow the prefix there; "" for anything.
        kind: the field that says what an object of JSON is, where not all are connections.
    """

    schema: ClassVar[Schema]
    suffixes: ClassVar[tuple[str, ...]]
    prefix: ClassVar[str] = ""
    behind: ClassVar[tuple[str, ...]] = ("",)
    kind: ClassVar[str] = ""

    def __init__(
        self,
        path: Where,
        label: str = "label",
        benign: tuple[str | int, ...] = BENIGN,
        needed: tuple[Column, ...] | None = None,
        reading: Reading | None = None,
    ) -> None:
        self.path = where_of(path)
        self.needed = needed
        reading = reading or Reading()
        self.zone = reading.zone
        self.label_field, self.benign = label, tuple(benign)
        self.label = Labels(benign, reading.nothing)
        self.fields = self.schema.with_fields(text(label, "label"), *self.more_labels())

    def more_labels(self) -> tuple[Field, ...]:
        """Fields beside the label that say more about it."""
        return ()

    @property
    def columns(self) -> tuple[Column, ...]:
        """The features of the sensor, whichever of them a log has."""
        return self.schema.columns

    @property
    def families(self) -> Mapping[str, str] | None:
        """None: any label is allowed."""
        return None

    @property
    def label_settings(self) -> Mapping[str, Any]:
        """The field of the label, and its values that mean benign."""
        return {"label": self.label_field, "benign": [*self.benign]}

    def read(self) -> Iterator[Chunk]:
        """All records, the files in the order of their names.

        Raises:
            SourceError: a file cannot be read or repeats another one, or no file holds a record.
            SchemaError: a file is no log of this sensor, or lacks a field that is needed.
        """
        rows = 0
        for made in read_parts(self.partitions()):
            rows += made.records.num_rows
            yield made
        if not rows and self.needed is None:
            raise SourceError(
                f"{shown(self.path)}: holds no connection that can be read; set ingest.path to other logs"
            )

    def sources(self) -> list[Source]:
        """The logs, in the order of their names.

        Raises:
            SourceError: a path is absent or holds none.
        """
        return sources_under(self.path, self._logs)

    def archives(self) -> dict[Path, set[str]]:
        """Archive -> its logs that are read."""
        return sources.by_archive(self.sources())

    def partitions(self) -> Iterator[Part]:
        """What reads each block of each log."""
        contents = sources.SeenContents()
        for source in self.sources():
            yield from self.parts(source, _without_mark(contents.watch(source, sources.blocks(source))))

    def _logs(self, path: Path) -> list[Source]:
        """The logs under a path; in a folder, only those whose names go on as they should behind the prefix."""
        found = sources.sources(path, self.suffixes, self.prefix)
        return found if is_one_file(path) else [*filter(self._is_log, found)]

    def _is_log(self, source: Source) -> bool:
        return source.place.rsplit("/", 1)[-1].lower().removeprefix(self.prefix).startswith(self.behind)

    @abstractmethod
    def parts(self, source: Source, stream: Iterator[bytes]) -> Iterator[Part]:
        """What reads each block of a source.

        Args:
            source: one log.
            stream: its lines, any whole number of them at a time.
        """

    def of_objects(self, blocks: Iterator[Block]) -> Iterator[Part]:
        """What reads each block of a log that holds an object of JSON in each line.

        Raises:
            SchemaError: no connection of the first block that holds one has the fields that the sensor always writes.
        """
        spelling: json_blocks.Spelling | None = None
        for block in blocks:
            spelling = spelling or self._spelling(block)
            yield partial(self._chunk_of_objects, block, spelling)

    def _kind(self, event: dict[str, Any]) -> str:
        """The kind of event that an object is, "" for a connection. Other events are passed over."""
        kind = event.get(self.kind)
        return "" if kind is None or kind == json_blocks.FLOW else str(kind)

    def _spelling(self, block: Block) -> json_blocks.Spelling | None:
        """How the connections of a block are spelt, if they are those of this sensor; None where it holds none."""
        faults: list[str] = []
        for place, events in enumerate(json_lines.events(block)):
            if not events and place == 0 and block.first_row == 1:
                raise SchemaError(f"{block.source}: its first lines hold no object of JSON; each line must hold one")
            found = [each for each in events if not self._kind(each)]
            told = [fault for each in found if (fault := self._fault(each))]
            if len(told) < len(found):
                return json_blocks.Spelling.of(self.fields, found, self.kind)
            faults += told
        if faults:
            raise SchemaError(f"{block.source}: is no {self.schema.title}: the first connection {faults[0]}")
        return None

    def _fault(self, event: dict[str, Any]) -> str:
        missing = [name for name in self.schema.always if json_lines.cells([event], name) == [None]]
        return f"has no {missing[0]!r}{near_miss(missing[0], event)}" if missing else ""

    def _chunk_of_objects(self, block: Block, spelling: json_blocks.Spelling | None) -> Chunk:
        read = json_blocks.read(block, self.fields, spelling) if spelling else None
        rows, others = read or json_lines.read(block, self.fields, self._kind)
        return replace(chunk(block, self.fields, rows, self.label, self.zone), passed_over=others)


def _without_mark(stream: Iterator[bytes]) -> Iterator[bytes]:
    """The same lines without the mark that some editors put before a text in UTF-8."""
    yield next(stream, b"").removeprefix(b"\xef\xbb\xbf")
    yield from stream

"""CIC-IDS-2017 in its published shapes, and any other capture that CICFlowMeter wrote in the same formats.

The header shows which of three shapes a file has: ``MachineLearningCSV`` (features and label),
``GeneratedLabelledFlows`` (the same behind flow id, addresses, ports, protocol and timestamp), or the corrected release
of Engelen, Rimmer, Joosen (2021) and Liu et al. (2022) (other names, true timestamps, ``Attempted Category``).
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow as pa

from pipeline.base.parallel import in_order
from pipeline.datasets import sources
from pipeline.datasets.base import Chunk, Dataset
from pipeline.datasets.blocks import Block, headed
from pipeline.datasets.header import Layout, layout
from pipeline.datasets.labels import BENIGN, UNLABELLED, Unknown, canonical
from pipeline.datasets.reading import Reading
from pipeline.datasets.rows import parse, words
from pipeline.datasets.schema import FEATURES, Column
from pipeline.datasets.sources import Source
from pipeline.datasets.understand import meaning

SAMPLE_BYTES = 1 << 18  # of a file: enough records to see the unit of its durations


class CICIDS2017(Dataset):
    """Reads the records under ``path``: a file, a folder or a zip, plain or gzip'd.

    Args:
        path: where the records are.
        unknown_labels: ``refuse`` stops at a label outside the vocabulary, ``keep`` makes it an attack of its own.
        ignore_columns: headers that may stand in the files beside the known ones, and are left out.
        benign_labels: words that mean benign; case, spaces and dashes do not count.
        reading: what the files leave open.
        needed: for records to be scored: the columns that must be there, while others and a label may be absent.
    """

    def __init__(
        self,
        path: Path,
        unknown_labels: Unknown = "refuse",
        ignore_columns: tuple[str, ...] = (),
        benign_labels: tuple[str | int, ...] = BENIGN,
        reading: Reading | None = None,
        needed: tuple[Column, ...] | None = None,
    ) -> None:
        self.path = Path(path)
        self.unknown_labels: Unknown = unknown_labels
        self.ignore_columns = tuple(ignore_columns)
        self.benign_labels = tuple(map(str, benign_labels))
        self.reading = reading or Reading()
        self.needed = needed

    @property
    def columns(self) -> tuple[Column, ...]:
        """All features; of files to be scored those of the first, whose headers are all read.

        Raises:
            SourceError: a file to be scored cannot be read or is empty.
            SchemaError: it lacks a column that is needed.
        """
        if self.needed is None:
            return FEATURES
        read = [self._layout(source.name, sources.blocks(source)) for source in sources.sources(self.path)]
        return read[0][0].columns

    def read(self) -> Iterator[Chunk]:
        """All records, about a hundred megabytes of them in memory at a time.

        Raises:
            SourceError: a file cannot be read, is empty, or repeats another one.
            SchemaError: columns are missing or unknown.
            DataError: a label is unknown.
        """
        benign, unlabelled = self.benign_labels, self.reading.nothing
        label = partial(canonical, unknown=self.unknown_labels, benign=benign, unlabelled=unlabelled)
        return in_order(lambda part: parse(*part, label), self._blocks())

    def _blocks(self) -> Iterator[tuple[Block, Layout]]:
        contents = sources.SeenContents()
        for source in sources.sources(self.path):
            layout, blocks = self._layout(source.name, contents.watch(source, sources.blocks(source)))
            layout = self._understood(source, layout)
            for block in blocks:
                yield block, layout

    def _understood(self, source: Source, layout: Layout) -> Layout:
        """The same layout with the meaning of its cells."""

        def texts() -> Iterator[pa.Array]:
            _, blocks = self._layout(source.name, sources.blocks(source))
            return (words(block, layout, "timestamp").unique() for block in blocks)

        _, first = self._layout(source.name, sources.blocks(source, SAMPLE_BYTES))
        sample = parse(next(first), layout, lambda _: UNLABELLED).records
        found = meaning(source.name, layout, sample, texts, self.reading, strict=self.needed is None)
        return replace(layout, meaning=found)

    def _layout(self, source: str, stream: Iterator[bytes]) -> tuple[Layout, Iterator[Block]]:
        head, blocks = headed(source, stream)
        return layout(source, head, self.ignore_columns, self.needed, self.labelled), blocks

"""CIC-IDS-2017 in its published shapes, and any other capture that CICFlowMeter wrote in the same formats.

The header shows which of three shapes a file has: ``MachineLearningCSV`` (features and label),
``GeneratedLabelledFlows`` (the same behind flow id, addresses, ports, protocol and timestamp), or the corrected release
of Engelen, Rimmer, Joosen (2021) and Liu et al. (2022) (other names, true timestamps, ``Attempted Category``).
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from pipeline.base.parallel import in_order
from pipeline.datasets import sources
from pipeline.datasets.base import Chunk, Dataset
from pipeline.datasets.blocks import Block, headed
from pipeline.datasets.header import Layout, layout
from pipeline.datasets.labels import Unknown, canonical
from pipeline.datasets.rows import parse
from pipeline.datasets.schema import FEATURES, Column


class CICIDS2017(Dataset):
    """Reads the records under ``path``: a file, a folder or a zip, plain or gzip'd.

    Args:
        path: where the records are.
        unknown_labels: ``refuse`` stops at a label outside the vocabulary, ``keep`` makes it an attack of its own.
        ignore_columns: headers that may stand in the files beside the known ones, and are left out.
        needed: for records to be scored: the columns that must be there, while others and a label may be absent.
    """

    def __init__(
        self,
        path: Path,
        unknown_labels: Unknown = "refuse",
        ignore_columns: tuple[str, ...] = (),
        needed: tuple[Column, ...] | None = None,
    ) -> None:
        self.path = Path(path)
        self.unknown_labels: Unknown = unknown_labels
        self.ignore_columns = tuple(ignore_columns)
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
        label = partial(canonical, unknown=self.unknown_labels)
        return in_order(lambda part: parse(*part, label), self._blocks())

    def _blocks(self) -> Iterator[tuple[Block, Layout]]:
        contents = sources.SeenContents()
        for source in sources.sources(self.path):
            columns, blocks = self._layout(source.name, contents.watch(source, sources.blocks(source)))
            for block in blocks:
                yield block, columns

    def _layout(self, source: str, stream: Iterator[bytes]) -> tuple[Layout, Iterator[Block]]:
        head, blocks = headed(source, stream)
        return layout(source, head, self.ignore_columns, self.needed, self.labelled), blocks

"""CIC-IDS-2017 in its published shapes, and any other capture that CICFlowMeter wrote in the same formats.

Three shapes are told apart by their header: ``MachineLearningCSV`` (features and label), ``GeneratedLabelledFlows``
(the same behind flow id, addresses, ports, protocol and timestamp) and the corrected release of Engelen, Rimmer,
Joosen (2021) and Liu et al. (2022) (other names, true timestamps, ``Attempted Category``).
"""

from collections.abc import Iterator
from pathlib import Path

from pipeline.datasets import sources
from pipeline.datasets.base import Chunk, Dataset
from pipeline.datasets.header import Layout, layout
from pipeline.datasets.labels import Unknown
from pipeline.datasets.rows import Block, parse
from pipeline.errors import SourceError
from pipeline.threads import in_order


class CICIDS2017(Dataset):
    """Reads the records under ``path``: a file, a folder or a zip, plain or gzip'd.

    Args:
        path: where the records are.
        unknown_labels: ``refuse`` stops at a label outside the vocabulary, ``keep`` makes it an attack of its own.
        ignore_columns: headers that may stand in the files beside the known ones, and are left out.
    """

    def __init__(self, path: Path, unknown_labels: Unknown = "refuse", ignore_columns: tuple[str, ...] = ()) -> None:
        self.path = Path(path)
        self.unknown_labels: Unknown = unknown_labels
        self.ignore_columns = tuple(ignore_columns)

    def read(self) -> Iterator[Chunk]:
        """All records, about a hundred megabytes of them in memory at a time.

        Raises:
            SourceError: a file cannot be read, is empty, or repeats another one.
            SchemaError: columns are missing or unknown.
            DataError: a label is unknown.
        """
        return in_order(lambda part: parse(*part, self.unknown_labels), self._blocks())

    def _blocks(self) -> Iterator[tuple[Block, Layout]]:
        contents = sources.SeenContents()
        for source in sources.sources(self.path):
            yield from self._blocks_of(source.name, contents.watch(source, sources.blocks(source)))

    def _blocks_of(self, name: str, stream: Iterator[bytes]) -> Iterator[tuple[Block, Layout]]:
        first = next(stream, b"")
        head, _, body = first.partition(b"\n")
        if not head.strip():
            raise SourceError(f"{name}: is empty; a header line and records are expected; remove the file or fetch it")
        columns = layout(name, head, self.ignore_columns)
        row, rows = 1, 0
        while body or first:
            rows += len(body)
            yield Block(name, body, row), columns
            row += body.count(b"\n")
            body = first = next(stream, b"")
        if not rows:
            raise SourceError(f"{name}: has a header and no records; remove the file or fetch it again")

"""CIC-IDS-2017 in its published shapes, and any other capture that CICFlowMeter wrote in the same formats.

Three shapes are told apart by their header: ``MachineLearningCSV`` (features and label), ``GeneratedLabelledFlows``
(the same behind flow id, addresses, ports, protocol and timestamp) and the corrected release of Engelen, Rimmer,
Joosen (2021) and Liu et al. (2022) (other names, true timestamps, ``Attempted Category``).
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from pipeline.datasets import sources
from pipeline.datasets.base import Chunk, Dataset
from pipeline.datasets.header import Layout, layout
from pipeline.datasets.labels import Unknown, canonical
from pipeline.datasets.rows import Block, headed, parse
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
        label = partial(canonical, unknown=self.unknown_labels)
        return in_order(lambda part: parse(*part, label), self._blocks())

    def _blocks(self) -> Iterator[tuple[Block, Layout]]:
        contents = sources.SeenContents()
        for source in sources.sources(self.path):
            head, blocks = headed(source.name, contents.watch(source, sources.blocks(source)))
            columns = layout(source.name, head, self.ignore_columns)
            for block in blocks:
                yield block, columns

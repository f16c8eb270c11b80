"""CIC-IDS-2017 in its published shapes, and any other capture that CICFlowMeter wrote in the same formats.

Three shapes are told apart by their header: ``MachineLearningCSV`` (features and label), ``GeneratedLabelledFlows``
(the same behind flow id, addresses, ports, protocol and timestamp) and the corrected release of Engelen, Rimmer,
Joosen (2021) and Liu et al. (2022) (other names, true timestamps, ``Attempted Category``).
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

from pipeline.datasets import sources
from pipeline.datasets.base import Chunk, Dataset
from pipeline.datasets.header import layout
from pipeline.datasets.labels import Unknown
from pipeline.datasets.rows import Block, parse
from pipeline.errors import SourceError

PARSERS = 2  # blocks that are parsed while the next one is being decompressed


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
        contents = sources.SeenContents()
        with ThreadPoolExecutor(PARSERS) as pool:
            for source in sources.sources(self.path):
                stream = contents.watch(source, sources.blocks(source))
                yield from _in_order(pool, self._jobs(source.name, stream))

    def _jobs(self, name: str, stream: Iterator[bytes]) -> Iterator[Callable[[], Chunk]]:
        first = next(stream, b"")
        head, _, body = first.partition(b"\n")
        if not head.strip():
            raise SourceError(f"{name}: is empty; a header line and records are expected; remove the file or fetch it")
        columns = layout(name, head, self.ignore_columns)
        row, rows = 1, 0
        while body or first:
            rows += len(body)
            yield partial(parse, Block(name, body, row), columns, self.unknown_labels)
            row += body.count(b"\n")
            body = first = next(stream, b"")
        if not rows:
            raise SourceError(f"{name}: has a header and no records; remove the file or fetch it again")


def _in_order(pool: ThreadPoolExecutor, jobs: Iterator[Callable[[], Chunk]]) -> Iterator[Chunk]:
    """The results of ``jobs`` in their order, with at most ``PARSERS`` + 1 of them in memory."""
    waiting: deque[Future[Chunk]] = deque()
    for job in jobs:
        waiting.append(pool.submit(job))
        if len(waiting) > PARSERS:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()

"""The embedded data set: simulated packets, measured like CIC-IDS-2017 and written in its published format."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.datasets.base import Chunk, Dataset, Part, read_parts
from pipeline.datasets.cicids2017 import CICIDS2017
from pipeline.datasets.reading import Reading
from pipeline.datasets.synthetic.files import write


class Synthetic(Dataset):
    """Records that no network ever saw, for a first run and for tests.

    Args:
        path: not used; the setting belongs to data sets that lie somewhere.
        records: all of them together, about 78 % benign.
        seed: of every draw; the same seed gives the same records.
        reading: not used; simulated files leave nothing open.
    """

    is_synthetic = True

    def __init__(
        self, path: Path | None = None, records: int = 50_000, seed: int = 0, reading: Reading | None = None
    ) -> None:
        self.records = records
        self.seed = seed

    def read(self) -> Iterator[Chunk]:
        """The records, by way of files in the published format, as a user's own would come.

        Raises:
            ConfigError: too few records, or a negative seed.
        """
        return read_parts(self.partitions())

    def partitions(self) -> Iterator[Part]:
        """What reads each block of these files."""
        with tempfile.TemporaryDirectory(prefix="synthetic-") as folder:
            write(Path(folder), self.records, self.seed)
            yield from CICIDS2017(path=Path(folder)).partitions()

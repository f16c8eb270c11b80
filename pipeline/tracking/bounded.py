"""Tables in MLflow are bounded: a large one is logged as a random sample that says how large the whole is.

::

    NAME.csv                 whole, or at most ``MOST_BYTES`` of it: its header, and rows in their order
    NAME.csv.sample.json     only then: rows, sampled, seed, and bytes, sha256 and path of the whole
    NAME.parquet             likewise

The whole table stays where the stage wrote it, and in DVC's cache. The same table gives the same sample.
"""

import csv
import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

MOST_BYTES: Final = 16_000_000
SEED: Final = 0  # of samples
TABLES: Final = (".csv", ".parquet")


@contextmanager
def within_bounds(path: Path) -> Iterator[list[Path]]:
    """The files that stand for a file in MLflow, as long as the block lasts: itself, or a sample of it and its note.

    Args:
        path: of a file; all but tables stand for themselves.
    """
    size = path.stat().st_size if path.suffix in TABLES else 0
    if size <= MOST_BYTES:
        yield [path]
        return
    from pipeline.artifacts.confidence import LOGGED  # PyArrow takes longer to import than this package

    with tempfile.TemporaryDirectory() as folder:
        sample = Path(folder) / path.name
        write = _csv if path.suffix == ".csv" else _parquet
        rows, sampled = write(path, sample, MOST_BYTES / size)
        note = sample.with_name(f"{path.name}{LOGGED}")
        about = {"rows": rows, "sampled": sampled, "seed": SEED, "bytes": size, "sha256": _sha256(path)}
        note.write_text(json.dumps({**about, "whole": path.as_posix()}, indent=2) + "\n")
        yield [sample, note]


def _chosen(rows: int, share: float) -> Any:
    """(k,) places of the rows of a sample, in their order."""
    import numpy as np

    return np.sort(np.random.default_rng(SEED).choice(rows, int(rows * share), replace=False))


def _csv(whole: Path, sample: Path, share: float) -> tuple[int, int]:
    rows = sum(1 for _ in _records(whole)) - 1
    chosen = _chosen(rows, share)
    wanted = iter([-1, *chosen.tolist()])  # the header first
    next_wanted = next(wanted)
    with sample.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        for place, record in enumerate(_records(whole), start=-1):
            if place == next_wanted:
                writer.writerow(record)
                next_wanted = next(wanted, rows)
    return rows, len(chosen)


def _records(path: Path) -> Iterator[list[str]]:
    """The header and all rows; a cell may have line breaks."""
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.reader(file)


def _parquet(whole: Path, sample: Path, share: float) -> tuple[int, int]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(whole) as file:
        rows, start = file.metadata.num_rows, 0
        chosen = _chosen(rows, share)
        with pq.ParquetWriter(sample, file.schema_arrow, compression="zstd") as writer:
            for number in range(file.num_row_groups):
                group = file.read_row_group(number)
                inside = chosen[np.searchsorted(chosen, start) : np.searchsorted(chosen, start + group.num_rows)]
                writer.write_table(group.take(pa.array(inside - start)))
                start += group.num_rows
    return rows, len(chosen)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

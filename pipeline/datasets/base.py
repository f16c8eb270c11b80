"""The contract of a data set: it gives records with canonical columns, and the rows that could not be read."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import pyarrow as pa

from pipeline.base.engine import mapped
from pipeline.datasets.meaning import Notes
from pipeline.datasets.schema import ATTACKS, FEATURES, Column

WORDS = pa.dictionary(pa.int32(), pa.string())

PROVENANCE_FIELDS: tuple[pa.Field, ...] = (
    pa.field("record_id", pa.uint64()),
    pa.field("source_file", WORDS),
    pa.field("row", pa.int64()),
    pa.field("y", pa.int8()),
    pa.field("attack", WORDS),
    pa.field("family", WORDS),
    pa.field("attempted", pa.bool_()),
    pa.field("day", WORDS),
    pa.field("timestamp", pa.timestamp("us")),
    pa.field("protocol", pa.int16()),
    pa.field("flow_id", pa.string()),
    pa.field("src_ip", WORDS),
    pa.field("src_port", pa.int32()),
    pa.field("dst_ip", WORDS),
    pa.field("dst_port", pa.int32()),
)

REJECTED_SCHEMA = pa.schema(
    [
        pa.field("source_file", pa.string()),
        pa.field("row", pa.int64()),
        pa.field("column", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("text", pa.string()),
    ]
)

MOST_REASONS = 20  # that are told apart; a reason may quote a cell, so there is no end of them
OTHER_REASONS = "other reasons"
PASSED_OVER = "passed over: "  # begins the reason of a row with which nothing is wrong, though it is no record


def count_reasons(counts: Counter[str], reasons: Iterable[str] | Mapping[str, int]) -> None:
    """Count reasons for which rows are no records: the first ``MOST_REASONS`` kinds by name, all others together.

    Args:
        counts: reason -> rows, to which they are added.
        reasons: that of each row; or reason -> rows.
    """
    for reason, n in Counter(reasons).items():
        is_known = reason in counts or len(counts) < MOST_REASONS
        counts[reason if is_known else OTHER_REASONS] += n


def record_schema(columns: tuple[Column, ...]) -> pa.Schema:
    """The Arrow schema of a records table: provenance first, then each feature as float64, or as words.

    A missing number is NaN and a missing word is "", never null: columns without nulls are read and written faster.
    """
    kinds = ((column.name, WORDS if column.categorical else pa.float64()) for column in columns)
    return pa.schema([*PROVENANCE_FIELDS, *(pa.field(name, kind, nullable=False) for name, kind in kinds)])


@dataclass(frozen=True)
class Chunk:
    """Records and rejected rows, at most some hundred thousand.

    Attributes:
        records: table of ``record_schema``.
        rejected: table of ``REJECTED_SCHEMA``: rows that could not be read, with the reason and their text.
        notes: what was found while they were read; None where nothing was to be found.
        passed_over: how many rows are no records by intent, by what they are.
    """

    records: pa.Table
    rejected: pa.Table
    notes: Notes | None = None
    passed_over: Mapping[str, int] = field(default_factory=dict)


Part: TypeAlias = Callable[[], Chunk]
"""What reads a chunk. It can be called on its own, and by a worker on another machine."""


class Dataset(ABC):
    """Turns raw files into chunks of records, in bounded memory.

    Attributes:
        title: name of the records in reports, for a kind of data set that reads many.
        labelled: whether a label must be there for each record; ingest sets it.
    """

    is_synthetic: ClassVar[bool] = False
    title: str = ""
    labelled: bool = True

    @property
    def columns(self) -> tuple[Column, ...]:
        """The features of the records; some data sets read a header to know them."""
        return FEATURES

    @property
    def families(self) -> Mapping[str, str] | None:
        """Known attack -> its family, ``benign`` included; None if any label is allowed."""
        return {attack: family for attack, (family, _) in ATTACKS.items()}

    @property
    def extraction(self) -> Mapping[str, float]:
        """The settings that decide what the features are: a model reads new records with the same ones."""
        return {}

    @property
    def label_settings(self) -> Mapping[str, Any]:
        """The settings that say what labels mean: labels of records to be scored are read with the same ones."""
        return {}

    def archives(self) -> Mapping[Path, set[str]]:
        """Archive -> its members that are read; empty where it reads none."""
        return {}

    def partitions(self) -> Iterator[Part]:
        """What reads each chunk, in the order of the files.

        A text is read and unpacked here, some megabytes at a time, and each of these blocks is a partition.
        """
        return (partial(given, chunk) for chunk in self.read())

    @abstractmethod
    def read(self) -> Iterator[Chunk]:
        """All records, a chunk at a time, in the order of the files."""


def read_parts(parts: Iterable[Part]) -> Iterator[Chunk]:
    """The chunk of each part, in their order, by the engine that is in use."""
    return mapped(called, parts)


def called(part: Part) -> Chunk:
    """The chunk of a part."""
    return part()


def given(chunk: Chunk) -> Chunk:
    """A chunk that is read already."""
    return chunk

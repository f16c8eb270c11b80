"""What a model was fitted on, and what a file that comes in has in common with it.

The contract is written when a model is bundled, and lies in its manifest:

    dataset, synthetic     where the records came from
    extractors             the tools that wrote them
    records                how many records it was fitted on
    reads                  the columns that it reads; the others below are those that the records had beside them
    columns                of each number: lowest, highest, and 1st, 50th and 99th percentile; share without a value
    words                  of each column of words: those that were seen

A model that was bundled before there were contracts has none. Then nothing is held against it, and the summary says so.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.artifacts.tables import are_among, row_groups
from pipeline.datasets.schema import Column

SAMPLE: Final = 20_000  # records that percentiles come from: those of the smallest ids, which are hashes
MOST_WORDS: Final = 500  # of a column; one with more is not held against the contract
SHOWN: Final = (1, 50, 99)  # percentiles
ID: Final = "record_id"


def fitted(
    records: Path, source: Mapping[str, Any], used: NDArray[np.uint64], columns: Sequence[Column]
) -> dict[str, Any]:
    """The contract of a model, ready for JSON.

    Args:
        records: Parquet file of all records.
        source: the content of ``source.json``.
        used: (k,) ids of the records that the model was fitted on, ascending.
        columns: those that it reads.

    Raises:
        ArtifactError: the file is absent or no Parquet.
    """
    reads = [column.name for column in columns]
    known = [Column(each["name"], categorical=each.get("categorical", False)) for each in source.get("columns", ())]
    columns = [column for column in known if column.name not in reads] + [*columns]
    parts = _used(records, used, columns)
    seen = {column.name: _Words() if column.categorical else _Numbers() for column in columns}
    kept: pa.Table | None = None
    for part in parts():
        for name, column in seen.items():
            column.add(part.column(name))
        kept = _smallest(part, kept)
    return {
        "dataset": source["dataset"],
        "synthetic": source["synthetic"],
        "extractors": source.get("extractors", []),
        "records": sum(part.num_rows for part in parts()),
        "reads": reads,
        "columns": {name: each.result(kept, name) for name, each in seen.items() if isinstance(each, _Numbers)},
        "words": {name: each.result() for name, each in seen.items() if isinstance(each, _Words)},
    }


def _used(records: Path, used: NDArray[np.uint64], columns: Sequence[Column]) -> Callable[[], Iterator[pa.Table]]:
    """Gives the used records, a row group at a time."""
    names = [ID, *(column.name for column in columns)]

    def parts() -> Iterator[pa.Table]:
        for group in row_groups(records, names):
            yield group.filter(pa.array(are_among(group.column(ID).to_numpy(), used)))

    return parts


def _smallest(part: pa.Table, kept: pa.Table | None) -> pa.Table:
    both = part if kept is None else pa.concat_tables([kept, part])
    order = pc.sort_indices(both, sort_keys=[(ID, "ascending")])
    return both.take(order.slice(0, SAMPLE)).combine_chunks()


class _Numbers:
    def __init__(self) -> None:
        self.low, self.high, self.undefined, self.n = np.inf, -np.inf, 0, 0

    def add(self, column: pa.ChunkedArray) -> None:
        values = column.to_numpy()
        finite = values[np.isfinite(values)]
        self.low, self.high = min(self.low, finite.min(initial=np.inf)), max(self.high, finite.max(initial=-np.inf))
        self.undefined, self.n = self.undefined + len(values) - len(finite), self.n + len(values)

    def result(self, sample: pa.Table | None, name: str) -> dict[str, float | None]:
        if sample is None or self.low > self.high:
            return {"low": None, "high": None, "undefined": 1.0}
        values = sample.column(name).to_numpy()
        finite = values[np.isfinite(values)]
        shown = np.percentile(finite, SHOWN).tolist() if len(finite) else [self.low, self.low, self.high]
        levels = {f"p{level:02d}": float(value) for level, value in zip(SHOWN, shown, strict=True)}
        return {"low": float(self.low), "high": float(self.high), **levels, "undefined": self.undefined / self.n}


class _Words:
    def __init__(self) -> None:
        self.words: set[str] = set()

    def add(self, column: pa.ChunkedArray) -> None:
        self.words.update(word for word in column.unique().to_pylist() if word)

    def result(self) -> list[str]:
        return sorted(self.words) if len(self.words) <= MOST_WORDS else []

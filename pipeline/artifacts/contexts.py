"""The context of the records of one split as a Parquet file, and over which past it looks back."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.artifacts.tables import TableWriter, are_among, read_table, row_groups, table_metadata

_ABOUT: Final = "flowsculpt.context"


@dataclass(frozen=True)
class Contexts:
    """Contexts of n records.

    Attributes:
        record_id: (n,).
        x: (n, F) float32; a row of NaN where a record has none.
        columns: the F names.
        about: over which past they look back: ``windows`` and ``remembered``.
    """

    record_id: NDArray[np.uint64]
    x: NDArray[np.float32]
    columns: tuple[str, ...]
    about: Mapping[str, Any]

    @property
    def known(self) -> NDArray[np.bool_]:
        """(n,) which records have one."""
        return np.asarray(~np.isnan(self.x).any(axis=1))

    @property
    def usual(self) -> dict[str, list[float]]:
        """``low`` and ``high`` of each column, between which 98 of 100 of those that are known lie; and ``middle``."""
        shares, x = {"low": 0.01, "middle": 0.5, "high": 0.99}, self.x[self.known]
        return {name: np.quantile(x, share, axis=0, method="inverted_cdf").tolist() for name, share in shares.items()}

    def select(self, rows: NDArray[np.bool_]) -> "Contexts":
        """The contexts of some of the records."""
        return Contexts(self.record_id[rows], self.x[rows], self.columns, self.about)


def path_of(room: Path, split: str) -> Path:
    """Where the contexts of a split lie."""
    return room / f"{split}.context.parquet"


def write_contexts(room: Path, split: str, contexts: Contexts) -> None:
    """Store the contexts of one split."""
    fields = [pa.field("record_id", pa.uint64()), *(pa.field(name, pa.float32()) for name in contexts.columns)]
    schema = pa.schema(fields, {_ABOUT: json.dumps(dict(contexts.about))})
    values = {name: np.ascontiguousarray(contexts.x[:, i]) for i, name in enumerate(contexts.columns)}
    with TableWriter(path_of(room, split), schema) as writer:
        writer.write(pa.Table.from_pydict({"record_id": contexts.record_id, **values}, schema=schema))


def read_contexts(room: Path, split: str, record_id: NDArray[np.uint64] | None = None) -> Contexts | None:
    """Load the contexts of one split, of the records with these ids, (k,), if any are given; None where there are none.

    Raises:
        ArtifactError: the file is no Parquet.
    """
    if not path_of(room, split).exists():
        return None
    wanted = None if record_id is None else np.sort(record_id)
    parts = [part if wanted is None else part.select(are_among(part.record_id, wanted))
             for part in context_groups(room, split)]  # fmt: skip
    return joined(parts) if parts else _contexts(read_table(path_of(room, split)), _about(room, split))


def context_groups(room: Path, split: str) -> Iterator[Contexts]:
    """The contexts of one split, a row group at a time.

    Raises:
        ArtifactError: the file is absent or no Parquet.
    """
    about = _about(room, split)
    for table in row_groups(path_of(room, split)):
        yield _contexts(table, about)


def _about(room: Path, split: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(table_metadata(path_of(room, split))[_ABOUT])
    return found


def _contexts(table: pa.Table, about: Mapping[str, Any]) -> Contexts:
    names = tuple(table.column_names[1:])
    x = np.empty((table.num_rows, len(names)), np.float32)
    for place, name in enumerate(names):
        x[:, place] = table.column(name).to_numpy()
    return Contexts(table.column("record_id").to_numpy(), x, names, about)


def joined(parts: Sequence[Contexts]) -> Contexts:
    """The contexts of several splits, one after the other."""
    ids, x = (np.concatenate([getattr(part, name) for part in parts]) for name in ("record_id", "x"))
    return Contexts(ids, x, parts[0].columns, parts[0].about)

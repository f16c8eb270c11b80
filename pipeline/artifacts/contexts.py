"""The context of the records of one split as a Parquet file, and over which past it looks back."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.artifacts.tables import TableWriter, read_table, table_metadata

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


def read_contexts(room: Path, split: str) -> Contexts | None:
    """Load the contexts of one split; None where the records have none.

    Raises:
        ArtifactError: the file is no Parquet.
    """
    path = path_of(room, split)
    if not path.exists():
        return None
    table, about = read_table(path), json.loads(table_metadata(path)[_ABOUT])
    names = tuple(table.column_names[1:])
    x = np.empty((table.num_rows, len(names)), np.float32)
    for place, name in enumerate(names):
        x[:, place] = table.column(name).to_numpy()
    return Contexts(table.column("record_id").to_numpy(), x, names, about)


def joined(parts: Sequence[Contexts]) -> Contexts:
    """The contexts of several splits, one after the other."""
    ids, x = (np.concatenate([getattr(part, name) for part in parts]) for name in ("record_id", "x"))
    return Contexts(ids, x, parts[0].columns, parts[0].about)

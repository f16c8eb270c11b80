"""Raw records and their features, side by side: those that are explained, and those that they are compared with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.serving import benign, record_columns
from pipeline.serving.bundle import Bundle
from pipeline.serving.quantities import Quantity
from pipeline.serving.usual import Usual


@dataclass(frozen=True)
class Kept:
    """n records, raw and as features.

    Attributes:
        ids: (n,) of them; zeros where they have none.
        columns: raw column -> (n,) values.
        x: (n, F) features.
    """

    ids: NDArray[np.uint64]
    columns: Mapping[str, NDArray[Any]]
    x: NDArray[np.float32]
    _usual: dict[Quantity, Usual] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, bundle: Bundle, table: pa.Table) -> "Kept":
        """Those of a table that holds the columns of a model."""
        has_ids = benign.ID in table.column_names
        ids = table.column(benign.ID).to_numpy() if has_ids else np.zeros(table.num_rows, np.uint64)
        columns = dict(record_columns.arrays(bundle.columns, table))
        mapped = bundle.features.map(columns)
        return cls(ids, columns, np.stack([mapped[name] for name in bundle.features.columns], axis=1))

    def usual(self, quantity: Quantity) -> Usual:
        """What these records have of a quantity."""
        if quantity not in self._usual:
            self._usual[quantity] = Usual.of(quantity, quantity.values(self.columns))
        return self._usual[quantity]

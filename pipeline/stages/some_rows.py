"""Some of the records that ingest stored, by row group; they are read where they are worked on."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.tables import RowGroup, row_group_parts
from pipeline.preprocessing.derived import Columns
from pipeline.preprocessing.features import Features
from pipeline.preprocessing.recipe import Recipe
from pipeline.stages.records import columns_of, raw_columns


@dataclass(frozen=True)
class SomeRows:
    """Some rows of a row group, unread.

    Attributes:
        group: the row group.
        names: of the columns.
        mask: (n,) which rows.
    """

    group: RowGroup
    names: tuple[str, ...]
    mask: NDArray[np.bool_]

    def __len__(self) -> int:
        return int(self.mask.sum())

    def columns(self) -> Columns:
        """The columns of these rows."""
        return {name: values[self.mask] for name, values in columns_of(self.group.read(), self.names).items()}


def columns_where(mask: NDArray[np.bool_]) -> Iterator[SomeRows]:
    """The columns of the records under a mask, (n,)."""
    names = tuple(raw_columns())
    return (SomeRows(group, names, mask[group.rows]) for group in row_group_parts(paths.RECORDS, names))


def fitted(mask: NDArray[np.bool_], recipe: Recipe) -> Features:
    """The transform, fitted on the records under a mask, (n,)."""
    return Features.fit(columns_where(mask), int(mask.sum()), recipe)

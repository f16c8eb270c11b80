"""A sample of the records of each class, gathered in one pass over batches."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.base.samples import row_hash
from pipeline.datasets.schema import Column

Array = NDArray[np.float64]
Keys = NDArray[np.uint64]


@dataclass(frozen=True)
class Sample:
    """n records, sorted by class.

    Attributes:
        attack: (n,) index into ``attacks``.
        attacks: names of the classes, ``benign`` among them.
        half: (n,) the random half that a record belongs to, 0 or 1.
        x: (n, F) features; a word is a code, a missing one NaN.
    """

    attack: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))
    attacks: tuple[str, ...] = ()
    half: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))
    x: Array = field(default_factory=lambda: np.empty((0, 0)))


class ClassSample:
    """Keeps the ``rows`` records of each class whose hashed ids are smallest: random, yet the same for all batches.

    Args:
        columns: the F features.
        rows: how many records of a class are kept at most; 8 F bytes each.
    """

    def __init__(self, columns: Sequence[Column], rows: int) -> None:
        self.columns, self.rows = columns, rows
        self._codes: dict[str, dict[str, int]] = {column.name: {} for column in columns if column.categorical}
        self._classes: dict[str, tuple[Keys, Array]] = {}

    def add(self, labels: pd.DataFrame, values: Mapping[str, Array], words: Mapping[str, pd.Series]) -> None:
        """Take in a batch: the frame of ``frames.labels``, and (n,) for each feature."""
        keys = row_hash([labels["record_id"].fillna(0).to_numpy(np.uint64)])
        numbers = {**values, **{name: self._numbers(name, column) for name, column in words.items()}}
        read = partial(_rows, [numbers[column.name] for column in self.columns])
        codes = labels["attack"].cat.codes.to_numpy()
        for code, attack in enumerate(labels["attack"].cat.categories):
            self._extend(str(attack), keys, np.flatnonzero(codes == code), read)

    def result(self) -> Sample:
        """The sample, in an order that does not depend on the batches."""
        attacks = tuple(sorted(self._classes))
        ordered = [(keys, x, np.argsort(keys, kind="stable")) for keys, x in map(self._classes.__getitem__, attacks)]
        sizes = [len(keys) for keys, _, _ in ordered]
        keys = np.concatenate([np.empty(0, np.uint64), *(keys[order] for keys, _, order in ordered)])
        return Sample(
            attack=np.repeat(np.arange(len(attacks)), sizes),
            attacks=attacks,
            half=(keys & np.uint64(1)).astype(np.intp),
            x=np.concatenate([np.empty((0, len(self.columns))), *(x[order] for _, x, order in ordered)]),
        )

    def _extend(self, attack: str, keys: Keys, at: NDArray[np.intp], read: Callable[[NDArray[np.intp]], Array]) -> None:
        if not len(at):
            return
        known, x = self._classes.get(attack, (np.empty(0, np.uint64), np.empty((0, len(self.columns)))))
        both = np.concatenate([known, keys[at]])
        chosen = np.sort(np.argsort(both, kind="stable")[: self.rows])
        kept, fresh = np.split(chosen, [np.searchsorted(chosen, len(known))])
        if len(fresh):
            self._classes[attack] = both[chosen], np.concatenate([x[kept], read(at[fresh - len(known)])])

    def _numbers(self, name: str, words: pd.Series) -> Array:
        known = self._codes[name]
        codes = [known.setdefault(str(word), len(known)) for word in words.cat.categories]
        return np.array([*codes, np.nan])[words.cat.codes.to_numpy()]  # -1, missing, is the last


def _rows(columns: Sequence[Array], at: NDArray[np.intp]) -> Array:
    """(k, F) values at the k rows ``at``."""
    return np.stack([column[at] for column in columns], axis=1) if columns else np.empty((len(at), 0))

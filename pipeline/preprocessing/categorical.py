"""Categorical columns: words become numbers, by the words of the train rows."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.base.errors import DataError
from pipeline.datasets.words import Vocabulary
from pipeline.settings.preprocess import Encoding

MOST_ONE_HOT = 256  # one-hot columns at most, of all categorical columns together
COUNT = "_count"


class CategoricalFit:
    """Counts how many rows have each word."""

    def __init__(self, values: NDArray[np.object_]) -> None:
        codes, words = pd.factorize(values)
        self.counts = Counter(dict(zip(words.tolist(), np.bincount(codes, minlength=len(words)).tolist(), strict=True)))

    @property
    def rows(self) -> int:
        """All rows so far."""
        return self.counts.total()

    def add(self, other: "CategoricalFit") -> None:
        """Include the rows of ``other``."""
        self.counts.update(other.counts)


@dataclass(frozen=True)
class Categorical:
    """The words of a categorical column in the train rows.

    Attributes:
        words: (W,) in ascending order, without "", which means no word.
        counts: (W,) how many train rows have each.
        rows: all train rows.
    """

    words: tuple[str, ...]
    counts: tuple[int, ...]
    rows: int

    @classmethod
    def of(cls, counts: Mapping[str, int]) -> Self:
        """The words in ``counts``, which says how many rows have each."""
        words = sorted(word for word in counts if word)
        return cls(tuple(words), tuple(counts[word] for word in words), sum(counts.values()))

    def varies(self, categorical: Encoding) -> bool:
        """Whether the encoded column varies over the train rows; words with equal counts get the same number."""
        values = self.words if categorical == "one_hot" else set(self.counts)
        return len(values) + (sum(self.counts) < self.rows) > 1

    @property
    def commonest(self) -> str:
        """The word that most train rows have."""
        return max(zip(self.counts, self.words, strict=True), default=(0, ""))[1]

    def codes(self, values: NDArray[np.object_]) -> NDArray[np.intp]:
        """(n,) index into ``words`` of each value; W for a word that is not among them."""
        seen, unique = pd.factorize(values)
        places = [self._vocabulary.place(text) for text in unique]
        return np.array([len(self.words) if place is None else place for place in places], dtype=np.intp)[seen]

    def unknown(self, values: NDArray[np.object_]) -> Counter[str]:
        """Each word of ``values``, (n,), that no train row has, and how many rows have it; "" is not counted."""
        seen, unique = pd.factorize(values)
        counts = zip(unique, np.bincount(seen, minlength=len(unique)).tolist(), strict=True)
        return Counter({text: count for text, count in counts if text and self._vocabulary.place(text) is None})

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary(self.words)

    def logs(self, standard: bool) -> NDArray[np.float64]:
        """(W + 1,) log(1 + n) of each word, and of an unknown one; standardised over the train rows if asked for."""
        logs = np.log1p(np.array([*self.counts, 0], dtype=np.float64))
        weight = np.array([*self.counts, self.rows - sum(self.counts)], dtype=np.float64) / max(self.rows, 1)
        mean = float((weight * logs).sum())
        spread = float(np.sqrt((weight * np.square(logs - mean)).sum()))
        return (logs - mean) / (spread or 1.0) if standard else logs

    def encode(
        self, name: str, values: NDArray[np.object_], categorical: Encoding, standard: bool, limit: float
    ) -> dict[str, NDArray[np.float32]]:
        """The features of the column ``name`` with ``values``, (n,): feature name -> (n,) float32.

        Args:
            name: of the column.
            values: its words, "" for none.
            categorical: how it is encoded.
            standard: whether counts are standardised.
            limit: largest absolute value of a count.
        """
        codes = self.codes(values)
        if categorical == "one_hot":
            return {_one_hot(name, word): (codes == code).astype(np.float32) for code, word in enumerate(self.words)}
        logs = np.clip(self.logs(standard), -limit, limit)
        return {name + COUNT: logs.astype(np.float32)[codes]}


def feature_names(words: Mapping[str, Categorical], categorical: Encoding) -> tuple[str, ...]:
    """Names of the features that encode categorical columns."""
    if categorical == "count":
        return tuple(name + COUNT for name in words)
    return tuple(_one_hot(name, word) for name, column in words.items() for word in column.words)


def require_few(words: Mapping[str, Categorical], categorical: Encoding) -> None:
    """Refuse more one-hot columns than a model should see.

    Raises:
        DataError: there are too many; it names the column with the most words.
    """
    columns = len(feature_names(words, categorical))
    if categorical == "one_hot" and columns > MOST_ONE_HOT:
        most = max(words, key=lambda name: len(words[name].words))
        raise DataError(
            f"preprocess: the words of the train rows would become {columns:,} columns, {MOST_ONE_HOT} are allowed; "
            f"{most!r} alone has {len(words[most].words):,} words; set preprocess.features.categorical to count, or "
            f"name {most!r} in preprocess.features.drop"
        )


def _one_hot(name: str, word: str) -> str:
    return f"{name}={word}"

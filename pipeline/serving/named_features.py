"""The features that are named as reasons, with what a record has there beside what is usual."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.serving.alerts.schema import Reason
from pipeline.serving.causes import Cause
from pipeline.serving.kept_records import Kept
from pipeline.serving.quantities import Quantity
from pipeline.serving.usual import Usual, sentence

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Read:
    """What n records have of one quantity.

    Attributes:
        own: (n,) their values.
        similar: (n,) what the most similar benign records have.
        usual: what benign records have.
    """

    own: list[Any]
    similar: list[Any]
    usual: Usual


class NamedFeatures:
    """The features of n records that are named, and what the records have there.

    Args:
        columns: (F,) names of the features.
        quantities: (F,) what they were made of.
        given: the records.
        benign: the benign records that they are compared with.
        like: (n, k) the most similar benign records.
        share: (n, F) of the surprise that each feature explains.
    """

    def __init__(
        self,
        columns: Sequence[str],
        quantities: Sequence[Quantity],
        given: Kept,
        benign: Kept,
        like: NDArray[np.intp],
        share: Floats,
    ) -> None:
        self.columns, self.quantities, self.given, self.benign = columns, quantities, given, benign
        self.like, self.share = like, share
        self._known: dict[int, _Read] = {}  # by the place of the feature

    def causes(self, fall: Floats, most: int) -> list[list[Cause]]:
        """Of each record the ``most`` features whose replacement lets its score fall most, each column once.

        Args:
            fall: (n, F).
            most: of a record.
        """
        orders = np.argsort(-fall, axis=1, kind="stable")
        falls = np.take_along_axis(fall, orders, axis=1)
        both = zip(orders.tolist(), falls.tolist(), strict=True)
        return [self._causes(row, order, by, most) for row, (order, by) in enumerate(both)]

    def _causes(self, row: int, order: list[int], falls: list[float], most: int) -> list[Cause]:
        found: dict[str, Cause] = {}
        for place, fall in zip(order, falls, strict=True):
            name = self.quantities[place].name
            if name not in found:
                found[name] = self.cause(row, place, fall)
            if len(found) == most:
                break
        return [*found.values()]

    def cause(self, row: int, place: int, fall: float) -> Cause:
        """One feature of one record, by its place, with the fall of the score."""
        quantity = self.quantities[place]
        read = self._known.get(place) or self._read(place)
        value, similar, usual = read.own[row], read.similar[row], read.usual
        is_word = isinstance(value, str)
        reason = Reason(
            self.columns[place],
            None if is_word or not math.isfinite(value) else float(value),
            value if is_word else None,
            quantity.unit,
            usual.low,
            usual.high,
            usual.text,
            min(max(float(self.share[row, place]), 0.0), 1.0),
            sentence(quantity, usual, value, similar),
        )
        return Cause(reason, quantity.theme, similar, fall)

    def _read(self, place: int) -> _Read:
        """What the records and the benign ones have of the quantity of a feature."""
        quantity = self.quantities[place]
        own, theirs = (quantity.values(each) for each in (self.given.columns, self.benign.columns))
        read = _Read(own.tolist(), _middles(theirs[self.like]), self.benign.usual(quantity))
        self._known[place] = read
        return read


def _middles(values: NDArray[Any]) -> list[Any]:
    """(n,) of each row of values, (n, k): the upper median of what is finite, or the commonest word."""
    if values.dtype == object:
        return [_commonest(row) for row in values]
    finite = np.isfinite(values)
    ascending = np.sort(np.where(finite, values, np.inf), axis=1)
    middle = np.take_along_axis(ascending, finite.sum(1, keepdims=True) // 2, axis=1)
    found: list[float] = np.where(finite.any(1), middle[:, 0], values[:, 0]).astype(np.float64).tolist()
    return found


def _commonest(words: NDArray[Any]) -> str:
    names, counts = np.unique(words.astype(str), return_counts=True)
    return str(names[counts.argmax()])

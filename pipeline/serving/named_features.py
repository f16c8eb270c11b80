"""The features that are named as reasons, with what a record has there beside what is usual."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.serving.alerts.schema import Reason
from pipeline.serving.causes import Cause
from pipeline.serving.kept_records import Kept
from pipeline.serving.quantities import Quantity
from pipeline.serving.usual import sentence

Floats = NDArray[np.float64]


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
        self._values: dict[Quantity, tuple[list[Any], NDArray[Any]]] = {}

    def causes(self, row: int, fall: Floats, most: int) -> list[Cause]:
        """The ``most`` features whose replacement lets the score of a record fall most, each column once."""
        found: dict[str, Cause] = {}
        for place in np.argsort(-fall[row], kind="stable").tolist():
            quantity = self.quantities[place]
            if quantity.name not in found:
                found[quantity.name] = self.cause(row, place, float(fall[row, place]))
            if len(found) == most:
                break
        return [*found.values()]

    def cause(self, row: int, place: int, fall: float) -> Cause:
        """One feature of one record, by its place, with the fall of the score."""
        quantity = self.quantities[place]
        own, theirs = self._read(quantity)
        value, usual = own[row], self.benign.usual(quantity)
        similar = _middle(theirs[self.like[row]])
        is_word = isinstance(value, str)
        reason = Reason(
            self.columns[place],
            None if is_word or not np.isfinite(value) else float(value),
            value if is_word else None,
            quantity.unit,
            usual.low,
            usual.high,
            usual.text,
            float(np.clip(self.share[row, place], 0, 1)),
            sentence(quantity, usual, value, similar),
        )
        return Cause(reason, quantity.theme, similar, fall)

    def _read(self, quantity: Quantity) -> tuple[list[Any], NDArray[Any]]:
        """What the records have of a quantity, and what the benign records have."""
        if quantity not in self._values:
            own, theirs = (quantity.values(each) for each in (self.given.columns, self.benign.columns))
            self._values[quantity] = (own.tolist(), theirs)
        return self._values[quantity]


def _middle(values: NDArray[Any]) -> float | str:
    if values.dtype == object:
        names, counts = np.unique(values.astype(str), return_counts=True)
        return str(names[counts.argmax()])
    finite = np.sort(values[np.isfinite(values)])
    return float(finite[len(finite) // 2]) if finite.size else float(values[0])

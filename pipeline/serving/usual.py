"""What is usual: what the benign records that a model keeps have, beside what one record has, in words."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.serving.quantities import Quantity

PERCENTILES: Final = (0.01, 0.99)
OF_100: Final = 98  # benign records lie between these, of 100
NONE: Final = "(none)"  # a name that is missing
NAMES: Final = 3  # the commonest ones, which stand in the text
_TIMES: Final = ((1e6, "s"), (1e3, "ms"), (1, "us"))  # microseconds in each unit of time
_SUFFIXES: Final = {"B": " B", "B/s": " B/s", "B^2": " B^2", "1/s": "/s", "packets": "", "s": " s", "ms": " ms"}


@dataclass(frozen=True)
class Usual:
    """What benign records have of one quantity.

    Attributes:
        low, high: between which 98 of 100 of them lie; None for a name.
        text: the same in words.
        share: of a name, among them.
        records: how many there are.
    """

    low: float | None
    high: float | None
    text: str
    share: Mapping[Any, float] = field(default_factory=dict, repr=False)
    records: int = 0

    @classmethod
    def of(cls, quantity: Quantity, values: NDArray[Any]) -> Self:
        """That of the values, (n,), of benign records."""
        if quantity.kind == "name":
            return cls._of_names(values)
        finite = values[np.isfinite(values)]
        if quantity.kind == "missing":
            share = 1 - finite.size / max(values.size, 1)
            return cls(None, None, f"missing in {share:.1%} of benign records".replace("%", " %"), records=len(values))
        if not finite.size:
            return cls(None, None, "missing in all benign records", records=len(values))
        low, high = np.quantile(finite, PERCENTILES, method="inverted_cdf").tolist()
        return cls(
            low, high, f"{OF_100} of 100 benign records: {ranged(low, high, quantity.unit)}", records=len(values)
        )

    @classmethod
    def _of_names(cls, values: NDArray[Any]) -> Self:
        names, counts = np.unique(values if values.dtype != object else values.astype(str), return_counts=True)
        order = np.argsort(-counts, kind="stable")
        share = {names[each].item(): counts[each] / values.size for each in order}
        first = ", ".join(f"{named(name)} ({100 * part:.2g} %)" for name, part in [*share.items()][:NAMES])
        return cls(None, None, f"benign records: mostly {first}", share, len(values))

    def holds(self, value: float) -> bool:
        """Whether a number lies in the range."""
        return self.low is not None and self.high is not None and self.low <= value <= self.high


def sentence(quantity: Quantity, usual: Usual, value: Any, similar: Any) -> str:
    """What one record has, beside what is usual.

    Args:
        quantity: what it is.
        usual: what benign records have.
        value: of the record.
        similar: what the most similar benign records have.
    """
    if quantity.kind == "name":
        return f"{quantity.shown} {named(value)}, {_known(usual, value)}; {usual.text}"
    if not math.isfinite(value):
        return f"{quantity.shown} is {'missing' if math.isnan(value) else 'infinite'}; {usual.text}"
    said, other = (number(each, quantity.unit) for each in (value, similar))
    is_told = usual.holds(value) and math.isfinite(similar) and other != said
    beside = f", where similar benign records have {other}" if is_told else ""
    return f"{quantity.shown} {said}{beside}; {usual.text}"


def _known(usual: Usual, value: Any) -> str:
    share = usual.share.get(value, 0.0)
    if named(value) == NONE:  # NaN is equal to no key
        share = sum(part for name, part in usual.share.items() if named(name) == NONE)
    if not share:
        return f"which none of {usual.records:,} benign records has"
    return f"which {100 * share:.2g} % of benign records have"


def named(value: Any) -> str:
    """A word, or a number that is a name."""
    if isinstance(value, str):
        return value or NONE
    return f"{value:.0f}" if math.isfinite(value) else NONE


def number(value: float, unit: str = "") -> str:
    """A number with its unit, as in ``1,460 B`` and ``1.2 s``."""
    if unit == "us":
        return _time(value)
    if unit == "B" and value == -1:  # as CICFlowMeter writes the window of a side that sent none
        return f"-1 {NONE}"
    is_large = 1000 <= abs(value) < 1e15  # fractions of these tell nobody anything
    text = f"{value:,.0f}" if is_large or (abs(value) < 1000 and float(value).is_integer()) else f"{value:,.4g}"
    return text + _SUFFIXES.get(unit, f" {unit}" if unit else "")


def ranged(low: float, high: float, unit: str = "") -> str:
    """A range, or the one number that it consists of."""
    return number(low, unit) if low == high else f"{number(low, unit)} to {number(high, unit)}"


def _time(value: float) -> str:
    if not value:
        return "0"
    size, unit = next((size, unit) for size, unit in _TIMES if abs(value) >= size or size == 1)
    return f"{value / size:,.4g} {unit}"

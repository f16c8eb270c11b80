"""What a feature was made of, as a person reads it: a recorded value, a word, a ratio, or that a value is missing."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.schema import FEATURES
from pipeline.preprocessing.derived import DERIVED, GROUPS, value_of
from pipeline.preprocessing.features import Features
from pipeline.preprocessing.frequency import FREQUENCY
from pipeline.serving.alerts import kinds

Columns = Mapping[str, NDArray[Any]]
Kind = Literal["number", "ratio", "name", "missing"]

UNDEFINED: Final = "_undefined"  # behind the column of which a feature says whether it is one
_UNITS: Final = {column.name: column.unit for column in FEATURES}
_RATIOS: Final = frozenset(name for name in GROUPS["ratios"] if "_over_" in name)
_PER_PACKET: Final = "_per_packet"
_FLAGS: Final = frozenset(name for name in GROUPS["ratios"] if name.endswith(_PER_PACKET))
_PORT: Final = re.compile(r"(^|_)port$")


@dataclass(frozen=True)
class Quantity:
    """What a feature was made of.

    Attributes:
        name: of the column, recorded or derived.
        kind: ``number``; ``ratio`` of two columns; ``name``: a word, or a number that is a name, such as a port;
            ``missing``: whether a number is missing.
        unit: of a number, such as ``B`` or ``us``; "" for none.
    """

    name: str
    kind: Kind
    unit: str = ""

    def values(self, columns: Columns) -> NDArray[Any]:
        """(n,) what records have, given their raw columns: float64, or words."""
        found = value_of(self.name, columns)
        return np.exp(found) if self.kind == "ratio" else found

    @property
    def shown(self) -> str:
        """Its name for a person; a ratio as it is computed, so that the number can be checked."""
        if self.kind == "ratio":
            return "({} + 1) / ({} + 1)".format(*self.name.split("_over_"))
        return f"{self.name.removesuffix(_PER_PACKET)} / (packets + 1)" if self.name in _FLAGS else self.name

    @cached_property
    def theme(self) -> str:
        """What it is about, coarsely: one of a few words, or its own name."""
        return kinds.of_column(self.name)


def quantity_of(feature: str, features: Features) -> Quantity:
    """What a feature was made of."""
    rare = feature.removesuffix(FREQUENCY)
    if rare in features.rarities:
        return Quantity(rare, "name")
    if feature in features.raw:
        return _of_column(feature, features)
    if feature.removesuffix(UNDEFINED) in features.raw or feature.endswith(UNDEFINED):
        return Quantity(feature.removesuffix(UNDEFINED), "missing", _UNITS.get(feature.removesuffix(UNDEFINED), ""))
    return Quantity(max((word for word in features.words if feature.startswith(word)), key=len), "name")


def _of_column(name: str, features: Features) -> Quantity:
    if name in features.rarities or _PORT.search(name):
        return Quantity(name, "name")
    if name in _RATIOS:
        return Quantity(name, "ratio")
    unit = _UNITS.get(name, "" if name in DERIVED else _unit_by_name(name))
    return Quantity(name, "number", "" if unit in ("1", "flags", "port") else unit)


def _unit_by_name(name: str) -> str:
    return "B" if name.endswith("_bytes") else ""

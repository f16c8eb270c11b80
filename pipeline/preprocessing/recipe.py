"""The recipe: which features to make of the raw columns, and how; it is fixed before any row is seen."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.base.errors import ConfigError, DataError, near_miss
from pipeline.base.samples import row_hash
from pipeline.preprocessing.derived import DERIVED, GROUPS, Columns, needs_of
from pipeline.preprocessing.frequency import FREQUENCY
from pipeline.settings.preprocess import RecipeSettings


@dataclass(frozen=True)
class Recipe(RecipeSettings):
    """The settings with every group of derived features as its names, and what follows for given columns."""

    def __post_init__(self) -> None:
        names = tuple(member for name in self.derive for member in GROUPS.get(name, (name,)))
        object.__setattr__(self, "derive", tuple(dict.fromkeys(names)))
        super().__post_init__()

    @classmethod
    def of(cls, settings: RecipeSettings) -> Self:
        """The recipe that a section of settings holds."""
        return cls(**{each.name: getattr(settings, each.name) for each in fields(cls)})

    def within(self, available: Iterable[str], known: Collection[str]) -> tuple[Self, tuple[str, ...]]:
        """The recipe for records that have only the columns ``available``, and the names that had to be left out.

        A column in ``drop`` or ``rarity`` that the records lack is left out if some data set has it, that is, if it is
        ``known``. A derived feature is left out if a column that it needs is missing.

        Raises:
            ConfigError: a dropped name is neither available nor known.
        """
        here = set(available)
        for setting, names in (("drop", self.drop), ("rarity", self.rarity)):
            for name in names:
                _require_column(name, {*here, *known}, setting)
        rarity = tuple(name for name in self.rarity if name in here)
        drop = tuple(name for name in self.drop if name in here)
        derive = tuple(name for name in self.derive if name not in DERIVED or here.issuperset(DERIVED[name].needs))
        asked = (*self.drop, *self.derive, *(name + FREQUENCY for name in self.rarity))
        over = tuple(name for name in asked if name not in {*drop, *derive, *(name + FREQUENCY for name in rarity)})
        return replace(self, drop=drop, derive=derive, rarity=rarity), _by_group(over)

    def raw(self, available: Iterable[str]) -> tuple[str, ...]:
        """The raw columns that stay.

        Raises:
            ConfigError: a dropped or derived name is unknown.
            DataError: the records lack a column that a derived one needs.
        """
        available = tuple(available)
        for name in set(DERIVED).intersection(available):
            raise DataError(f"column {name!r} of the records bears the name of a derived feature; rename it")
        for name in self.drop:
            _require_column(name, available)
        for name in self.derive:
            if name not in DERIVED:
                names = [*GROUPS, *DERIVED]
                known = f"{near_miss(name, names)}; known: {', '.join(names)}"
                raise ConfigError(f"preprocess.features.derive: {name!r} is not known{known}")
            for need in set(DERIVED[name].needs).difference(available):
                remedy = "take it out of preprocess.features.derive"
                raise DataError(f"{name!r} needs the column {need!r}, which the records lack; {remedy}")
        return tuple(name for name in available if name not in self.drop)

    def reads(self, available: Iterable[str]) -> tuple[str, ...]:
        """The raw columns that features are made of: those that stay, and those that only derived features need."""
        kept = self.raw(available)
        return tuple(dict.fromkeys([*kept, *(need for name in self.derive for need in needs_of(name))]))


def _by_group(names: tuple[str, ...]) -> tuple[str, ...]:
    """The same names, with the name of a group for all its members."""
    whole = {member: group for group, members in GROUPS.items() if {*members} <= {*names} for member in members}
    return tuple(dict.fromkeys(whole.get(name, name) for name in names))


def _require_column(name: str, known: Collection[str], setting: str = "drop") -> None:
    if name not in known:
        raise ConfigError(
            f"preprocess.features.{setting}: {name!r} is no column of the records{near_miss(name, known)}"
        )


def content_hash(columns: Columns, recipe: Recipe) -> NDArray[np.uint64]:
    """(n,) hash of the raw values that a model sees; records that it cannot tell apart have the same one."""
    return row_hash(_hashable(columns[name]) for name in recipe.reads(columns))


def _hashable(values: NDArray[Any]) -> NDArray[Any]:
    return pd.util.hash_array(values) if values.dtype == object else values

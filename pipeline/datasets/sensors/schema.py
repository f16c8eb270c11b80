"""What a sensor logs: its fields, the features that are computed from them, and the columns of its records."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import SchemaError, near_miss
from pipeline.datasets.schema import Column
from pipeline.datasets.sensors.derived import Derived
from pipeline.datasets.sensors.fields import Field


@dataclass(frozen=True)
class Coded:
    """Features that one text stands for. In Zeek's ``history``, for instance, each letter is an event.

    Attributes:
        field: name of the text.
        columns: the features, k of them.
        numbers: a word -> (k,) numbers.
    """

    field: str
    columns: tuple[Column, ...]
    numbers: Callable[[str], NDArray[np.float64]]


@dataclass(frozen=True)
class Schema:
    """What a sensor logs.

    Attributes:
        title: how messages call its log.
        fields: those that are read. Others in the log are passed over.
        always: names of the fields that are never unset.
        derived: features that are computed from their numbers.
        coded: features that a text stands for.
    """

    title: str
    fields: tuple[Field, ...]
    always: tuple[str, ...]
    derived: tuple[Derived, ...] = ()
    coded: tuple[Coded, ...] = ()

    @property
    def columns(self) -> tuple[Column, ...]:
        """The features of the records: those of the log, then those that are computed."""
        own = tuple(field.column for field in self.fields if field.column)
        coded = tuple(column for each in self.coded for column in each.columns)
        return (*own, *(each.column for each in self.derived), *coded)

    def with_fields(self, *fields: Field) -> Self:
        """The same schema with more fields."""
        return replace(self, fields=(*self.fields, *fields))

    def within(self, available: Collection[str]) -> Self:
        """The same schema with those of its features alone that are ``available``; from now on each of them must be."""
        kept = (field for field in self.fields if field.source in available or not field.column)
        return replace(self, fields=tuple(replace(field, required=bool(field.column)) for field in kept))

    def require(self, where: str, available: Collection[str]) -> None:
        """Refuse a log that lacks a field.

        Args:
            where: the log is, for the message.
            available: names of its fields.

        Raises:
            SchemaError: with all that are missing, and near misses.
        """
        missing = [field.source for field in self.fields if field.required and field.source not in available]
        if missing:
            named = ", ".join(f"{name!r}{near_miss(name, available)}" for name in missing)
            raise SchemaError(f"{where}: is no {self.title}, or lacks fields of it: {named}")

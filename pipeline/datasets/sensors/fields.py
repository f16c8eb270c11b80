"""One field of a sensor's log: what the sensor calls it, and what it is in a record."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pipeline.datasets.records import HIGHEST_PORT
from pipeline.datasets.schema import Column
from pipeline.datasets.sensors.protocols import protocol_name

Kind = Literal["number", "word", "time", "text", "port"]
NONE = "-"  # the word of a field that the sensor left unset, as Zeek spells it


@dataclass(frozen=True)
class Field:
    """One field.

    Attributes:
        source: its name in the log; a dot leads into a nested object of JSON.
        name: what the record calls it.
        kind: ``number`` and ``word`` are features, unless there is no ``column``; ``time`` is the start of the
            connection; ``text`` and ``port`` travel along and are no features.
        column: the feature, if it is one.
        scale: factor from the unit of the log to that of the column.
        unset: the number of a field that the sensor left unset.
        required: whether a log without it is none of this sensor.
        spelling: how a word is spelt in a record; None for as it stands there.
    """

    source: str
    name: str
    kind: Kind
    column: Column | None = None
    scale: float = 1.0
    unset: float = 0.0
    required: bool = True
    spelling: Callable[[str], str] | None = None

    @property
    def low(self) -> float:
        """The smallest number that the field may hold: none counts or measures less than nothing."""
        return self.column.low or 0.0 if self.column else 0.0


def count(source: str, name: str, unit: str, high: float | None = None, required: bool = True) -> Field:
    """A whole number; 0 where it is unset."""
    return Field(source, name, "number", Column(name, unit, (source,), high=high), required=required)


def amount(source: str, name: str, unit: str, scale: float = 1.0, required: bool = True) -> Field:
    """A real number, 0 where it is unset."""
    return Field(source, name, "number", Column(name, unit, (source,), integer=False), scale, required=required)


def asked_port(source: str) -> Field:
    """The port that is asked for, as a feature; 0 where there is none."""
    return count(source, "destination_port", "port", high=HIGHEST_PORT)


def port(source: str, name: str) -> Field:
    """A port that travels along."""
    return Field(source, name, "port", required=False)


def word(source: str, name: str, required: bool = True, spelling: Callable[[str], str] | None = None) -> Field:
    """A feature whose values are words; ``NONE`` where it is unset."""
    column = Column(name, "word", (source,), low=None, integer=False, categorical=True)
    return Field(source, name, "word", column, required=required, spelling=spelling)


def protocol(source: str) -> Field:
    """The transport protocol, by name or number. It gives the feature ``proto`` and a number that travels along."""
    return word(source, "proto", spelling=protocol_name)


def text(source: str, name: str, required: bool = False) -> Field:
    """A text that travels along, such as an address."""
    return Field(source, name, "text", required=required)


def time(source: str, name: str = "timestamp", scale: float = 1.0) -> Field:
    """A time, by default the start of the connection. It is a number of seconds times ``scale``, or ISO text."""
    return Field(source, name, "time", scale=scale)

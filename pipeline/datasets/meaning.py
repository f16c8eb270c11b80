"""What the cells of one file mean, beyond their names."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from pipeline.datasets.extractors import Extractor
from pipeline.datasets.times import TimeFormat
from pipeline.datasets.units import Units


@dataclass(frozen=True)
class Meaning:
    """What was found of a file before its records are read.

    Attributes:
        times: how its timestamps are read; None where it has none.
        units: of its durations; None where nothing was looked at.
        extractor: what wrote it; None where nothing was looked at.
    """

    times: TimeFormat | None = None
    units: Units | None = None
    extractor: Extractor | None = None


UNKNOWN: Final = Meaning()


@dataclass(frozen=True)
class Notes:
    """What was found while some rows of a file were read.

    Attributes:
        source: name of the file.
        meaning: of its cells.
        dialect: how its rows are written, in words.
        family: short name of the family that its names are from; "" for none.
        aside: headers of the columns that are not read.
        labels: text of a label -> rows.
        unread_times: how many cells hold a time that cannot be read.
        unread: some of these cells.
        contradiction: one of these cells, whose day and month stand the other way round; "" for none.
        remarks: sentences on the whole file that a person should know.
    """

    source: str
    meaning: Meaning = UNKNOWN
    dialect: str = ""
    family: str = ""
    aside: tuple[str, ...] = ()
    labels: Counter[str] = field(default_factory=Counter)
    unread_times: int = 0
    unread: tuple[str, ...] = ()
    contradiction: str = ""
    remarks: tuple[str, ...] = ()

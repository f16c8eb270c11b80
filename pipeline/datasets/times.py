"""Reads a column of timestamps, whose format is found from the whole column.

A cell shows by itself how it is written: ``2017-07-03 08:55:58``, ``03/07/2017 8:55``, ``Jul 3, 2017 08:55``, a number
of seconds. It does not show whether 03/07 is in July, or whether 2:30 is at night. That is decided for the column:

- a day or a month above 12, anywhere in it, tells day and month apart. Where there is none, the day comes first, as
  CICFlowMeter writes it, and the column counts as ambiguous;
- hours are those of a 24-hour clock. But CIC-IDS-2017 and CSE-CIC-IDS2018 were published on a 12-hour clock without am
  and pm, of captures in office hours. Where a whole column has days of these captures and hours from 1 to 12 alone,
  hours 1 to 7 are in the afternoon;
- numbers are seconds, milliseconds, microseconds or nanoseconds since 1970, whichever leads to this age.

Times with an offset, and numbers, are converted to the zone of the settings. Others are in that zone already. All are
stored in it, without an offset.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.datasets.clock import Ints, Parts, Times, epoch, in_zone, parts_of
from pipeline.datasets.nulls import NO_NUMBER
from pipeline.datasets.reading import AUTO, UTC, Reading

Order = Literal["", "day first", "month first", "contradictory"]

# The days of the captures that were published on a 12-hour clock without am and pm.
PUBLISHED: Final = (("2017-07-03", "2017-07-07"), ("2018-02-14", "2018-03-02"))
PLAIN: Final = "2017-07-03"  # the shape of ISO 8601, which Arrow reads fast
AFTERNOON: Final = 8  # their hours below it
EPOCHS: Final = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}  # unit -> how many there are in a second
OLDEST, NEWEST = 6.3e8, 4.1e9  # seconds since 1970: the years 1990 and 2099


@dataclass(frozen=True)
class TimeFormat:
    """How the cells of a column are read.

    Attributes:
        order: of day and month, where the year comes last.
        proven: whether the column shows the order.
        example: a cell that shows it, or one that may be read both ways.
        afternoon: whether hours 1 to 7 are in the afternoon.
        epoch: unit of numbers, "" where they lead to no time of this age.
        explicit: the format of the settings, in place of all this; "" for none.
        shapes: what the cells look like, the most frequent first.
        sample: the first cell.
        zone: that times without an offset are in, and that all are stored in.
    """

    order: Order = ""
    proven: bool = False
    example: str = ""
    afternoon: bool = False
    epoch: str = ""
    explicit: str = ""
    shapes: tuple[str, ...] = ()
    sample: str = ""
    zone: ZoneInfo = UTC

    @property
    def ambiguous(self) -> bool:
        """Whether a cell may be read in two ways, and nothing in the column decides."""
        return bool(self.order) and not self.proven

    def sentence(self) -> str:
        """For a person."""
        if self.explicit:
            return f"Times are read as {self.explicit!r}, as ingest.time_format says."
        if not self.shapes:
            return "There are no times."
        unit = f", in {self.epoch} since 1970" if self.epoch else ""
        order = f", {self.order}" if self.order not in ("", "contradictory") else ""
        return " ".join([f"Times look like {self.sample!r}{order}{unit}.", *self.doubts()])

    def doubts(self) -> list[str]:
        """What a person should look at."""
        said = []
        remedy = "set ingest.time_format if that is wrong"
        if self.shapes == ("number",) and not self.epoch:
            said.append("Numbers of this size are no times since 1970; none is read")
        if self.order == "contradictory":
            said.append(
                f"They contradict each other ({self.example}): some have the day first, others the month; none of them "
                "is read; set ingest.time_format"
            )
        elif self.ambiguous:
            said.append(f"No day is above 12, so {self.example!r} may be read both ways; the day comes first; {remedy}")
        if self.afternoon:
            said.append(
                "They are those of a published capture, on a 12-hour clock without am and pm: hours 1 to 7 are in the "
                f"afternoon; {remedy}"
            )
        return [f"{each}." for each in said]


@dataclass
class Evidence:
    """What the cells seen so far say about their column."""

    shapes: dict[str, int] = field(default_factory=dict)
    sample: str = ""
    first: str = ""  # a cell whose first part is above 12: it must be the day
    second: str = ""
    either: str = ""  # a cell whose two parts could be day and month in either order
    clock24: bool = False
    foreign: bool = False  # a day that is of no published capture
    published: bool = False
    magnitudes: list[float] = field(default_factory=list)

    def add(self, texts: pa.Array) -> None:
        """Look at (n,) cells; each text needs to be shown once only."""
        for shape, (place, parts) in parts_of(texts).items():
            self.shapes[shape] = self.shapes.get(shape, 0) + len(place)
            self.sample = self.sample or str(texts[int(place[0])]).strip()
            if shape == "year last":
                self._add_year_last(texts, place, parts)
            if shape == "number":
                self.magnitudes.append(float(np.median(np.abs(parts["number"]))))

    @property
    def settled(self) -> bool:
        """Whether further cells could not change what the format is."""
        if "year last" not in self.shapes:
            return bool(self.shapes)
        return bool(self.first or self.second) and (self.clock24 or self.foreign)

    def format(self, zone: ZoneInfo = UTC) -> TimeFormat:
        """The format that fits; ``zone`` is that of the settings."""
        shapes = tuple(sorted(self.shapes, key=lambda name: -self.shapes[name]))
        order: Order = "" if "year last" not in self.shapes else "month first" if self.second else "day first"
        order = "contradictory" if self.first and self.second else order
        proven = bool(self.first or self.second or not self.either)
        example = f"{self.first} and {self.second}" if order == "contradictory" else ""
        example = example or self.first or self.second or self.either
        afternoon = order == "day first" and self.published and not (self.foreign or self.clock24)
        return TimeFormat(order, proven, example, afternoon, self._epoch(), "", shapes, self.sample, zone)

    def _add_year_last(self, texts: pa.Array, place: Ints, parts: Parts) -> None:
        left, right, hour, half = (parts[name] for name in ("left", "right", "hour", "half"))
        day, month = (left > 12) & (left <= 31) & (right <= 12), (right > 12) & (right <= 31) & (left <= 12)
        self.first = self.first or _where(texts, place, day)
        self.second = self.second or _where(texts, place, month)
        self.either = self.either or _where(texts, place, (left <= 12) & (right <= 12) & (left != right))
        self.clock24 |= bool(np.any((half >= 0) | (hour == 0) | (hour > 12)))
        dated = parts["year"] > 1980  # published files hold a few times of 1970, which are none
        days = _days(parts["year"], right, left)[dated]
        inside = np.zeros(len(days), bool)
        for start, end in PUBLISHED:
            inside |= (days >= np.datetime64(start)) & (days <= np.datetime64(end))
        self.published |= bool(inside.any())
        self.foreign |= not inside.all()

    def _epoch(self) -> str:
        if not self.magnitudes:
            return ""
        typical = float(np.median(self.magnitudes))
        return next((unit for unit, size in EPOCHS.items() if OLDEST <= typical / size <= NEWEST), "")


def read(texts: pa.Array, found: TimeFormat) -> pa.Array:
    """(n,) timestamp[us] of (n,) cells; null where one cannot be read."""
    if found.explicit:
        return _explicit(texts, found.explicit, found.zone)
    if found.shapes == (PLAIN,):
        with suppress(pa.ArrowInvalid):  # a cell that only the longer way can read
            return texts.cast(pa.timestamp("us"))
    times = np.full(len(texts), np.datetime64("NaT", "us"))
    for shape, (place, parts) in parts_of(texts).items():
        if shape == "number":
            times[place] = in_zone(epoch(parts["number"], EPOCHS.get(found.epoch, 0.0)), found.zone)
        else:
            times[place] = _joined(_dated(parts, shape, found), found.zone)
    return pa.array(times)


def _dated(parts: Parts, shape: str, found: TimeFormat) -> Parts:
    """The same parts with month and day, and hours of a 24-hour clock."""
    parts = dict(parts)
    if shape == "year last":
        order = ("right", "left") if found.order == "day first" else ("left", "right")
        parts["month"], parts["day"] = (parts[name] for name in order)
        # no such cell was seen when the format was found, or they contradict each other: none is read
        parts["year"] = np.where(found.order in ("", "contradictory"), 0, parts["year"])
        if found.afternoon:
            parts["hour"] = parts["hour"] + 12 * ((parts["hour"] < AFTERNOON) & (parts["year"] > 1980))
    half, hour = parts["half"], parts["hour"]
    parts["hour"] = np.where((half >= 0) & (hour <= 12), hour % 12 + 12 * half, hour)
    return parts


def _joined(parts: Parts, zone: ZoneInfo) -> Times:
    """(n,) times, NaT where a part is out of its range."""
    days = _days(parts["year"], parts["month"], parts["day"])
    good = ~np.isnat(days) & (parts["hour"] < 24) & (parts["minute"] < 60) & (parts["second"] < 60)
    seconds = (parts["hour"] * 60 + parts["minute"]) * 60 + parts["second"]
    times: Times = days.astype("M8[us]") + (seconds * 1_000_000 + parts["us"]).astype("m8[us]")
    times[~good] = np.datetime64("NaT")
    zoned = parts["zoned"] > 0
    if zoned.any():
        times[zoned] = in_zone(times[zoned] - (parts["offset"][zoned] * 60_000_000).astype("m8[us]"), zone)
    return times


def _days(year: Ints, month: Ints, day: Ints) -> Times:
    """(n,) days, NaT where there is none of that date."""
    good = (year > 0) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    months = ((np.where(good, year, 1970) - 1970) * 12 + np.where(good, month, 1) - 1).astype("M8[M]")
    days: Times = months.astype("M8[D]") + np.where(good, day - 1, 0).astype("m8[D]")
    found: Times = np.where(good & (days.astype("M8[M]") == months), days, np.datetime64("NaT"))
    return found


def _where(texts: pa.Array, place: Ints, mask: NDArray[np.bool_]) -> str:
    """The first cell that the mask picks, "" for none."""
    return str(texts[int(place[np.argmax(mask)])]).strip() if mask.any() else ""


def _explicit(texts: pa.Array, shape: str, zone: ZoneInfo) -> pa.Array:
    times = [_strptime(text, shape) for text in texts.to_pylist()]
    aware = [time is not None and time.tzinfo is not None for time in times]
    naive = [time.astimezone(zone) if time and zoned else time for time, zoned in zip(times, aware, strict=True)]
    return pa.array([time and time.replace(tzinfo=None) for time in naive], pa.timestamp("us"))


def _strptime(text: str | None, shape: str) -> datetime | None:
    try:
        return datetime.strptime((text or "").strip(' "'), shape)
    except ValueError:
        return None


def of_settings(reading: Reading) -> TimeFormat | None:
    """The format that the settings give; None where it is to be found."""
    return None if reading.times == AUTO else TimeFormat(explicit=reading.times, zone=reading.zone)


def contradiction(found: TimeFormat, unread: Sequence[str]) -> str:
    """The first cell that could not be read because its day and month stand the other way round; "" for none."""
    evidence = Evidence()
    evidence.add(pa.array(unread, pa.string()))
    return {"day first": evidence.second, "month first": evidence.first}.get(found.order, "")


def blank(texts: pa.Array) -> pa.Array:
    """(n,) mask of the cells that hold nothing: no time is missed there."""
    bare = pc.utf8_trim(pc.fill_null(texts, ""), characters=' "')
    return pc.is_in(pc.utf8_lower(bare), value_set=pa.array([*sorted(NO_NUMBER), "nat"]))

"""Finds the time unit of a file from what its numbers say of each other, and converts to microseconds.

A record has its number of packets, how many there were in a second, and how long it took: packets / rate is the
duration in seconds, whatever the unit of the column of durations. So the ratio of the two is the number of units in a
second: 1e6, 1e3, 1e9 or 1. The mean gap between packets times the number of gaps is the duration as well, which gives
the unit of the gaps; tools exist that write the two in different units. Active and idle times have the unit of the
gaps.

Rates are those of "Characterization of Tor Traffic using Time based Features" (Lashkari, Draper-Gil, Mamun, Ghorbani,
2017).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Floats = NDArray[np.float64]

UNITS: Final = {"us": 1e6, "ms": 1e3, "s": 1.0, "ns": 1e9}  # unit -> how many there are in a second
CANONICAL: Final = "us"
TOLERANCE: Final = 0.02  # relative, of a ratio: rates are rounded, and short durations too
FEWEST: Final = 3  # records that decide
DISAGREE: Final = 0.2  # share of the records that must fit the unit; fewer: durations and rates do not fit
MIXED: Final = 0.005  # share of the records that may fit another unit by chance

DURATION: Final = ("flow_duration",)
GAPS: Final = tuple(
    f"{side}_iat_{part}" for side in ("flow", "fwd", "bwd") for part in ("total", "mean", "std", "max", "min")
)
SPELLS: Final = tuple(f"{kind}_{part}" for kind in ("active", "idle") for part in ("mean", "std", "max", "min"))
PACKETS: Final = ("total_fwd_packets", "total_bwd_packets")
NEEDED: Final = ("flow_duration", "flow_packets_per_s", *PACKETS)
FLOWS: Final = frozenset({"cicids2017", "pcap", "synthetic"})  # data sets that have these columns
TELLING: Final = (*NEEDED, "flow_iat_mean")  # the columns that show the units of a record


@dataclass(frozen=True)
class Votes:
    """How many records fit each unit.

    Attributes:
        fitting: unit -> records.
        asked: records that could tell.
    """

    fitting: Mapping[str, int]
    asked: int

    @property
    def unit(self) -> str:
        """The unit that most of the records fit; "" where too few can tell, or they do not agree."""
        best = max(self.fitting, key=lambda unit: self.fitting[unit], default="")
        enough = best and self.fitting[best] >= max(FEWEST, DISAGREE * self.asked)
        return best if enough else ""

    @property
    def disagree(self) -> bool:
        """Whether enough records could tell, and fit no unit."""
        return not self.unit and self.asked >= FEWEST


@dataclass(frozen=True)
class Units:
    """The time units of a file.

    Attributes:
        duration: of ``flow_duration``; "" where it is not known, which counts as microseconds.
        gaps: of the times between packets, and of active and idle times.
        agree: False where durations and rates do not fit each other.
        records: how many records told.
    """

    duration: str = ""
    gaps: str = ""
    agree: bool = True
    records: int = 0

    def factor(self, column: str) -> float:
        """What the values of a column are to be multiplied by, to be microseconds."""
        unit = self.duration if column in DURATION else self.gaps if column in _TIMED else CANONICAL
        return UNITS[CANONICAL] / UNITS[unit or CANONICAL]

    def sentence(self) -> str:
        """For a person."""
        if not self.agree:
            return (
                "Durations and rates do not fit each other: packets per second times the duration is not the number of "
                "packets in any unit. They are read as microseconds."
            )
        if not self.duration:
            return "Too few records show the unit of their durations; they are read as microseconds."
        gaps = f", gaps between packets in {NAMES[self.gaps]}" if self.gaps not in ("", self.duration) else ""
        converted = " They are converted to microseconds." if self.are_converted else ""
        return f"Durations are in {NAMES[self.duration]}{gaps}, as packets and rates show.{converted}"

    @property
    def are_converted(self) -> bool:
        """Whether a column of times has another unit than microseconds."""
        return bool({self.duration, self.gaps} - {"", CANONICAL})


NAMES: Final = {"us": "microseconds", "ms": "milliseconds", "s": "seconds", "ns": "nanoseconds"}
_TIMED: Final = frozenset({*GAPS, *SPELLS})
TIMED: Final = frozenset({*DURATION, *_TIMED})  # every column of times


def in_microseconds(
    name: str, values: pa.ChunkedArray | pa.Array, units: Units | None, whole: bool
) -> pa.ChunkedArray | pa.Array:
    """Times in microseconds, whatever their unit; columns of other things as they are.

    Args:
        name: canonical name of the column.
        values: (n,) of it.
        units: of the file; None where nothing was looked at.
        whole: whether the column holds whole microseconds.
    """
    if units is None or units.factor(name) == 1:
        return values
    converted = pc.multiply(values, units.factor(name))
    return pc.round(converted) if whole else converted


def units_of(features: pa.Table) -> Units:
    """The units that (n,) records show, whose columns are canonical, but not converted."""
    columns: Collection[str] = features.column_names
    if not {*NEEDED} <= {*columns}:
        return Units()
    by_rate = votes(ratio(features))
    unit = by_rate.unit or CANONICAL
    gaps = votes(_gaps_in_a_second(features, unit)).unit if "flow_iat_mean" in columns else ""
    return Units(by_rate.unit, gaps or by_rate.unit, not by_rate.disagree, by_rate.asked)


def ratio(features: pa.Table) -> Floats:
    """(n,) units of the durations in a second, by the rate of packets; NaN for a record that cannot tell."""
    duration, rate, forth, back = (features.column(name).to_numpy() for name in NEEDED)
    with np.errstate(all="ignore"):
        found: Floats = np.where((duration > 0) & (rate > 0), duration * rate / (forth + back), np.nan)
    return np.where(np.isfinite(found), found, np.nan)


def votes(ratios: Floats) -> Votes:
    """How many of (n,) ratios are those of each unit."""
    known = ratios[~np.isnan(ratios)]
    fitting = {unit: int((np.abs(known / size - 1) < TOLERANCE).sum()) for unit, size in UNITS.items()}
    return Votes(fitting, len(known))


def other(features: pa.Table, unit: str) -> tuple[str, int, int]:
    """Another unit that too many of (n,) records have, the place of the first of them, and how many there are.

    Args:
        features: the records as the file has them.
        unit: of the file.

    Returns:
        ``("", 0, 0)`` where there is none.
    """
    if not unit or not {*NEEDED} <= {*features.column_names}:
        return "", 0, 0
    ratios = ratio(features)
    found = votes(ratios)
    for name, count in found.fitting.items():
        if name != unit and count >= max(FEWEST, MIXED * found.asked):
            first = int(np.argmax(np.abs(ratios / UNITS[name] - 1) < TOLERANCE))
            return name, first, count
    return "", 0, 0


def _gaps_in_a_second(features: pa.Table, unit: str) -> Floats:
    """(n,) units of the gaps in a second, where a second has as many units of the durations as ``unit`` says."""
    names = ("flow_iat_mean", "flow_duration", *PACKETS)
    mean, duration, forth, back = (features.column(name).to_numpy() for name in names)
    with np.errstate(all="ignore"):
        found = np.where(duration > 0, mean * (forth + back - 1) / duration * UNITS[unit], np.nan)
    return np.where(np.isfinite(found) & (found > 0), found, np.nan)

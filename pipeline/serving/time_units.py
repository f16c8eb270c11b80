"""The time unit of the records of one call: stated by the caller, or found from durations, packets and rates.

A file is read in the unit that its records show, or else as microseconds. A call is read so too, but it may hold a
single record. So what a few records cannot show is said, and the caller may state it.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from pipeline.base.errors import ConfigError, SchemaError, near_miss
from pipeline.datasets.units import CANONICAL, FEWEST, NAMES, NEEDED, UNITS, Units, other, ratio, units_of, votes

AUTO: Final = "auto"
TIME_UNITS: Final = (AUTO, *UNITS)
REMEDY: Final = f"State their unit by time_unit: {', '.join(UNITS)}."


@dataclass(frozen=True)
class Found:
    """The units of the times of a call.

    Attributes:
        units: of the times; None where nothing was looked at.
        faults: what contradicts them, in sentences.
        doubts: why they are not known, in sentences.
        notices: what the caller should know, in sentences.
    """

    units: Units | None = None
    faults: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


def require_known(time_unit: str) -> None:
    """Refuse what is no unit.

    Raises:
        ConfigError: with those that there are.
    """
    if time_unit not in TIME_UNITS:
        miss = near_miss(time_unit, TIME_UNITS)
        raise ConfigError(f"time_unit is {time_unit!r}, allowed are {', '.join(TIME_UNITS)}{miss}")


def find(records: pa.Table, time_unit: str = AUTO) -> Found:
    """The units of n records.

    Args:
        records: float64 under canonical names, not converted.
        time_unit: what the caller states, one of ``TIME_UNITS``.

    Raises:
        SchemaError: the records are in several units.
    """
    shown = units_of(records)
    if time_unit != AUTO:
        return Found(Units(time_unit, time_unit, records=shown.records), _contradictions(shown, time_unit))
    _require_one(records, shown)
    if shown.duration:
        return Found(shown, notices=(shown.sentence(),) if shown.are_converted else ())
    if not shown.agree:
        return Found(shown)  # the check of the contract says so
    return _of_few(records, shown)


def _contradictions(shown: Units, stated: str) -> tuple[str, ...]:
    if shown.duration in ("", stated):
        return ()
    return (
        f"The durations are stated in {NAMES[stated]}, but flow_packets_per_s and the numbers of packets show "
        f"{NAMES[shown.duration]} in flow_duration.",
    )


def _require_one(records: pa.Table, shown: Units) -> None:
    unit, place, count = other(records, shown.duration)
    if unit:
        raise SchemaError(
            f"record {place} of this call: flow_duration is in {unit}, as the rate of packets shows; so it is in "
            f"{count:,} of {records.num_rows:,} records, while most are in {shown.duration}; give the records of each "
            "unit in a call of their own"
        )


def _of_few(records: pa.Table, shown: Units) -> Found:
    """What can be said where fewer records tell than are needed."""
    lacking = [name for name in NEEDED if name not in records.column_names]
    if lacking:
        said = f"Nothing shows the unit of the times, because {', '.join(lacking)} are missing."
        return Found(shown, doubts=(f"{said} They are read as microseconds. {REMEDY}",))
    found = votes(ratio(records))
    fitting = found.fitting[CANONICAL]
    if found.asked > fitting:
        said = f"flow_duration of {found.asked - fitting} of {records.num_rows} records is not in microseconds by their"
        more = f"rate of packets; {FEWEST} records are needed to convert it. It is read as microseconds."
        return Found(shown, faults=(f"{said} {more} {REMEDY}",))
    duration = records.column("flow_duration").to_numpy()
    if found.asked or not np.any(duration > 0):
        return Found(shown)
    said = "Too few records show the unit of their times; they are read as microseconds."
    return Found(shown, doubts=(f"{said} {REMEDY}",))

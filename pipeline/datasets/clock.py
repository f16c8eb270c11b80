"""The parts of a time as text writes them: year, month, day, hour and so on, whatever the order; many at once."""

from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.int64]
Parts: TypeAlias = dict[str, Any]  # name -> (n,) numbers
Times: TypeAlias = NDArray[np.datetime64]

MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

_WEEKDAY: Final = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,?\s+)?"
_NAME: Final = r"(?P<name>(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*)"
_CLOCK: Final = (
    r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,12}))?)?"
    r"\s*(?P<half>[ap]\.?m\.?)?"
)
_ZONE: Final = r"\s*(?P<zone>z|utc|gmt|[+-]\d{2}:?(?:\d{2})?)?"
_LATER: Final = rf"(?:[t ,:]+{_CLOCK}{_ZONE})?"

# What a cell looks like -> how it is taken apart. A cell is of the first shape that it fits.
SHAPES: Final[dict[str, str]] = {
    "2017-07-03": rf"(?P<year>\d{{4}})[-/.](?P<month>\d{{1,2}})[-/.](?P<day>\d{{1,2}}){_LATER}",
    "year last": rf"(?P<left>\d{{1,2}})[-/.](?P<right>\d{{1,2}})[-/.](?P<year>\d{{4}}|\d{{2}}){_LATER}",
    "Jul 3, 2017": rf"{_WEEKDAY}{_NAME}\.?\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<year>\d{{4}}){_LATER}",
    "3 Jul 2017": rf"{_WEEKDAY}(?P<day>\d{{1,2}})[-/ .]+{_NAME}[-/ .,]+(?P<year>\d{{4}}|\d{{2}}){_LATER}",
    "Mon Jul 3 08:55:58 2017": rf"{_WEEKDAY}{_NAME}\s+(?P<day>\d{{1,2}})\s+{_CLOCK}{_ZONE}\s+(?P<year>\d{{4}})",
    "20170703 085558": (
        r"(?P<year>(?:19|20)\d{2})(?P<month>\d{2})(?P<day>\d{2})"
        rf"(?:[t ]?(?P<hour>\d{{2}})(?P<minute>\d{{2}})(?P<second>\d{{2}})(?:\.(?P<fraction>\d{{1,12}}))?{_ZONE})?"
    ),
    "number": r"(?P<number>[+-]?\d+(?:\.\d*)?(?:e[+-]?\d+)?)",
}


def parts_of(texts: pa.Array) -> dict[str, tuple[Ints, Parts]]:
    """Of each shape that occurs: (k,) places of its cells, and their parts, (k,) each.

    Args:
        texts: (n,) cells; a null, and a cell of no shape, is left out.
    """
    places, bare = np.arange(len(texts)), pc.utf8_lower(pc.utf8_trim(texts, characters=' "\t'))
    found: dict[str, tuple[Ints, Parts]] = {}
    for shape, pattern in SHAPES.items():
        if not len(places):
            break
        groups = pc.extract_regex(bare, rf"^{pattern}$")
        fits = pc.is_valid(groups).to_numpy(zero_copy_only=False)
        if fits.any():
            found[shape] = places[fits], _numbers(groups.filter(pa.array(fits)))
            places, bare = places[~fits], bare.filter(pa.array(~fits))
    return found


def _numbers(groups: pa.StructArray) -> Parts:
    """The parts as whole numbers; what a cell leaves out is 0, and ``half`` is -1."""
    texts = {field.name: groups.field(place) for place, field in enumerate(groups.type)}
    if "number" in texts:
        return {"number": pc.cast(texts["number"], pa.float64()).to_numpy()}
    n = len(groups)
    names = ("year", "month", "day", "left", "right", "hour", "minute", "second")
    parts: Parts = {name: _whole(texts[name]) if name in texts else np.zeros(n, np.int64) for name in names}
    parts["year"] = np.where(parts["year"] < 100, parts["year"] + 2000, parts["year"])
    if "name" in texts:
        parts["month"] = _looked_up(texts["name"], lambda name: 1 + MONTHS.index(name[:3]))
    parts["us"] = _whole(pc.utf8_slice_codeunits(pc.utf8_rpad(_text(texts, "fraction", n), 6, "0"), 0, 6))
    parts["half"] = _looked_up(_text(texts, "half", n), lambda half: {"": -1, "a": 0, "p": 1}[half[:1]])
    zone = _text(texts, "zone", n)
    parts["zoned"] = _looked_up(zone, lambda text: int(text != ""))
    parts["offset"] = _looked_up(zone, _minutes)
    return parts


def _text(texts: dict[str, pa.Array], name: str, n: int) -> pa.Array:
    return texts[name] if name in texts else pa.array([""] * n, pa.string())


def _whole(texts: pa.Array) -> Ints:
    """(n,) whole numbers; an empty text is 0."""
    filled = pc.if_else(pc.equal(texts, ""), "0", texts)
    numbers: Ints = pc.cast(filled, pa.int64()).to_numpy()
    return numbers


def _looked_up(texts: pa.Array, meaning: Any) -> Ints:
    """(n,) numbers, each worked out once for each different text."""
    encoded = texts.dictionary_encode()
    table = np.array([meaning(text) for text in encoded.dictionary.to_pylist()], np.int64)
    return table[encoded.indices.to_numpy()] if len(table) else np.zeros(0, np.int64)


def _minutes(zone: str) -> int:
    """Minutes east of Greenwich."""
    if zone[:1] not in ("+", "-"):
        return 0
    digits = zone[1:].replace(":", "")
    return (-1 if zone[0] == "-" else 1) * (60 * int(digits[:2]) + int(digits[2:4] or 0))


def epoch(numbers: NDArray[np.float64], size: float) -> Times:
    """(n,) times of (n,) numbers since 1970, ``size`` of them in a second; all NaT where the size is 0."""
    if not size:
        return np.full(len(numbers), np.datetime64("NaT", "us"))
    whole = numbers * (1e6 / size)
    good = np.abs(whole) < 2.0**62
    times = np.rint(np.where(good, whole, 0)).astype(np.int64).astype("M8[us]")
    times[~good] = np.datetime64("NaT")
    return times


def in_zone(times: Times, zone: ZoneInfo) -> Times:
    """(n,) times of UTC as clocks of the zone show them."""
    if zone.key == "UTC":
        return times
    aware = pa.array(times).cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us", zone.key))
    local: Times = pc.local_timestamp(aware).to_numpy(zero_copy_only=False)
    return local.astype("M8[us]")

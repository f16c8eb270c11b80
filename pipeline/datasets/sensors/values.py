"""Cells of a log as numbers, words, times and ports. Masks say which cells cannot be read."""

from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.datasets.ratios import Floats
from pipeline.datasets.records import HIGHEST_PORT
from pipeline.datasets.sensors.fields import NONE
from pipeline.datasets.sensors.protocols import protocol_number

Mask = NDArray[np.bool_]
LATEST = 253_402_300_800.0  # seconds: the year 10000; a time beyond it is an error of the clock


def numbers(column: pa.ChunkedArray, scale: float, unset: float, low: float = -np.inf) -> tuple[Floats, Mask]:
    """(n,) numbers, and a mask of the odd cells: those that are set, but to no finite number of at least ``low``.

    Args:
        column: (n,) float64, or text that spells numbers.
        scale: what each number is multiplied by.
        unset: the number that stands for a null cell and for an odd one.
        low: the smallest number that is allowed, after scaling.
    """
    values = _parsed(column)
    values = values if scale == 1 else values * scale
    good = np.isfinite(values) & (values >= low)
    if good.all():
        return values, ~good
    return np.where(good, values, unset), ~good & column.is_valid().to_numpy()


def _parsed(column: pa.ChunkedArray) -> Floats:
    """(n,) numbers; NaN where a cell is null or no number."""
    floats: Floats
    if pa.types.is_floating(column.type):
        floats = column.to_numpy()
    else:
        import pandas as pd  # takes a while, and most logs have no such column

        floats = pd.to_numeric(column.to_pandas(), errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return floats


def times(column: pa.ChunkedArray, scale: float) -> tuple[pa.Array, Mask]:
    """(n,) timestamp[us] without a zone, in UTC, and a mask of the odd cells: those that are set, but to no time.

    Args:
        column: (n,) float64, or text that spells a number or an ISO time; one without an offset is UTC.
        scale: what a number is multiplied by to give seconds since 1970. ``LATEST`` and later is no time.
    """
    seconds, odd = numbers(column, scale, np.nan)
    known = np.abs(seconds) < LATEST
    moments = np.rint(np.where(known, seconds, 0) * 1e6).astype(np.int64)
    late = np.abs(seconds) >= LATEST
    if odd.any() and not pa.types.is_floating(column.type):
        import pandas as pd

        iso = pd.to_datetime(column.to_pandas()[odd], format="ISO8601", utc=True, errors="coerce")
        place = np.flatnonzero(odd)[iso.notna().to_numpy()]
        moments[place] = iso.dropna().dt.as_unit("us").astype(np.int64).to_numpy()
        known[place], odd[place] = True, False
    return pa.array(moments, pa.int64(), mask=~known).cast(pa.timestamp("us")), odd | late


def in_zone(times: pa.ChunkedArray, zone: ZoneInfo) -> pa.ChunkedArray:
    """(n,) times in UTC as clocks in ``zone`` show them."""
    if zone.key == "UTC":
        return times
    return pc.local_timestamp(times.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us", zone.key)))


def ports(column: pa.ChunkedArray) -> pa.Array:
    """(n,) int32 port numbers; null where it is unset, or no port."""
    found, _ = numbers(column, 1.0, np.nan)
    known = (found >= 0) & (found <= HIGHEST_PORT)
    return pa.array(np.where(known, found, 0).astype(np.int32), mask=~known)


def words(column: pa.ChunkedArray) -> pa.Array:
    """(n,) words as one dictionary array; null where a field is unset."""
    whole = column.unify_dictionaries().combine_chunks()
    return whole.combine_chunks() if isinstance(whole, pa.ChunkedArray) else whole


def filled(column: pa.Array) -> pa.Array:
    """The same words, with ``NONE`` in place of null."""
    return column.cast(pa.string()).fill_null(NONE).dictionary_encode() if column.null_count else column


def renamed(column: pa.Array, name: Any) -> pa.Array:
    """The same dictionary of words with each word replaced by ``name(word)``; words may become equal."""
    new = pa.array([name(word) for word in column.dictionary.to_pylist()], pa.string()).dictionary_encode()
    codes = pa.array(new.indices).take(column.indices)
    return pa.DictionaryArray.from_arrays(codes, new.dictionary)


def protocol_numbers(names: pa.Array) -> pa.Array:
    """(n,) int16 IANA numbers; null for a name that is not known."""
    known = [protocol_number(word) for word in names.dictionary.to_pylist()]
    return pa.array(known, pa.int16()).take(names.indices)


def seconds(times: pa.Array) -> Floats:
    """(n,) seconds since 1970; NaN where the time is unset."""
    return pc.divide(times.cast(pa.int64()).cast(pa.float64()), 1e6).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def coded(column: pa.Array, width: int, meaning: Any) -> NDArray[np.float64]:
    """(n, width) numbers that the words stand for. Null counts as the empty word."""
    words_ = [*column.dictionary.to_pylist(), ""]
    table = np.stack([meaning(word) for word in words_]) if words_ else np.empty((0, width))
    codes = pc.fill_null(column.indices, len(words_) - 1).to_numpy()
    values: NDArray[np.float64] = table[codes]
    return values


def present(column: pa.Array) -> Mask:
    """(n,) mask of the cells that are set."""
    given: Mask = pc.is_valid(column).to_numpy(zero_copy_only=False)
    return given

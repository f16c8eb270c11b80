"""Parts of a record that pauses separate: active and idle times, subflows, and bulks of data."""

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.packets.bricks import FIN, Columns, Ints, Records, Spread, count, rate

SMALLEST_BULK = 4  # packets


def activity(records: Records, pause: int, fin_is_no_activity: bool) -> Columns:
    """Active and idle times: an idle time is a gap longer than ``pause``, an active time lies before one.

    What happens after the last idle time belongs to no active time.
    """
    time, owner, starts, ends = records.packets.time, records.owner, records.starts, records.ends
    gap = _gaps(records)
    if fin_is_no_activity:
        gap[ends[(records.packets.flags[ends] & FIN) > 0]] = 0
    idle = np.flatnonzero(gap > pause)
    resumed = np.zeros(len(time), np.int64)  # position where the activity of each packet began
    resumed[starts] = starts
    resumed[idle] = idle
    resumed = np.maximum.accumulate(resumed)
    active = time[idle - 1] - time[resumed[idle - 1]]
    real = active > 0
    return {
        **Spread.of(active[real], owner[idle][real], len(records)).columns("active", "mean std max min"),
        **Spread.of(gap[idle], owner[idle], len(records)).columns("idle", "mean std max min"),
    }


def subflows(records: Records, pause: int) -> Ints:
    """(r,) the number of parts that gaps longer than ``pause`` cut each record into."""
    return 1 + count(records.owner[_gaps(records) > pause], len(records))


def bulks(records: Records, forward: NDArray[np.bool_], pause: int, none: bool) -> Columns:
    """Mean bytes and packets of each direction's bulks, and the bytes per second within them.

    A bulk is four or more packets with data in a row from one side: no data of the other side between them, and no gap
    longer than ``pause``.

    Args:
        records: r records.
        forward: (p,) mask of the forward packets.
        pause: microseconds.
        none: whether to write zeros.
    """
    data = np.flatnonzero(records.packets.payload > 0)
    owner, time, way = records.owner[data], records.packets.time[data], forward[data]
    begins = np.ones(len(data), bool)
    begins[1:] = (np.diff(owner) > 0) | (way[1:] != way[:-1]) | (np.diff(time) > pause)
    first = np.flatnonzero(begins)
    packets = np.diff(first, append=len(data))
    size = np.add.reduceat(records.packets.payload[data], first) if len(data) else packets
    lasting = time[first + packets - 1] - time[first]
    columns: Columns = {}
    for name, mine in (("fwd", True), ("bwd", False)):
        big = (packets >= SMALLEST_BULK) & (way[first] == mine) & (not none)
        columns |= _bulk_means(name, owner[first[big]], packets[big], size[big], lasting[big], len(records))
    return columns


def _bulk_means(name: str, owner: Ints, packets: Ints, size: Ints, lasting: Ints, r: int) -> Columns:
    number = np.maximum(count(owner, r), 1)
    total, of_bytes, time = (
        np.bincount(owner, values, minlength=r).astype(np.int64) for values in (packets, size, lasting)
    )
    return {
        f"{name}_bulk_bytes_mean": of_bytes / number,
        f"{name}_bulk_packets_mean": total / number,
        f"{name}_bulk_rate_mean": rate(of_bytes, time, undefined=0.0),
    }


def _gaps(records: Records) -> Ints:
    """(p,) microseconds since the packet before, 0 for the first of a record."""
    gap = np.diff(records.packets.time, prepend=0)
    gap[records.starts] = 0
    return gap

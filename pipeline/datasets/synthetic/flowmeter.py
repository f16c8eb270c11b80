"""Packets -> records and their 78 features, as the extractor behind CIC-IDS-2017 computes them.

Source: Lashkari, Draper-Gil, Mamun, Ghorbani, "Characterization of Tor Traffic using Time based Features"
(CICFlowMeter, 2017), in the state that wrote the published files. What it does otherwise than one would expect, and
what is kept on purpose:

- a record ends with its first FIN, so the rest of the farewell is a record of its own, in the direction of whoever
  speaks first, and it ends after 120 s, so a long conversation is several records;
- the first packet is counted twice among the packet lengths;
- flags are those of the first packet alone, and are written in the order of a Java hash map, so that nearly each one
  stands under the name of another;
- a FIN that ends a record takes no part in its active and idle times, nor does the activity behind the last idle time;
- subflows are the totals, bulks are 0, the down/up ratio is cut to a whole number;
- the backward window is that of the last backward packet.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.synthetic.conversations import CLIENT, SERVER, Floats, Ints, Link
from pipeline.datasets.synthetic.packets import ACK, CWR, ECE, FIN, PSH, RST, SYN, URG, Packets

TIMEOUT = 120_000_000  # microseconds
ACTIVITY_TIMEOUT = 5_000_000  # microseconds

# Where the hash map puts each flag: column of the file -> flag that is really counted there.
FLAG_COLUMNS = {"fin": RST, "syn": PSH, "rst": ECE, "psh": SYN, "ack": ACK, "urg": FIN, "cwr": URG, "ece": CWR}

Columns = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Records:
    """Packets grouped into records.

    Attributes:
        packets: (p,) packets, record after record.
        owner: (p,) record of each packet, ascending.
        starts: (r,) position of each record's first packet.
    """

    packets: Packets
    owner: Ints
    starts: Ints

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def begins(self) -> Ints:
        """(r,) microseconds from the begin of the conversation to that of the record."""
        return self.packets.time[self.starts]

    @property
    def conversation(self) -> Ints:
        """(r,) the conversation that each record is cut from."""
        return self.packets.conversation[self.starts]

    def select(self, records: Ints) -> "Records":
        """The records at ``records``, ascending indices."""
        counts = np.diff(self.starts, append=len(self.owner))[records]
        starts = np.cumsum(counts) - counts
        owner = np.repeat(np.arange(len(records)), counts)
        positions = np.arange(len(owner)) - starts[owner] + self.starts[records][owner]
        return Records(self.packets.select(positions), owner, starts)


def split(packets: Packets) -> Records:
    """Cut conversations into records, and drop those of a single packet.

    A FIN ends its record unless it begins one; a packet that comes more than 120 s after its record's first begins one.
    """
    fins = np.flatnonzero(packets.flags & FIN)
    moments = (packets.conversation << 40) + packets.time  # ascending
    closes = np.append(np.flatnonzero(np.diff(packets.conversation)) + 1, len(packets))  # the end of each conversation
    first = np.zeros(len(packets), bool)
    begins = np.append(0, closes[:-1])
    while len(begins):
        first[begins] = True
        after_fin = np.append(fins + 1, len(packets))[np.searchsorted(fins, begins, side="right")]
        late = np.searchsorted(moments, moments[begins] + TIMEOUT, side="right")
        following = np.minimum(after_fin, late)
        goes_on = following < closes
        begins, closes = following[goes_on], closes[goes_on]
    owner = np.cumsum(first) - 1
    kept = (np.bincount(owner) > 1)[owner]
    return Records(packets.select(kept), np.cumsum(first[kept]) - 1, np.flatnonzero(first[kept]))


def extract(records: Records, link: Link) -> Columns:
    """The 78 features of each record under their canonical names, in the order of the published header.

    Args:
        records: r records, each of at least two packets.
        link: the links of the conversations that they are cut from.

    Returns:
        Arrays (r,): int64 where the extractor writes whole numbers, else float64.
    """
    packets, owner, starts, r = records.packets, records.owner, records.starts, len(records)
    ends = np.append(starts[1:], len(owner)) - 1
    forward = packets.side == packets.side[starts][owner]
    duration = packets.time[ends] - packets.time[starts]
    fwd, bwd = _Way(records, forward), _Way(records, ~forward)
    total = fwd.length.total + bwd.length.total
    twice = np.insert(np.arange(len(owner)), starts, starts)  # the first packet of each record a second time
    length = Spread.of(packets.payload[twice], owner[twice], r)
    # reverse direction: a record that the server begins goes to the client's port
    port = link.port[np.where(packets.side[starts] == CLIENT, SERVER, CLIENT), records.conversation]
    inner = np.ones(len(owner), bool)
    inner[starts] = False
    gaps = Spread.of(np.diff(packets.time, prepend=0)[inner], owner[inner], r)
    flags = {name: ((packets.flags[starts] & bit) > 0).astype(np.int64) for name, bit in FLAG_COLUMNS.items()}
    zero = np.zeros(r, np.int64)
    return {
        "destination_port": port,
        "flow_duration": duration,
        "total_fwd_packets": fwd.count,
        "total_bwd_packets": bwd.count,
        "total_length_fwd_packets": fwd.length.total,
        "total_length_bwd_packets": bwd.length.total,
        **fwd.length.columns("fwd_packet_length"),
        **bwd.length.columns("bwd_packet_length"),
        "flow_bytes_per_s": _rate(total, duration),
        "flow_packets_per_s": _rate(fwd.count + bwd.count, duration),
        **gaps.columns("flow_iat", "mean std max min"),
        **fwd.gaps.columns("fwd_iat", "total mean std max min"),
        **bwd.gaps.columns("bwd_iat", "total mean std max min"),
        "fwd_psh_flags": flags["syn"],
        "bwd_psh_flags": zero,
        "fwd_urg_flags": flags["cwr"],
        "bwd_urg_flags": zero,
        "fwd_header_length": fwd.header,
        "bwd_header_length": bwd.header,
        "fwd_packets_per_s": _rate(fwd.count, duration, undefined=0.0),
        "bwd_packets_per_s": _rate(bwd.count, duration, undefined=0.0),
        **length.columns("packet_length", "min max mean std"),
        "packet_length_variance": length.std**2,
        **{f"{name}_flag_count": counted for name, counted in flags.items()},
        "down_up_ratio": bwd.count // fwd.count,
        "packet_size_mean": length.total / (fwd.count + bwd.count),
        "fwd_segment_size_mean": fwd.length.mean,
        "bwd_segment_size_mean": bwd.length.mean,
        "fwd_header_length_repeated": fwd.header,
        **{f"{way}_bulk_{what}_mean": zero for way in ("fwd", "bwd") for what in ("bytes", "packets", "rate")},
        "subflow_fwd_packets": fwd.count,
        "subflow_fwd_bytes": fwd.length.total,
        "subflow_bwd_packets": bwd.count,
        "subflow_bwd_bytes": bwd.length.total,
        "init_win_bytes_fwd": packets.window[starts],
        "init_win_bytes_bwd": bwd.last_window,
        "fwd_data_packets": _count(owner[forward & inner & (packets.payload > 0)], r),
        "fwd_segment_size_min": fwd.smallest_header,
        **_activity(records, ends),
    }


class _Way:
    """One direction of all records: what is measured for forward and backward packets alike."""

    def __init__(self, records: Records, mine: NDArray[np.bool_]) -> None:
        packets, r = records.packets, len(records)
        owner, time, header = records.owner[mine], packets.time[mine], packets.header[mine]
        inner = np.diff(owner, prepend=-1) == 0
        self.count = _count(owner, r)
        self.length = Spread.of(packets.payload[mine], owner, r)
        self.gaps = Spread.of(np.diff(time, prepend=0)[inner], owner[inner], r)
        headers = Spread.of(header, owner, r)
        self.header, self.smallest_header = headers.total, headers.min
        self.last_window = np.full(r, -1)
        last = np.flatnonzero(np.diff(owner, append=r))
        self.last_window[owner[last]] = packets.window[mine][last]


@dataclass(frozen=True)
class Spread:
    """Summary of whole numbers that belong to records, all (r,); 0 where a record has none."""

    total: Ints
    mean: Floats
    std: Floats  # of the sample, with n - 1
    max: Ints
    min: Ints

    @classmethod
    def of(cls, values: Ints, owner: Ints, r: int) -> "Spread":
        """Summarise ``values`` (m,) by ``owner`` (m,), ascending, for ``r`` records."""
        count = np.bincount(owner, minlength=r)
        total = np.bincount(owner, values, minlength=r)
        mean = total / np.maximum(count, 1)
        squares = np.bincount(owner, (values - mean[owner]) ** 2, minlength=r)
        high, low, given = np.zeros(r, np.int64), np.zeros(r, np.int64), count > 0
        if len(values):
            starts = (np.cumsum(count) - count)[given]
            high[given], low[given] = np.maximum.reduceat(values, starts), np.minimum.reduceat(values, starts)
        return cls(total.astype(np.int64), mean, np.sqrt(squares / np.maximum(count - 1, 1)), high, low)

    def columns(self, prefix: str, measures: str = "max min mean std") -> Columns:
        """The ``measures`` in their order, named ``prefix_measure``."""
        return {f"{prefix}_{measure}": getattr(self, measure) for measure in measures.split()}


def _count(owner: Ints, r: int) -> Ints:
    return np.bincount(owner, minlength=r).astype(np.int64)


def _rate(amount: Ints, duration: Ints, undefined: float | None = None) -> Floats:
    """Amount per second; over a duration of 0 Infinity or NaN, or ``undefined`` where it is given."""
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = amount / duration * 1e6
    return rate if undefined is None else np.where(duration > 0, rate, undefined)


def _activity(records: Records, ends: Ints) -> Columns:
    """Active and idle times: an idle time is a gap of more than 5 s, an active one what lies before it."""
    time, flags, owner, starts = records.packets.time, records.packets.flags, records.owner, records.starts
    gap = np.diff(time, prepend=0)
    gap[starts] = 0
    gap[ends[(flags[ends] & FIN) > 0]] = 0
    pause = np.flatnonzero(gap > ACTIVITY_TIMEOUT)
    resumed = np.zeros(len(time), np.int64)  # position where the activity of each packet began
    resumed[starts] = starts
    resumed[pause] = pause
    resumed = np.maximum.accumulate(resumed)
    active = time[pause - 1] - time[resumed[pause - 1]]
    real = active > 0
    return {
        **Spread.of(active[real], owner[pause][real], len(records)).columns("active", "mean std max min"),
        **Spread.of(gap[pause], owner[pause], len(records)).columns("idle", "mean std max min"),
    }

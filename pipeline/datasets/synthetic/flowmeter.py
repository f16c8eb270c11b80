"""Turns packets into records with 78 features, as the extractor behind CIC-IDS-2017 computes them.

Source: Lashkari, Draper-Gil, Mamun, Ghorbani, "Characterization of Tor Traffic using Time based Features"
(CICFlowMeter, 2017), in the version that wrote the published files. Its surprises are kept on purpose:

- a record ends with its first FIN, so the rest of the farewell is a record of its own, in the direction of whoever
  sends first; it also ends after 120 s, so a long conversation becomes several records;
- the first packet is counted twice among the packet lengths;
- only the flags of the first packet count, and they are written in the order of a Java hash map, so nearly every flag
  appears under the name of another;
- a FIN that ends a record does not count in its active and idle times, nor does activity after the last idle time;
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

# Column of the file -> the flag that the hash map really counts there.
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

    A FIN ends its record unless it is the first packet. A packet more than 120 s after the first begins a new record.
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
    measured = _Measured(records)
    return {
        "destination_port": _destination_port(records, link),
        **_totals(measured),
        **_speeds(measured),
        **_first_flags(measured),
        **_packet_sizes(measured),
        **_subflows(measured),
        **_activity(records, measured.ends),
    }


class _Way:
    """One direction of all records: what is measured in the same way for forward and backward packets."""

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


class _Measured:
    """What several features of the r records are made of.

    Attributes:
        records: the records.
        ends: (r,) position of each record's last packet.
        inner: (p,) mask of the packets that are not the first of their record.
        forward: (p,) mask of the packets in the direction of their record's first packet.
        duration: (r,) microseconds.
        fwd, bwd: what is measured of each direction.
        flags: (r,) 0 or 1 by the names under which the extractor writes them.
        zero: (r,) zeros.
    """

    def __init__(self, records: Records) -> None:
        packets, owner, starts = records.packets, records.owner, records.starts
        self.records = records
        self.ends = np.append(starts[1:], len(owner)) - 1
        self.inner = np.ones(len(owner), bool)
        self.inner[starts] = False
        self.forward = packets.side == packets.side[starts][owner]
        self.duration = packets.time[self.ends] - packets.time[starts]
        self.fwd, self.bwd = _Way(records, self.forward), _Way(records, ~self.forward)
        self.flags = {name: ((packets.flags[starts] & bit) > 0).astype(np.int64) for name, bit in FLAG_COLUMNS.items()}
        self.zero = np.zeros(len(records), np.int64)


def _destination_port(records: Records, link: Link) -> Ints:
    # A record that the server begins has the reverse direction: it goes to the client's port.
    receiver = np.where(records.packets.side[records.starts] == CLIENT, SERVER, CLIENT)
    return link.port[receiver, records.conversation]


def _totals(measured: _Measured) -> Columns:
    fwd, bwd = measured.fwd, measured.bwd
    return {
        "flow_duration": measured.duration,
        "total_fwd_packets": fwd.count,
        "total_bwd_packets": bwd.count,
        "total_length_fwd_packets": fwd.length.total,
        "total_length_bwd_packets": bwd.length.total,
        **fwd.length.columns("fwd_packet_length"),
        **bwd.length.columns("bwd_packet_length"),
    }


def _speeds(measured: _Measured) -> Columns:
    """Rates, and times between packets."""
    records, fwd, bwd, inner = measured.records, measured.fwd, measured.bwd, measured.inner
    gaps = Spread.of(np.diff(records.packets.time, prepend=0)[inner], records.owner[inner], len(records))
    return {
        "flow_bytes_per_s": _rate(fwd.length.total + bwd.length.total, measured.duration),
        "flow_packets_per_s": _rate(fwd.count + bwd.count, measured.duration),
        **gaps.columns("flow_iat", "mean std max min"),
        **fwd.gaps.columns("fwd_iat", "total mean std max min"),
        **bwd.gaps.columns("bwd_iat", "total mean std max min"),
    }


def _first_flags(measured: _Measured) -> Columns:
    """Flags by direction, header lengths, and packet rates by direction."""
    fwd, bwd, duration = measured.fwd, measured.bwd, measured.duration
    return {
        "fwd_psh_flags": measured.flags["syn"],
        "bwd_psh_flags": measured.zero,
        "fwd_urg_flags": measured.flags["cwr"],
        "bwd_urg_flags": measured.zero,
        "fwd_header_length": fwd.header,
        "bwd_header_length": bwd.header,
        "fwd_packets_per_s": _rate(fwd.count, duration, undefined=0.0),
        "bwd_packets_per_s": _rate(bwd.count, duration, undefined=0.0),
    }


def _packet_sizes(measured: _Measured) -> Columns:
    """Sizes of packets and segments, and all flags."""
    records, fwd, bwd = measured.records, measured.fwd, measured.bwd
    packets, owner, starts = records.packets, records.owner, records.starts
    twice = np.insert(np.arange(len(owner)), starts, starts)  # the first packet of each record a second time
    length = Spread.of(packets.payload[twice], owner[twice], len(records))
    return {
        **length.columns("packet_length", "min max mean std"),
        "packet_length_variance": length.std**2,
        **{f"{name}_flag_count": flags for name, flags in measured.flags.items()},
        "down_up_ratio": bwd.count // fwd.count,
        "packet_size_mean": length.total / (fwd.count + bwd.count),
        "fwd_segment_size_mean": fwd.length.mean,
        "bwd_segment_size_mean": bwd.length.mean,
        "fwd_header_length_repeated": fwd.header,
    }


def _subflows(measured: _Measured) -> Columns:
    """Bulks, subflows, and the first windows of both sides."""
    records, fwd, bwd = measured.records, measured.fwd, measured.bwd
    packets, owner = records.packets, records.owner
    with_data = measured.forward & measured.inner & (packets.payload > 0)
    bulks = [f"{way}_bulk_{what}_mean" for way in ("fwd", "bwd") for what in ("bytes", "packets", "rate")]
    return {
        **dict.fromkeys(bulks, measured.zero),
        "subflow_fwd_packets": fwd.count,
        "subflow_fwd_bytes": fwd.length.total,
        "subflow_bwd_packets": bwd.count,
        "subflow_bwd_bytes": bwd.length.total,
        "init_win_bytes_fwd": packets.window[records.starts],
        "init_win_bytes_bwd": bwd.last_window,
        "fwd_data_packets": _count(owner[with_data], len(records)),
        "fwd_segment_size_min": fwd.smallest_header,
    }


def _count(owner: Ints, r: int) -> Ints:
    return np.bincount(owner, minlength=r).astype(np.int64)


def _rate(amount: Ints, duration: Ints, undefined: float | None = None) -> Floats:
    """Amount per second; for a duration of 0 it is Infinity or NaN, or ``undefined`` if that is given."""
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = amount / duration * 1e6
    return rate if undefined is None else np.where(duration > 0, rate, undefined)


def _activity(records: Records, ends: Ints) -> Columns:
    """Active and idle times: an idle time is a gap of more than 5 s, an active time lies before one."""
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

"""The 78 features of CICFlowMeter, measured on packets that are grouped into records.

Source: Lashkari, Draper-Gil, Mamun, Ghorbani, "Characterization of Tor Traffic using Time based Features"
(CICFlowMeter, 2017), with the corrections of Engelen, Rimmer, Joosen, "Troubleshooting an Intrusion Detection Dataset:
the CICIDS2017 Case Study" (2021). The faults of the original are options.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.packets.bricks import PSH, URG, Columns, Floats, Ints, Records, Spread, count, rate
from pipeline.datasets.packets.definitions import CORRECTED, FLAGS, SHUFFLED_FLAGS, USUAL, Faults, Pauses
from pipeline.datasets.packets.episodes import activity, bulks, subflows


def measure(records: Records, port: Ints, faults: Faults = CORRECTED, pauses: Pauses = USUAL) -> Columns:
    """The features under their canonical names, in the order of the published header.

    Args:
        records: r records.
        port: (r,) destination port of each.
        faults: in what the extractor departs from its column names.
        pauses: how long a flow may be silent.

    Returns:
        Arrays (r,): int64 where the extractor writes whole numbers, else float64.
    """
    measured = _Measured(records, faults)
    return {
        "destination_port": port,
        **_totals(measured),
        **_speeds(measured),
        **_directions(measured),
        **_packet_sizes(measured),
        **_subflows(measured, pauses),
        **activity(records, pauses.activity, faults.fin_is_no_activity),
    }


class _Way:
    """One direction of all records: what is measured in the same way for forward and backward packets."""

    def __init__(self, records: Records, mine: NDArray[np.bool_]) -> None:
        packets, r = records.packets, len(records)
        owner, time, header = records.owner[mine], packets.time[mine], packets.header[mine]
        inner = np.diff(owner, prepend=-1) == 0
        self.count = count(owner, r)
        self.length = Spread.of(packets.payload[mine], owner, r)
        self.gaps = Spread.of(np.diff(time, prepend=0)[inner], owner[inner], r)
        headers = Spread.of(header, owner, r)
        self.header, self.smallest_header = headers.total, headers.min
        self._window, self._owner, self._first = packets.window[mine], owner, ~inner

    def window(self, last: bool, absent: int) -> Ints:
        """(r,) the window of the first or the last packet, ``absent`` where there is none."""
        window = np.full(len(self.count), absent)
        place = np.append(self._first[1:], True) if last else self._first
        place = place[: len(self._owner)]
        window[self._owner[place]] = self._window[place]
        return window


class _Measured:
    """What several features of the r records are made of.

    Attributes:
        records: the records.
        faults: of the extractor.
        inner: (p,) mask of the packets that are not the first of their record.
        forward: (p,) mask of the forward packets.
        duration: (r,) microseconds.
        fwd, bwd: what is measured of each direction.
        flags: (r,) by the names under which the extractor writes them.
        zero: (r,) zeros.
    """

    def __init__(self, records: Records, faults: Faults) -> None:
        packets, owner, starts = records.packets, records.owner, records.starts
        self.records, self.faults = records, faults
        self.inner = np.ones(len(owner), bool)
        self.inner[starts] = False
        self.forward = packets.side == records.origin[owner]
        self.duration = packets.time[records.ends] - packets.time[starts]
        self.fwd, self.bwd = _Way(records, self.forward), _Way(records, ~self.forward)
        self.zero = np.zeros(len(records), np.int64)
        self.flags = {name: self.flagged(bit) for name, bit in FLAGS.items()}
        if faults.first_flags_only:
            first = packets.flags[starts]
            self.flags = {name: ((first & bit) > 0).astype(np.int64) for name, bit in SHUFFLED_FLAGS.items()}

    def flagged(self, bit: int, among: NDArray[np.bool_] | None = None) -> Ints:
        """(r,) packets with a flag, among all or some (p,)."""
        marked = (self.records.packets.flags & bit) > 0
        return count(self.records.owner[marked if among is None else marked & among], len(self.records))

    def rate(self, amount: Ints, undefined: float | None = 0.0) -> Floats:
        """(r,) ``amount`` per second."""
        return rate(amount, self.duration, undefined)


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
    undefined = None if measured.faults.undefined_rates else 0.0
    return {
        "flow_bytes_per_s": measured.rate(fwd.length.total + bwd.length.total, undefined),
        "flow_packets_per_s": measured.rate(fwd.count + bwd.count, undefined),
        **gaps.columns("flow_iat", "mean std max min"),
        **fwd.gaps.columns("fwd_iat", "total mean std max min"),
        **bwd.gaps.columns("bwd_iat", "total mean std max min"),
    }


def _directions(measured: _Measured) -> Columns:
    """Flags by direction, header lengths, and packet rates by direction."""
    fwd, bwd, forward = measured.fwd, measured.bwd, measured.forward
    first_only, flags = measured.faults.first_flags_only, measured.flags
    return {
        "fwd_psh_flags": flags["syn"] if first_only else measured.flagged(PSH, forward),
        "bwd_psh_flags": measured.zero if first_only else measured.flagged(PSH, ~forward),
        "fwd_urg_flags": flags["cwr"] if first_only else measured.flagged(URG, forward),
        "bwd_urg_flags": measured.zero if first_only else measured.flagged(URG, ~forward),
        "fwd_header_length": fwd.header,
        "bwd_header_length": bwd.header,
        "fwd_packets_per_s": measured.rate(fwd.count),
        "bwd_packets_per_s": measured.rate(bwd.count),
    }


def _packet_sizes(measured: _Measured) -> Columns:
    """Sizes of packets and segments, and all flags."""
    fwd, bwd = measured.fwd, measured.bwd
    length = _lengths(measured)
    ratio = bwd.count / np.maximum(fwd.count, 1) * (fwd.count > 0)
    return {
        **length.columns("packet_length", "min max mean std"),
        "packet_length_variance": length.std**2,
        **{f"{name}_flag_count": flags for name, flags in measured.flags.items()},
        "down_up_ratio": bwd.count // fwd.count if measured.faults.whole_ratio else ratio,
        "packet_size_mean": length.total / (fwd.count + bwd.count),
        "fwd_segment_size_mean": fwd.length.mean,
        "bwd_segment_size_mean": bwd.length.mean,
        "fwd_header_length_repeated": fwd.header,
    }


def _lengths(measured: _Measured) -> Spread:
    records = measured.records
    payload, owner, starts = records.packets.payload, records.owner, records.starts
    if measured.faults.first_length_twice:
        twice = np.insert(np.arange(len(owner)), starts, starts)
        payload, owner = payload[twice], owner[twice]
    return Spread.of(payload, owner, len(records))


def _subflows(measured: _Measured, pauses: Pauses) -> Columns:
    """Bulks, subflows, and the first windows of both sides."""
    records, faults, fwd, bwd = measured.records, measured.faults, measured.fwd, measured.bwd
    parts = np.ones(len(records), np.int64) if faults.no_subflows else subflows(records, pauses.subflow)
    with_data = measured.forward & (records.packets.payload > 0)
    with_data &= measured.inner | (not faults.first_data_left_out)
    absent = -1 if faults.last_window else 0
    return {
        **bulks(records, measured.forward, pauses.bulk, faults.no_bulks),
        "subflow_fwd_packets": fwd.count // parts,
        "subflow_fwd_bytes": fwd.length.total // parts,
        "subflow_bwd_packets": bwd.count // parts,
        "subflow_bwd_bytes": bwd.length.total // parts,
        "init_win_bytes_fwd": fwd.window(last=False, absent=absent),
        "init_win_bytes_bwd": bwd.window(last=faults.last_window, absent=absent),
        "fwd_data_packets": count(records.owner[with_data], len(records)),
        "fwd_segment_size_min": fwd.smallest_header,
    }

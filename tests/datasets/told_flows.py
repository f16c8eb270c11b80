"""Flows told packet by packet: what the vectorised reader has to find."""

from itertools import pairwise
from statistics import fmean, stdev

from tests.datasets.wire import ACK, FIN, PSH, RST, SECOND, SYN, URG

FLAGS = {"fin": FIN, "syn": SYN, "rst": RST, "psh": PSH, "ack": ACK, "urg": URG, "ece": 64, "cwr": 128}


class Packet:
    """``source`` and ``target``: (address, port)."""

    def __init__(self, time, source, target, protocol, flags=0, data=0, header=8, window=0):
        self.time, self.source, self.target, self.protocol = time, source, target, protocol
        self.flags, self.data, self.header, self.window = flags, data, header, window


class Flow:
    def __init__(self, packet, origin):
        self.packets, self.origin = [packet], origin

    @property
    def over(self):
        """Whether both sides sent a FIN, or one an RST."""
        fins = {packet.source for packet in self.packets if packet.flags & FIN}
        return len(fins) == 2 or any(packet.flags & RST for packet in self.packets)


def flows(packets, timeout=120 * SECOND):
    """Flows of packets in the order of time, in the order of their first packets."""
    done, current = [], {}
    for packet in packets:
        key = (frozenset([packet.source, packet.target]), packet.protocol)
        flow, opens = current.get(key), packet.flags & (SYN | ACK) == SYN
        if flow and packet.time - flow.packets[0].time <= timeout and not (flow.over and opens):
            flow.packets.append(packet)
            continue
        origin = packet.target if packet.flags & (SYN | ACK) == SYN | ACK else packet.source
        if flow and packet.time - flow.packets[-1].time <= timeout and not packet.flags & SYN:
            origin = flow.origin
        current[key] = Flow(packet, origin)
        done.append(current[key])
    return done


def summary(prefix, values, measures):
    values = values or [0]
    told = {
        "total": sum(values),
        "mean": fmean(values),
        "std": stdev(values) if len(values) > 1 else 0,
        "max": max(values),
        "min": min(values),
    }
    return {f"{prefix}_{measure}": told[measure] for measure in measures.split()}


def gaps(packets):
    return [after.time - before.time for before, after in pairwise(packets)]


def activity(packets):
    begin = end = packets[0].time
    active, idle = [], []
    for packet in packets[1:]:
        if packet.time - end > 5 * SECOND:
            active += [end - begin] if end > begin else []
            idle.append(packet.time - end)
            begin = packet.time
        end = packet.time
    return summary("active", active, "mean std max min") | summary("idle", idle, "mean std max min")


def bulks(packets, origin):
    """Runs of four or more packets with data from one side."""
    runs, last = [], None
    for packet in (packet for packet in packets if packet.data):
        if last is None or packet.source != last.source or packet.time - last.time > SECOND:
            runs.append([])
        runs[-1].append(packet)
        last = packet
    told = {}
    for way in ("fwd", "bwd"):
        mine = [run for run in runs if len(run) >= 4 and (run[0].source == origin) == (way == "fwd")]
        size, time = sum(p.data for run in mine for p in run), sum(run[-1].time - run[0].time for run in mine)
        told[f"{way}_bulk_bytes_mean"] = size / max(len(mine), 1)
        told[f"{way}_bulk_packets_mean"] = sum(map(len, mine)) / max(len(mine), 1)
        told[f"{way}_bulk_rate_mean"] = size / time * 1e6 if time else 0
    return told


def direction(way, packets, duration, parts):
    sizes = [packet.data for packet in packets]
    told = summary(f"{way}_packet_length", sizes, "max min mean std")
    return told | summary(f"{way}_iat", gaps(packets), "total mean std max min") | {
        f"total_{way}_packets": len(packets),
        f"total_length_{way}_packets": sum(sizes),
        f"{way}_header_length": sum(packet.header for packet in packets),
        f"{way}_packets_per_s": len(packets) / duration * 1e6 if duration else 0,
        f"{way}_segment_size_mean": told[f"{way}_packet_length_mean"],
        f"{way}_psh_flags": sum(bool(packet.flags & PSH) for packet in packets),
        f"{way}_urg_flags": sum(bool(packet.flags & URG) for packet in packets),
        f"subflow_{way}_packets": len(packets) // parts,
        f"subflow_{way}_bytes": sum(sizes) // parts,
        f"init_win_bytes_{way}": packets[0].window if packets else 0,
    }  # fmt: skip


def features(flow):
    """All features of a flow by their canonical names."""
    packets = flow.packets
    fwd = [packet for packet in packets if packet.source == flow.origin]
    bwd = [packet for packet in packets if packet.source != flow.origin]
    sizes, duration = [packet.data for packet in packets], packets[-1].time - packets[0].time
    parts = 1 + sum(gap > SECOND for gap in gaps(packets))
    target = next(end for end in (packets[0].source, packets[0].target) if end != flow.origin)
    told = {
        "destination_port": target[1],
        "flow_duration": duration,
        "flow_bytes_per_s": sum(sizes) / duration * 1e6 if duration else 0,
        "flow_packets_per_s": len(packets) / duration * 1e6 if duration else 0,
        "packet_size_mean": sum(sizes) / len(packets),
        "down_up_ratio": len(bwd) / len(fwd) if fwd else 0,
        "fwd_header_length_repeated": sum(packet.header for packet in fwd),
        "fwd_data_packets": sum(packet.data > 0 for packet in fwd),
        "fwd_segment_size_min": min((packet.header for packet in fwd), default=0),
        **{f"{name}_flag_count": sum(bool(p.flags & bit) for p in packets) for name, bit in FLAGS.items()},
        **summary("packet_length", sizes, "max min mean std"),
        **summary("flow_iat", gaps(packets), "mean std max min"),
        **activity(packets),
        **bulks(packets, flow.origin),
        **direction("fwd", fwd, duration, parts),
        **direction("bwd", bwd, duration, parts),
    }
    return told | {"packet_length_variance": told["packet_length_std"] ** 2}

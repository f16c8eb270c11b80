"""Frames and captures, byte by byte."""

import socket
import struct

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
SECOND = 1_000_000
START = 1_500_000_000 * SECOND  # Friday, 14 July 2017, 02:40 UTC


def ipv4(source, target, protocol, body, *, options=b"", fragment=0, total=None, version=4):
    header = 20 + len(options)
    total = header + len(body) if total is None else total
    first = version << 4 | header // 4
    ends = socket.inet_aton(source) + socket.inet_aton(target)
    return struct.pack(">BBHHHBBH", first, 0, total, 7, fragment, 64, protocol, 0) + ends + options + body


def ipv6(source, target, protocol, body, extensions=()):
    """``extensions``: (number, bytes behind the first one, which names the next header)."""
    chain, following = b"", protocol
    for number, rest in reversed(extensions):
        chain, following = bytes([following]) + rest + chain, number
    ends = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, target)
    return struct.pack(">IHBB", 6 << 28, len(chain) + len(body), following, 64) + ends + chain + body


def tcp(source, target, flags=ACK, data=b"", *, window=100, header=20):
    fixed = struct.pack(">HHIIBBHHH", source, target, 0, 0, header // 4 << 4, flags, window, 0, 0)
    return fixed + bytes(header - 20) + data


def udp(source, target, data=b""):
    return struct.pack(">HHHH", source, target, 8 + len(data), 0) + data


def icmp(kind, code=0, data=b""):
    return struct.pack(">BBHI", kind, code, 0, 0) + data


def ethernet(packet, *, kind=None, tags=()):
    """``tags``: Ethernet types of VLAN tags, the outer one first."""
    kind = kind if kind is not None else {4: 0x0800, 6: 0x86DD}[packet[0] >> 4]
    around = b"".join(struct.pack(">HH", tag, 12) for tag in tags)
    return bytes(12) + around + struct.pack(">H", kind) + packet


def pcap(frames, *, order="<", nano=False, link=1, snap=65_535):
    """``frames``: (microseconds, bytes) each."""
    head = struct.pack(order + "IHHiIII", 0xA1B23C4D if nano else 0xA1B2C3D4, 2, 4, 0, 0, snap, link)
    return head + b"".join(_record(time, frame, order, nano, snap) for time, frame in frames)


def _record(time, frame, order, nano, snap):
    seconds, part = divmod(time, SECOND)
    kept = frame[:snap]
    return struct.pack(order + "IIII", seconds, part * (1000 if nano else 1), len(kept), len(frame)) + kept


def block(kind, body, order="<"):
    length = 12 + len(body) + -len(body) % 4
    return struct.pack(order + "II", kind, length) + body + bytes(-len(body) % 4) + struct.pack(order + "I", length)


def section(order="<"):
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(order="<", link=1, snap=0, resolution=None, offset=None):
    options = b"" if resolution is None else struct.pack(order + "HHBxxx", 9, 1, resolution)
    options += b"" if offset is None else struct.pack(order + "HHq", 14, 8, offset)
    return block(1, struct.pack(order + "HHI", link, 0, snap) + options, order)


def enhanced(ticks, frame, order="<", number=0, kept=None):
    kept = frame if kept is None else frame[:kept]
    fixed = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(kept), len(frame))
    return block(6, fixed + kept, order)


def simple(frame, order="<"):
    return block(3, struct.pack(order + "I", len(frame)) + frame, order)


def pcapng(frames, *, order="<"):
    return section(order) + interface(order) + b"".join(enhanced(time, frame, order) for time, frame in frames)


A, B = "10.0.0.1", "192.0.2.7"
A6, B6 = "2001:db8::1", "2001:db8::9"


def talk(time, flags, data=0, *, back=False, window=100, header=20, client=50_000, server=80):
    """One TCP packet between A and B: (time, IP packet)."""
    ends = (B, A) if back else (A, B)
    ports = (server, client) if back else (client, server)
    return START + time, ipv4(*ends, 6, tcp(*ports, flags, bytes(data), window=window, header=header))


def framed(packets, **ethernet_options):
    return [(time, ethernet(packet, **ethernet_options)) for time, packet in packets]

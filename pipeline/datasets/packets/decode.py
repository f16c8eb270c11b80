"""Frames become packets: link, VLAN, IP and transport headers, read from all frames of a block at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.packets.bricks import Ints
from pipeline.datasets.packets.frames import NO_TIME, Frames, words
from pipeline.datasets.packets.links import LINKS
from pipeline.datasets.packets.network import Network, ipv4, ipv6, unread
from pipeline.datasets.packets.reasons import CUT, NO_IP, NO_TYPE, NO_VERSION, OK, WRONG_TIME, WRONG_TRANSPORT
from pipeline.datasets.packets.traffic import ICMP, ICMPV6, REAL, TCP, UDP, Traffic, last_word

IPV4, IPV6 = 0x0800, 0x86DD
VLAN, MOST_TAGS = (0x8100, 0x88A8, 0x9100), 4
PPPOE, PPP_IPV4, PPP_IPV6 = 0x8864, 0x21, 0x57

HEADERS = {TCP: 20, UDP: 8, ICMP: 8, ICMPV6: 8, 33: 12, 132: 12, 136: 8}  # protocol -> bytes of its header
PORTED = (TCP, UDP, 33, 132, 136)  # protocols that begin with two ports; the last three are DCCP, SCTP, UDP-Lite
NEEDED = {TCP: 16, UDP: 4, ICMP: 1, ICMPV6: 1, 33: 4, 132: 4, 136: 4}  # bytes that are read of each
# An answer belongs to the flow of its request: ICMP type of the answer -> that of the request.
REQUESTS = {ICMP: {0: 8, 14: 13, 16: 15, 18: 17}, ICMPV6: {129: 128, 132: 131, 134: 133, 136: 135, 140: 139}}

_TYPE_AT, _HEADER = np.zeros((2, max(LINKS) + 1), np.int64)
for _number, _link in LINKS.items():
    _TYPE_AT[_number], _HEADER[_number] = _link


@dataclass(frozen=True)
class Decoded:
    """What n frames hold.

    Attributes:
        traffic: the packets that could be read, in the order of the file.
        reason: (n,) of each frame, a code of ``reasons``.
        ether: (n,) what each frame carries, as Ethernet numbers it.
    """

    traffic: Traffic
    reason: NDArray[np.int8]
    ether: Ints


def decode(frames: Frames) -> Decoded:
    """Read the headers of all frames, whose link types are known."""
    ether, at = _carried(frames)
    network = unread(len(frames))
    network.reason[:] = np.where(ether == NO_TYPE, CUT, NO_IP)
    for kind, read in ((IPV4, ipv4), (IPV6, ipv6)):
        rows = np.flatnonzero(ether == kind)
        if len(rows):
            network.put(rows, read(frames, rows, at[rows]))
    rows = np.flatnonzero(network.reason == OK)
    network.reason[rows] = _transport_fault(frames, rows, network.select(rows))
    network.reason[(network.reason == OK) & (frames.time == NO_TIME)] = WRONG_TIME
    rows = np.flatnonzero(network.reason == OK)
    return Decoded(_traffic(frames, rows, network.select(rows)), network.reason, ether)


def _carried(frames: Frames) -> tuple[Ints, Ints]:
    """(n,) what each frame carries, as Ethernet numbers it, and where that begins."""
    half = words(frames.data, ">u2")
    end = frames.start + frames.captured
    type_at, header = _TYPE_AT[frames.link], _HEADER[frames.link]
    at = np.minimum(frames.start + header, end)
    ether = half[np.maximum(frames.start + type_at, 0)].astype(np.int64)
    version = frames.data[at] >> 4
    ether = np.where(type_at >= 0, ether, np.where(version == 4, IPV4, np.where(version == 6, IPV6, NO_VERSION)))
    ether[(frames.captured < header) | (at == end) & (type_at < 0)] = NO_TYPE
    for _ in range(MOST_TAGS):
        tagged = np.isin(ether, VLAN)
        if not tagged.any():
            break
        ether = np.where(tagged, np.where(at + 4 > end, NO_TYPE, half[at + 2].astype(np.int64)), ether)
        at = np.minimum(at + 4 * tagged, end)
    session = ether == PPPOE
    if session.any():
        inside = half[at + 6]
        inside = np.where(inside == PPP_IPV4, IPV4, np.where(inside == PPP_IPV6, IPV6, PPPOE))
        inside = np.where(at + 8 > end, NO_TYPE, inside)
        ether, at = np.where(session, inside, ether), np.minimum(at + 8 * session, end)
    return ether, at


def _transport_fault(frames: Frames, rows: Ints, network: Network) -> NDArray[np.int8]:
    """(m,) a code of ``reasons`` for the transport headers of the frames ``rows``."""
    end = frames.start[rows] + frames.captured[rows]
    reason = np.full(len(rows), OK, np.int8)
    reason[_header(frames, network) > network.length] = WRONG_TRANSPORT
    tcp = network.protocol == TCP
    reason[tcp & (frames.data[network.at + 12] >> 4 < 5)] = WRONG_TRANSPORT
    reason[network.at + _looked_up(NEEDED, network.protocol) > end] = CUT
    return reason


def _header(frames: Frames, network: Network) -> Ints:
    """(m,) bytes of the transport header."""
    told = (frames.data[network.at + 12] >> 4).astype(np.int64) * 4
    return np.where(network.protocol == TCP, told, _looked_up(HEADERS, network.protocol))


def _traffic(frames: Frames, rows: Ints, network: Network) -> Traffic:
    """The packets of the frames ``rows``, whose headers are sound."""
    data, half, at, protocol = frames.data, words(frames.data, ">u2"), network.at, network.protocol
    header, tcp, ported = _header(frames, network), protocol == TCP, np.isin(protocol, PORTED)
    ports = [np.where(ported, half[at + place], 0).astype(np.uint64) for place in (0, 2)]
    kind = _icmp(data[at].astype(np.int64), protocol).astype(np.uint64) + (
        network.six.astype(np.uint64) << np.uint64(8)
    )
    side = _from_second(network, *ports)
    low, high = (
        np.where(side[:, None], *pair) for pair in ((network.target, network.source), (network.source, network.target))
    )
    low_port, high_port = (np.where(side, *pair) for pair in ((ports[1], ports[0]), (ports[0], ports[1])))
    word = last_word(low_port, high_port, protocol.astype(np.uint64), kind)
    return Traffic(
        time=frames.time[rows],
        number=frames.number[rows],
        side=side.astype(np.int8),
        key=np.column_stack([low, high, word]),
        payload=(network.length - header).astype(np.int32),
        header=header.astype(np.int32),
        flags=np.where(tcp, data[at + 13], 0).astype(np.int16),
        window=np.where(tcp, half[at + 14], 0).astype(np.int32),
        ghost=np.full(len(rows), REAL, np.int8),
    )


def _from_second(
    network: Network, source_port: NDArray[np.uint64], target_port: NDArray[np.uint64]
) -> NDArray[np.bool_]:
    """(m,) whether the sender is the host that comes second in the key."""
    pairs = (
        (network.source[:, 0], network.target[:, 0]),
        (network.source[:, 1], network.target[:, 1]),
        (source_port, target_port),
    )
    second, equal = np.zeros(len(source_port), bool), np.ones(len(source_port), bool)
    for source, target in pairs:
        second |= equal & (source > target)
        equal &= source == target
    return second


def _icmp(kind: Ints, protocol: Ints) -> Ints:
    """(m,) type of an ICMP message, that of the request where it is an answer; 0 for other protocols."""
    shared = np.zeros(len(kind), np.int64)
    for number, requests in REQUESTS.items():
        mine = protocol == number
        if mine.any():
            table = np.arange(256)
            table[list(requests)] = list(requests.values())
            shared[mine] = table[kind[mine]]
    return shared


def _looked_up(table: dict[int, int], protocol: Ints) -> Ints:
    """(m,) the value of each protocol, 0 where there is none."""
    values = np.zeros(256, np.int64)
    values[list(table)] = list(table.values())
    return values[protocol]

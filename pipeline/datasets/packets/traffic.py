"""Packets as the wire has them: who sent them to whom, and what their headers say."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.packets.bricks import Ints, Rows

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
REAL = -1  # in `Traffic.ghost`
MAPPED = np.uint64(0xFFFF << 32)  # an IPv4 address is kept as the IPv6 address that maps it


@dataclass(frozen=True)
class Traffic(Rows):
    """(p,) packets in the order of time.

    Attributes:
        time: microseconds since 1970.
        number: of the frame in the file.
        side: 0 if the host that comes first in ``key`` sent it, else 1.
        key: (p, 5) the conversation: both addresses (two words each, the smaller one first), then both ports, the
            protocol, the kind of an ICMP message, and whether it is IPv6.
        payload: bytes behind the transport header.
        header: bytes of the transport header.
        flags: TCP flags, 0 for other protocols.
        window: advertised TCP window, 0 for other protocols.
        ghost: ``REAL``, or for the last packet of a flow that is over: its forward side.
    """

    time: Ints
    number: Ints
    side: NDArray[np.int8]
    key: NDArray[np.uint64]
    payload: NDArray[np.int32]
    header: NDArray[np.int32]
    flags: NDArray[np.int16]
    window: NDArray[np.int32]
    ghost: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.time)


def joined(parts: Sequence[Traffic]) -> Traffic:
    """The packets of ``parts``, one part after the other."""
    if len(parts) == 1:
        return parts[0]
    return Traffic(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Traffic)))


def nothing() -> Traffic:
    """No packet."""
    none = np.empty(0, np.int64)
    small, short = none.astype(np.int8), none.astype(np.int16)
    middle = none.astype(np.int32)
    return Traffic(none, none, small, np.empty((0, 5), np.uint64), middle, middle, short, middle, small)


def last_word(
    low_port: NDArray[np.uint64], high_port: NDArray[np.uint64], protocol: NDArray[np.uint64], kind: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """(p,) last word of a key; ``kind`` holds the kind of an ICMP message and, 256 higher, whether it is IPv6."""
    word: NDArray[np.uint64] = low_port << np.uint64(48) | high_port << np.uint64(32) | protocol << np.uint64(16) | kind
    return word


def ports(word: NDArray[np.uint64]) -> tuple[Ints, Ints]:
    """(p,) ports of the first and the second host."""
    return (word >> np.uint64(48)).astype(np.int64), (word >> np.uint64(32) & np.uint64(0xFFFF)).astype(np.int64)


def protocol(word: NDArray[np.uint64]) -> Ints:
    """(p,) number of the protocol."""
    return (word >> np.uint64(16) & np.uint64(0xFFFF)).astype(np.int64)


def is_six(word: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """(p,) 1 for IPv6, 0 for IPv4."""
    return word >> np.uint64(8) & np.uint64(1)


def address(high: int, low: int, six: int) -> str:
    """The text of an address."""
    if six:
        return str(ipaddress.IPv6Address(high << 64 | low))
    return str(ipaddress.IPv4Address(low & 0xFFFFFFFF))

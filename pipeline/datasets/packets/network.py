"""IPv4 and IPv6 headers of many frames at once."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.packets.bricks import Ints, Rows
from pipeline.datasets.packets.frames import Frames, words
from pipeline.datasets.packets.reasons import CUT, LATER_FRAGMENT, OK, WRONG_IP
from pipeline.datasets.packets.traffic import MAPPED

_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION, _MOBILITY = 0, 43, 44, 51, 60, 135
_EXTENSIONS = (_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION, _MOBILITY)
_MOST_EXTENSIONS = 8
_LONGEST = 65_535  # bytes of a packet; more of them have no place in a frame


@dataclass(frozen=True)
class Network(Rows):
    """(n,) what IP headers say.

    Attributes:
        protocol: of the transport.
        at: position of the transport header.
        length: bytes of the transport header and what follows, as the IP header tells, however much is captured.
        source, target: (n, 2) addresses.
        six: whether it is IPv6.
        reason: a code of ``reasons``.
    """

    protocol: Ints
    at: Ints
    length: Ints
    source: NDArray[np.uint64]
    target: NDArray[np.uint64]
    six: NDArray[np.bool_]
    reason: NDArray[np.int8]

    def put(self, places: Ints, some: "Network") -> None:
        """Store ``some`` at ``places``."""
        for field in fields(self):
            getattr(self, field.name)[places] = getattr(some, field.name)


def unread(n: int) -> Network:
    """Room for ``n`` headers."""
    zero, address = np.zeros(n, np.int64), np.zeros((n, 2), np.uint64)
    return Network(zero, zero.copy(), zero.copy(), address, address.copy(), zero.astype(bool), zero.astype(np.int8))


def ipv4(frames: Frames, rows: Ints, at: Ints) -> Network:
    """The headers that begin at ``at`` (m,) in the frames ``rows`` (m,)."""
    data, half, whole = frames.data, words(frames.data, ">u2"), words(frames.data, ">u4")
    end = frames.start[rows] + frames.captured[rows]
    header = (data[at] & 15).astype(np.int64) * 4
    total = half[at + 2].astype(np.int64)
    on_wire = _on_wire(frames, rows, at)
    total = np.where(total == 0, on_wire, total)  # 0 where the network card cuts the packet up later
    fragment = half[at + 6]
    reason = np.where((fragment & 0x1FFF) > 0, LATER_FRAGMENT, OK)
    wrong = (total > on_wire) | (total > _LONGEST)
    reason[wrong | (header < 20) | (total < header) | (data[at] >> 4 != 4)] = WRONG_IP
    reason[at + 20 > end] = CUT
    source, target = (np.stack([np.zeros(len(at), np.uint64), whole[at + place] | MAPPED], 1) for place in (12, 16))
    six = np.zeros(len(at), bool)
    protocol = data[at + 9].astype(np.int64)
    return Network(protocol, np.minimum(at + header, end), total - header, source, target, six, reason.astype(np.int8))


def ipv6(frames: Frames, rows: Ints, at: Ints) -> Network:
    """The headers that begin at ``at`` (m,) in the frames ``rows`` (m,), with their extensions."""
    data, half, long = frames.data, words(frames.data, ">u2"), words(frames.data, ">u8")
    end = frames.start[rows] + frames.captured[rows]
    length, most = half[at + 4].astype(np.int64), _on_wire(frames, rows, at) - 40
    length = np.where(length == 0, most, length)
    wrong = (length > most) | (length > _LONGEST) | (length < 0)
    reason = np.where(wrong | (data[at] >> 4 != 6), WRONG_IP, OK)
    reason[at + 40 > end] = CUT
    source, target = (np.stack([long[at + place], long[at + place + 8]], 1) for place in (8, 24))
    protocol, behind, length, later = _extensions(data, data[at + 6].astype(np.int64), at + 40, length, end)
    reason = np.where((reason == OK) & later, LATER_FRAGMENT, reason)
    reason = np.where((reason == OK) & (length < 0), WRONG_IP, reason)
    six = np.ones(len(at), bool)
    return Network(protocol, behind, length, source, target, six, reason.astype(np.int8))


def _on_wire(frames: Frames, rows: Ints, at: Ints) -> Ints:
    """(m,) bytes from ``at`` (m,) on that the frames ``rows`` (m,) had on the wire: no fewer than are captured."""
    return frames.start[rows] + np.maximum(frames.wire[rows], frames.captured[rows]) - at


def _extensions(
    data: NDArray[np.uint8], protocol: Ints, at: Ints, length: Ints, end: Ints
) -> tuple[Ints, Ints, Ints, NDArray[np.bool_]]:
    """Skip the extension headers.

    Returns:
        (m,) protocol behind them, where that begins, bytes from there on, and whether it is a later fragment.
    """
    later = np.zeros(len(at), bool)
    at = np.minimum(at, end)
    for _ in range(_MOST_EXTENSIONS):
        extended = np.isin(protocol, _EXTENSIONS) & ~later & (at + 8 <= end)
        if not extended.any():
            break
        units = data[at + 1].astype(np.int64)
        size = np.where(protocol == _AUTHENTICATION, units * 4 + 8, units * 8 + 8)
        size = np.where(protocol == _FRAGMENT, 8, size) * extended
        offset = data[at + 2].astype(np.int64) << 8 | (data[at + 3] & 0xF8)
        later |= extended & (protocol == _FRAGMENT) & (offset > 0)
        protocol = np.where(extended, data[at], protocol)
        at, length = np.minimum(at + size, end), length - size
    return protocol, at, length, later

"""The pcapng format: blocks of sections, interfaces and packets.

Source: Tuexen, Risso, Bongertz, Combs, Harris, Chaudron, Richardson, "PCAP Next Generation (pcapng) Capture File
Format" (draft-ietf-opsawg-pcapng).
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.packets.bricks import Ints
from pipeline.datasets.packets.frames import LATEST, NO_TIME, Frames, padded, words

LONGEST = 16 << 20  # bytes of a block; more means that the file is damaged
_SECTION, _INTERFACE, _OLD, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 2, 3, 6
_ORDERS = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
_RESOLUTION, _OFFSET = 9, 14  # options of an interface
_BEFORE_DATA = {_OLD: 28, _SIMPLE: 12, _ENHANCED: 28}
_SHORTEST = {_SECTION: 28, _INTERFACE: 20, _OLD: 32, _SIMPLE: 16, _ENHANCED: 32}  # bytes; 12 for other blocks


class _Interface(NamedTuple):
    """Link type, longest capture, ticks in a second, and seconds that are added to each time."""

    link: int
    snap: int
    ticks: int
    offset: int


class Sections:
    """Reads one pcapng file.

    A simple packet block has no time; its frame gets that of the frame before it.

    Args:
        head: the first bytes of the file.

    Attributes:
        rest: bytes behind the last whole block.
        damage: why the file cannot be read further; "" where it can.
    """

    def __init__(self, head: bytes) -> None:
        self.order = _ORDERS[head[8:12]]
        self.rest, self.damage = b"", ""
        self._interfaces: list[_Interface] = []
        self._number, self._time = 0, 0

    @staticmethod
    def knows(head: bytes) -> bool:
        """Whether a file that begins with ``head`` is a pcapng."""
        return head[:4] == _SECTION.to_bytes(4, "big") and head[8:12] in _ORDERS

    def read(self, content: bytes) -> Iterator[Frames]:
        """The frames of the whole blocks of ``content``, which begins where the last one ended."""
        data: NDArray[np.uint8] | None = None
        at = 0
        while not self.damage:
            packets, at, stop = self._packets(content, at)
            if packets:
                data = padded(content) if data is None else data
                yield self._frames(data, *np.array(packets).T)
            if not stop:
                break
        self.rest = content[at:]

    def missing(self) -> str:
        """What the file lacks at its end; "" where nothing."""
        if not self.rest:
            return ""
        where = f"ends within the block behind frame {self._number:,}"
        if len(self.rest) < 8:
            return f"{where}, before its length is told"
        (length,) = struct.unpack_from(self.order + "I", self.rest, 4)
        return f"{where}: {length - len(self.rest):,} of its bytes are missing"

    def _packets(self, content: bytes, at: int) -> tuple[list[tuple[int, int, int]], int, bool]:
        """Whole packet blocks, up to the next section or damage.

        Returns:
            Position, kind and how many interfaces are described before it, of each; the position of what was not read;
            and whether there may be more to read.
        """
        unpack = struct.Struct(self.order + "II").unpack_from
        packets: list[tuple[int, int, int]] = []
        size = len(content)
        while at + 12 <= size:
            kind, length = unpack(content, at)
            if kind == _SECTION:
                if packets:
                    return packets, at, True
                if self._section(content, at):
                    return packets, at, False
                unpack = struct.Struct(self.order + "II").unpack_from
                _, length = unpack(content, at)
            if length < _SHORTEST.get(kind, 12) or length > LONGEST:
                self.damage = (
                    f"is damaged: a block behind frame {self._number + len(packets):,} would have {length:,} bytes"
                )
                return packets, at, False
            if at + length > size:
                break
            if kind in _BEFORE_DATA:
                packets.append((at, kind, len(self._interfaces)))
            elif kind == _INTERFACE:
                self._interfaces.append(self._interface(content[at : at + length]))
            at += length
        return packets, at, False

    def _section(self, content: bytes, at: int) -> bool:
        """Begin a section: its byte order, and no interface yet. Whether its header is damaged."""
        order = _ORDERS.get(content[at + 8 : at + 12])
        if order is None:
            self.damage = f"is damaged: the section behind frame {self._number:,} has no byte order"
            return True
        self.order, self._interfaces = order, []
        return False

    def _interface(self, block: bytes) -> _Interface:
        link, _, snap = struct.unpack_from(self.order + "HHI", block, 8)
        ticks, offset, at = 1_000_000, 0, 16
        while at + 8 <= len(block):
            code, length = struct.unpack_from(self.order + "HH", block, at)
            if at + 4 + length > len(block):
                break
            if code == _RESOLUTION and length == 1:
                exponent = block[at + 4]
                ticks = 2 ** (exponent & 127) if exponent & 128 else 10**exponent
            elif code == _OFFSET and length == 8:
                (offset,) = struct.unpack_from(self.order + "q", block, at + 4)
            at += 4 + length + -length % 4
        return _Interface(link, snap, ticks, offset)

    def _frames(self, data: NDArray[np.uint8], at: Ints, kind: Ints, described: Ints) -> Frames:
        """The frames of the packet blocks at ``at`` (n,), which know the first ``described`` (n,) interfaces."""
        whole, half = words(data, self.order + "u4"), words(data, self.order + "u2")
        interface = np.where(kind == _OLD, half[at + 8].astype(np.int64), whole[at + 8].astype(np.int64))
        interface[kind == _SIMPLE] = 0
        unknown = np.flatnonzero(interface >= described)
        if len(unknown):
            at, kind, interface = (values[: unknown[0]] for values in (at, kind, interface))
            last = self._number + len(at)
            self.damage = f"is damaged: the packet behind frame {last:,} names an interface that is not described"
        simple = kind == _SIMPLE
        room = whole[at + 4].astype(np.int64) - np.where(simple, 16, 32)
        wire = np.where(simple, whole[at + 8], whole[at + 24]).astype(np.int64)
        captured = np.where(simple, wire, whole[at + 20]).astype(np.int64)
        captured = np.clip(captured, 0, room)
        time = self._times(whole[at + 12].astype(np.uint64), whole[at + 16].astype(np.uint64), interface, simple)
        link = np.array([each.link for each in self._interfaces], np.int64)[interface]
        number = self._number + 1 + np.arange(len(at))
        self._number += len(at)
        return Frames(data, at + np.where(simple, 12, 28), captured, wire, time, link, number)

    def _times(
        self, high: NDArray[np.uint64], low: NDArray[np.uint64], interface: Ints, simple: NDArray[np.bool_]
    ) -> Ints:
        """(n,) microseconds since 1970."""
        ticks = high << np.uint64(32) | low
        time = np.zeros(len(ticks), np.int64)
        units = list(dict.fromkeys(each.ticks for each in self._interfaces))
        unit = np.array([units.index(each.ticks) for each in self._interfaces], np.int64)[interface]
        offset = np.array([each.offset for each in self._interfaces], np.int64)[interface]
        for number, per_second in enumerate(units):
            mine = unit == number
            time[mine] = _microseconds(ticks[mine], per_second, offset[mine])
        timed = np.maximum.accumulate(np.where(simple, -1, np.arange(len(time))))
        time = np.where(timed >= 0, time[np.maximum(timed, 0)], self._time)
        if len(time):
            self._time = int(time[-1])
        return time


def _microseconds(ticks: NDArray[np.uint64], per_second: int, offset: Ints) -> Ints:
    """(n,) microseconds since 1970, ``NO_TIME`` for what no clock can show; ``offset`` (n,) is in seconds."""
    seconds = ticks.astype(np.float64) / float(per_second) + offset
    shown = (seconds >= 0) & (seconds < LATEST / 1_000_000)
    time = np.full(len(ticks), NO_TIME)
    if per_second > 1 << 43:  # finer than the remainder below can hold
        time[shown] = (seconds[shown] * 1e6).astype(np.int64)
        return time
    ticks, unit = ticks[shown], np.uint64(per_second)
    part = ticks % unit * np.uint64(1_000_000) // unit
    time[shown] = ((ticks // unit).astype(np.int64) + offset[shown]) * 1_000_000 + part.astype(np.int64)
    return time

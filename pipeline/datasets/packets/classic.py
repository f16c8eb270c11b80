"""The pcap format: a header, then each frame behind 16 bytes with its time and length.

Source: Harris, Richardson, "PCAP Capture File Format" (draft-ietf-opsawg-pcap).
"""

import struct
from collections.abc import Iterator

import numpy as np

from pipeline.datasets.packets.frames import Frames, padded, words

LONGEST = 1 << 20  # bytes of a frame; more means that the file is damaged
_MAGIC = {  # first four bytes -> byte order, ticks in a microsecond
    b"\xa1\xb2\xc3\xd4": (">", 1),
    b"\xd4\xc3\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1000),
}
_HEAD, _RECORD = 24, 16


class Classic:
    """Reads one pcap file.

    Args:
        head: the first bytes of the file.

    Attributes:
        rest: bytes behind the last whole frame.
        damage: why the file cannot be read further; "" where it can.
    """

    def __init__(self, head: bytes) -> None:
        self.order, self.ticks = _MAGIC[head[:4]]
        (link,) = struct.unpack_from(self.order + "I", head.ljust(_HEAD, b"\0"), 20)
        self.link = link & 0x03FFFFFF  # the bits above say whether frames end with a check sum
        self.rest, self.damage = b"", ""
        self._begin, self._number = _HEAD, 0

    @staticmethod
    def knows(head: bytes) -> bool:
        """Whether a file that begins with ``head`` is a pcap."""
        return head[:4] in _MAGIC

    def read(self, content: bytes) -> Iterator[Frames]:
        """The whole frames of ``content``, which begins where the last one ended."""
        places, end = self._places(content)
        self.rest = content[end:]
        if self._begin and len(content) >= _HEAD:
            self._begin = 0
        if not places:
            return
        data = padded(content)
        at = np.array(places)
        whole = words(data, self.order + "u4")
        seconds, ticks = (whole[at + offset].astype(np.int64) for offset in (0, 4))
        captured, wire = (whole[at + offset].astype(np.int64) for offset in (8, 12))
        number = self._number + 1 + np.arange(len(at))
        self._number += len(at)
        time = seconds * 1_000_000 + ticks // self.ticks
        yield Frames(data, at + _RECORD, captured, wire, time, np.full(len(at), self.link), number)

    def missing(self) -> str:
        """What the file lacks at its end; "" where nothing."""
        if not self.rest:
            return ""
        where = f"ends within frame {self._number + 1:,}"
        if len(self.rest) < _RECORD or self._begin:
            return f"{where}, before its length is told"
        (length,) = struct.unpack_from(self.order + "I", self.rest, 8)
        return f"{where}: {_RECORD + length - len(self.rest):,} of its bytes are missing"

    def _places(self, content: bytes) -> tuple[list[int], int]:
        """Position of each whole frame's header, and the position behind the last whole frame."""
        unpack = struct.Struct(self.order + "I").unpack_from
        places: list[int] = []
        add, at, size = places.append, self._begin, len(content)
        while at + _RECORD <= size:
            (length,) = unpack(content, at + 8)
            following = at + _RECORD + length
            if following > size:
                if length > LONGEST:
                    number = self._number + len(places) + 1
                    self.damage = f"is damaged: frame {number:,} would have {length:,} bytes; what follows is not read"
                break
            add(at)
            at = following
        return places, min(at, size)

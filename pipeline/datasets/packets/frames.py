"""Frames: the captured bytes of many packets at once, as positions in one buffer."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.packets.bricks import Ints

NO_TIME = -1  # of a frame whose clock shows nothing that can be
LATEST = 7_258_118_400_000_000  # microseconds since 1970: the year 2200
PADDING = 4096  # zero bytes behind a buffer: more than any header is long, so that no read leaves the buffer


@dataclass(frozen=True)
class Frames:
    """(n,) frames of one file, in its order.

    Attributes:
        data: bytes that hold them, with ``PADDING`` zeros behind.
        start: position of each frame's first byte.
        captured: bytes that the file holds of it.
        wire: bytes that it had on the wire.
        time: microseconds since 1970, UTC; ``NO_TIME`` where the file has one that no clock can show.
        link: link type of the interface that saw it, by its number in the registry of tcpdump.org.
        number: of the frame in the file, from 1 on.
    """

    data: NDArray[np.uint8]
    start: Ints
    captured: Ints
    wire: Ints
    time: Ints
    link: Ints
    number: Ints

    def __len__(self) -> int:
        return len(self.start)


def words(data: NDArray[np.uint8], kind: str) -> NDArray[Any]:
    """A view that holds at each position the number of type ``kind`` that begins with that byte.

    Args:
        data: (m,) bytes.
        kind: a type with its byte order, such as ``>u2``.
    """
    size = np.dtype(kind).itemsize
    return np.ndarray((max(len(data) - size + 1, 0),), kind, data, strides=(1,))


def padded(content: bytes) -> NDArray[np.uint8]:
    """The bytes as an array, with ``PADDING`` zeros behind."""
    return np.frombuffer(content + bytes(PADDING), np.uint8)

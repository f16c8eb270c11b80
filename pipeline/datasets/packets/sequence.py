"""The order of captures in time, and which of them follows which."""

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.datasets.packets.files import Capture
from pipeline.datasets.packets.frames import NO_TIME
from pipeline.datasets.packets.witnesses import right
from pipeline.datasets.sources import Source

OVERLAPS = "it overlaps another capture of its folder in time, so no flow goes on from one to the other"


class Begun(NamedTuple):
    """A capture and where it begins.

    Attributes:
        folder: that holds it.
        begin: microseconds since 1970 of its first packet; None where it has none, or where nobody asked.
        source: opens it.
    """

    folder: str
    begin: int | None
    source: Source


def in_order(sources: Sequence[Source], slack: int, limit: int) -> list[Begun]:
    """Captures folder by folder, in the order of their first packets; those without a packet come first.

    Args:
        sources: the captures, by their names.
        slack: microseconds by which a clock may be ahead of the packets around it.
        limit: microseconds by which it may be behind them.

    Raises:
        SourceError: one of several is empty, or no capture of packets.
    """
    if len(sources) == 1:
        return [Begun("", None, sources[0])]
    found = [Begun(each.place.rpartition("/")[0], _begin(each, slack, limit), each) for each in sources]
    return sorted(found, key=lambda each: (each.folder, each.begin or 0))


class Neighbours:
    """Says of captures, one after the other, whether the next one follows: flows go on there.

    It follows if it lies in the same folder and begins within the timeout after the latest packet of the one before,
    and if neither overlaps another capture in time: such captures come from several sensors.

    Args:
        slack: microseconds by which packets may be late.
        timeout: microseconds.
    """

    def __init__(self, slack: int, timeout: int) -> None:
        self.slack, self.timeout = slack, timeout
        self._folder, self._latest = "", -1  # of all captures of that folder

    def meet(self, this: Begun, end: int | None, following: Begun | None) -> tuple[bool, bool]:
        """Whether flows of a capture go on in the next one, and whether it overlaps another one.

        Args:
            this: the capture.
            end: microseconds since 1970 of its latest packet.
            following: the capture that is read next.
        """
        if this.folder != self._folder:
            self._folder, self._latest = this.folder, -1
        end = -1 if end is None else end
        overlaps = this.begin is not None and this.begin < self._latest - self.slack
        self._latest = max(self._latest, end)
        if following is None or following.folder != this.folder or following.begin is None:
            return False, overlaps
        overlaps |= following.begin < self._latest - self.slack
        return not overlaps and following.begin <= end + self.timeout, overlaps


def _begin(source: Source, slack: int, limit: int) -> int | None:
    capture = Capture(source)
    capture.size = 1 << 16
    for frames in capture.frames():
        time = frames.time[frames.time != NO_TIME]
        if len(time):
            return int(right(time, slack, limit)[0])
    return None

"""The clock of a capture: packets that come late are put in order, and a clock that is set back begins a new era."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from pipeline.base.errors import SourceError
from pipeline.datasets.packets.bricks import Ints
from pipeline.datasets.packets.traffic import Traffic, joined, nothing

MOST_SETBACKS = 1_000
_WINDOW = 4096  # packets that are looked at for a setback at once


class Ready(NamedTuple):
    """Packets in the order of time.

    Attributes:
        traffic: the packets.
        horizon: every packet that still comes has this time or a later one; None at the end of an era.
    """

    traffic: Traffic
    horizon: int | None


class Clock:
    """Puts the packets of one file in order.

    A packet that is late by ``slack`` or less finds its place. One that is later by less than ``limit`` counts as if it
    had come just in time. One that is later still means that the clock was set back: all flows end there.

    Args:
        source: name of the file.
        slack: microseconds.
        limit: microseconds.

    Attributes:
        late: packets whose time was changed.
        setbacks: how often the clock was set back.
    """

    def __init__(self, source: str, slack: int, limit: int) -> None:
        self.source, self.slack, self.limit = source, slack, limit
        self.late, self.setbacks = 0, 0
        self._now: int | None = None
        self._held = nothing()

    def put(self, traffic: Traffic) -> Iterator[Ready]:
        """Take packets in the order of the file, and give those whose place is sure.

        Raises:
            SourceError: the clock is set back too often to mean anything.
        """
        while len(traffic):
            end = self._setback(traffic.time)
            self._advance(traffic.select(np.arange(end)))
            traffic = traffic.select(np.arange(end, len(traffic)))
            yield self.end() if len(traffic) else self._release()
            if len(traffic):
                self._count_setback()

    def end(self) -> Ready:
        """All packets that are still held."""
        held, self._held, self._now = _in_order(self._held), nothing(), None
        return Ready(held, None)

    def _setback(self, time: Ints) -> int:
        """Packets before the first one that is late by more than the limit."""
        now = self._now if self._now is not None else int(time[0])
        for begin in range(0, len(time), _WINDOW):
            part = time[begin : begin + _WINDOW]
            highest = np.maximum(np.maximum.accumulate(part), now)
            back = np.flatnonzero(part < highest - self.limit)
            if len(back):
                return begin + int(back[0])
            now = int(highest[-1])
        return len(time)

    def _advance(self, traffic: Traffic) -> None:
        if not len(traffic):
            return
        now = traffic.time[0] if self._now is None else self._now
        highest = np.maximum(np.maximum.accumulate(traffic.time), now)
        time = np.maximum(traffic.time, highest - self.slack)
        self.late += int((time > traffic.time).sum())
        self._now = int(highest[-1])
        self._held = joined([self._held, replace(traffic, time=time)])

    def _release(self) -> Ready:
        horizon = (self._now or 0) - self.slack
        ready = self._held.time <= horizon
        released, self._held = _in_order(self._held.select(ready)), self._held.select(~ready)
        return Ready(released, horizon)

    def _count_setback(self) -> None:
        self.setbacks += 1
        if self.setbacks > MOST_SETBACKS:
            told = f"its clock is set back more than {MOST_SETBACKS:,} times"
            raise SourceError(f"{self.source}: {told}; sort the file by time first, or remove it")


def _in_order(traffic: Traffic) -> Traffic:
    if (np.diff(traffic.time) >= 0).all():
        return traffic
    return traffic.select(np.argsort(traffic.time, kind="stable"))

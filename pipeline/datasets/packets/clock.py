"""The clock of a capture: late packets find their place, and a clock that is set back ends all flows."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from pipeline.base.errors import SourceError
from pipeline.datasets.packets.bricks import Ints
from pipeline.datasets.packets.traffic import Traffic, joined, nothing
from pipeline.datasets.packets.witnesses import Witnesses

MOST_SETBACKS = 1_000
MOST_HELD = 1 << 20  # packets that wait for a late one
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
    """Puts packets in order, whose clock may be wrong.

    - A packet whose time contradicts those around it, as ``Witnesses`` has it, counts as if it had come with the packet
      before it.
    - One that is late by ``slack`` or less finds its place.
    - One that is later by ``limit`` or less counts as if it had come just in time.
    - One that is later still means that the clock was set back: all flows end there.

    Where more than ``MOST_HELD`` packets wait for a late one, they wait no longer. What is earlier than they are then
    counts as if it had come with the last of them.

    Args:
        slack: microseconds.
        limit: microseconds.

    Attributes:
        late: packets of this file whose time was changed because they came too late.
        setbacks: how often the clock was set back in this file.
    """

    def __init__(self, slack: int, limit: int) -> None:
        self.slack, self.limit = slack, limit
        self.source, self.late, self.setbacks = "", 0, 0
        self._witnesses = Witnesses(slack, limit)
        self._now: int | None = None
        self._released = 0  # no packet may be earlier
        self._held = nothing()

    def begin(self, source: str) -> None:
        """Count afresh for the file ``source``, whose packets follow."""
        self.source, self.late, self.setbacks, self._witnesses.wrong = source, 0, 0, 0

    @property
    def wrong(self) -> int:
        """Packets of this file whose time contradicted those around them."""
        return self._witnesses.wrong

    def latest(self, following: int | None) -> int | None:
        """The latest right time so far, in microseconds; None before the first packet.

        Args:
            following: time of the packets that follow, if that is known.
        """
        times = (self._now, self._witnesses.latest(following))
        return max((time for time in times if time is not None), default=None)

    def put(self, traffic: Traffic) -> Iterator[Ready]:
        """Take packets in the order of the file, and give those whose place is sure.

        Raises:
            SourceError: the clock is set back too often to mean anything.
        """
        yield from self._put(self._witnesses.put(traffic))

    def end(self) -> Iterator[Ready]:
        """All packets that wait.

        Raises:
            SourceError: the clock is set back too often to mean anything.
        """
        yield from self._put(self._witnesses.end())
        yield self._all()

    def _put(self, traffic: Traffic) -> Iterator[Ready]:
        while len(traffic):
            end = self._setback(traffic.time)
            self._advance(traffic.select(slice(end)))
            traffic = traffic.select(slice(end, None))
            yield self._all() if len(traffic) else self._release()
            if len(traffic):
                self._count_setback()

    def _all(self) -> Ready:
        held, self._held, self._now, self._released = _in_order(self._held), nothing(), None, 0
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
        time = np.maximum(traffic.time, np.maximum(highest - self.slack, self._released))
        self.late += int((time > traffic.time).sum())
        self._now = int(highest[-1])
        self._held = joined([self._held, replace(traffic, time=time)])

    def _release(self) -> Ready:
        horizon = max((self._now or 0) - self.slack, self._released)
        ready = self._held.time <= horizon
        if len(ready) - ready.sum() > MOST_HELD:
            horizon = self._released = self._now or 0
            ready[:] = True
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

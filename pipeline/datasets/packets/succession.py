"""Captures that follow one another: a flow that is open at the end of one file goes on in the next."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from pipeline.datasets.packets.assembly import MOST_OPEN, Assembly, Flows
from pipeline.datasets.packets.clock import Clock, Ready
from pipeline.datasets.packets.decode import decode
from pipeline.datasets.packets.files import Capture
from pipeline.datasets.packets.rejects import Rejects
from pipeline.datasets.packets.traffic import joined

MOST_FLOWS = 1 << 16  # that are measured at once


class Limits(NamedTuple):
    """How long flows last, and how much is kept.

    Attributes:
        timeout: microseconds from its first packet on that a flow lasts at most.
        slack: microseconds by which a packet may be late and still finds its place.
        at_once: packets that are grouped into flows at once; more where more are kept.
        most: packets of open flows.
    """

    timeout: int
    slack: int
    at_once: int = 1 << 16
    most: int = MOST_OPEN


class Succession:
    """Groups the packets of files into flows, one file after the other.

    Args:
        limits: how long flows last, and how much is kept.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._clock = Clock(limits.slack, limits.timeout)
        self._assembly = Assembly(limits.timeout, limits.most)
        self._parts: list[Ready] = []
        self._begins: list[int] = []  # frames before each file
        self._frames = 0

    def latest(self, following: int | None) -> int | None:
        """The latest time so far, in microseconds since 1970; None before the first packet.

        Args:
            following: time of the first packet that follows, if that is known.
        """
        return self._clock.latest(following)

    def read(self, capture: Capture, rejects: Rejects) -> Iterator[Flows]:
        """Take the packets of the next file, and give flows that are over, in the order of their first packets.

        Raises:
            SourceError: the file cannot be read, or its clock is set back too often.
        """
        self._begins.append(self._frames)
        self._clock.begin(capture.source.name)
        self._assembly.early = 0
        for frames in capture.frames():
            decoded = decode(frames)
            rejects.add(frames, decoded)
            number = decoded.traffic.number + self._begins[-1]
            self._frames = self._begins[-1] + int(frames.number[-1]) if len(frames) else self._frames
            yield from self._flows(self._clock.put(replace(decoded.traffic, number=number)))
        if capture.lost:
            rejects.refuse(f"the file {capture.lost}")
        if capture.missing:
            rejects.note(f"the file {capture.missing}")

    def end(self) -> Iterator[Flows]:
        """The flows that are still open."""
        yield from self._flows(self._clock.end())

    def files(self, flows: Flows) -> Iterator[tuple[int, Flows]]:
        """The flows by the file of their first packets: its place among the files, and some of its flows at a time."""
        file = np.searchsorted(self._begins, flows.number - 1, side="right") - 1
        for place in np.unique(file).tolist():
            mine = np.flatnonzero(file == place)
            for begin in range(0, len(mine), MOST_FLOWS):
                yield place, flows.select(mine[begin : begin + MOST_FLOWS])

    def told(self) -> Iterator[str]:
        """What is to be known of the last file, though nothing of it was lost."""
        clock, early, most = self._clock, self._assembly.early, self._limits.most
        if clock.wrong:
            told = "had a time that the packets around contradict, and got that of the packet before"
            yield f"{_many(clock.wrong, 'packet')} {told}"
        if clock.late:
            yield f"{_many(clock.late, 'packet')} came too late to find the right place, and moved"
        if clock.setbacks:
            yield f"{_many(clock.setbacks, 'time')} the clock was set back, and all flows ended there"
        if early:
            told = f"more than {most:,} packets of open flows would have been kept"
            yield f"{_many(early, 'flow')} ended early, the oldest first: {told}"

    def _flows(self, ready: Iterable[Ready]) -> Iterator[Flows]:
        for part in ready:
            self._parts.append(part)
            waiting = sum(len(each.traffic) for each in self._parts)
            if part.horizon is None or waiting >= self._enough():
                yield self._assembly.add(joined([each.traffic for each in self._parts]), part.horizon)
                self._parts = []

    def _enough(self) -> int:
        """How many packets are worth grouping: about as many as are kept, within bounds."""
        return min(max(self._limits.at_once, len(self._assembly)), max(self._limits.most // 2, 1))


def _many(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"

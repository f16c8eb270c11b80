"""Packets whose clock was wrong for a moment: the packets around them tell."""

from dataclasses import replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pipeline.datasets.packets.bricks import Ints
from pipeline.datasets.packets.traffic import Traffic, joined, nothing

AROUND = 5  # packets on each side that a time is compared with
_NEVER = 1 << 62
_NONE = -1  # no right packet yet
_UNKNOWN = np.full(AROUND, -_NEVER)


class Witnesses:
    """Finds packets whose time contradicts the packets before and behind them, in the order of the file.

    A packet is wrong if its time is ahead of most of the ``AROUND`` packets before it and of most of those behind it,
    or behind both, while these agree with each other. So a clock that is set back, and silence, make no packet wrong.
    A wrong packet gets the time of the last right one.

    Args:
        ahead: microseconds by which a right packet may be ahead.
        behind: microseconds by which it may be behind.

    Attributes:
        wrong: packets whose time was wrong.
    """

    def __init__(self, ahead: int, behind: int) -> None:
        self.ahead, self.behind, self.wrong = ahead, behind, 0
        self._waiting = nothing()
        self._before, self._right = _UNKNOWN, _NONE  # times before, and that of the last right packet

    def put(self, traffic: Traffic) -> Traffic:
        """Take the next packets, and give those that could be judged."""
        self._waiting = joined([self._waiting, traffic])
        return self._judged(max(len(self._waiting) - AROUND, 0))

    def end(self) -> Traffic:
        """All packets that wait."""
        rest = self._judged(len(self._waiting))
        self._before, self._right = _UNKNOWN, _NONE
        return rest

    def latest(self, following: int | None) -> int | None:
        """The latest right time of the packets that wait, if packets follow at that time; None where none waits."""
        behind = np.full(AROUND, _NEVER if following is None else following)
        time = self._waiting.time
        rows, _ = _wrong(np.concatenate([self._before, time, behind]), self.ahead, self.behind)
        return max(np.delete(time, rows).tolist(), default=None)

    def _judged(self, n: int) -> Traffic:
        judged, self._waiting = self._waiting.select(slice(n)), self._waiting.select(slice(n, None))
        if not n:
            return judged
        behind = np.append(self._waiting.time, np.full(AROUND, _NEVER))[:AROUND]
        time = np.concatenate([self._before, judged.time, behind])
        rows, median = _wrong(time, self.ahead, self.behind)
        mended = _mended(judged.time, rows, median, self._right)
        self.wrong += len(rows)
        self._before, self._right = time[n : n + AROUND], int(mended[-1])
        return replace(judged, time=mended)


def right(time: Ints, ahead: int, behind: int) -> Ints:
    """Those of the first n times of a file that are not wrong.

    Args:
        time: (n,) microseconds, in the order of the file.
        ahead: microseconds by which a right packet may be ahead.
        behind: microseconds by which it may be behind.
    """
    rows, _ = _wrong(np.pad(time, AROUND, constant_values=(-_NEVER, _NEVER)), ahead, behind)
    return np.delete(time, rows) if len(rows) < len(time) else time


def _wrong(time: Ints, ahead: int, behind: int) -> tuple[Ints, Ints]:
    """Which of n packets are wrong.

    Args:
        time: (AROUND + n + AROUND,) microseconds: of packets before, of the packets, and of packets behind.
        ahead: microseconds by which a right packet may be ahead.
        behind: microseconds by which it may be behind.

    Returns:
        (m,) their indices, and (m,) the medians of the packets behind them.
    """
    own = time[AROUND : len(time) - AROUND]
    rows = np.flatnonzero(_may_be_wrong(time, own, ahead, behind))
    if not len(rows):
        return rows, rows
    around = sliding_window_view(time, 2 * AROUND + 1)[rows]
    before, after = (np.sort(part, axis=1)[:, AROUND // 2] for part in (around[:, :AROUND], around[:, AROUND + 1 :]))
    own = own[rows]
    wrong = (own - ahead > np.maximum(before, after)) | (own + behind < np.minimum(before, after))
    wrong &= after >= before - ahead
    return rows[wrong], after[wrong]


def _may_be_wrong(time: Ints, own: Ints, ahead: int, behind: int) -> NDArray[np.bool_]:
    """(n,) a quick look: ahead of any packet behind it, or behind any packet before it."""
    n = len(own)
    lowest, highest = own.copy(), own.copy()
    for step in range(1, AROUND + 1):
        np.minimum(lowest, time[AROUND + step : AROUND + step + n], out=lowest)
        np.maximum(highest, time[AROUND - step : AROUND - step + n], out=highest)
    return (own - lowest > ahead) | (highest - own > behind)


def _mended(time: Ints, rows: Ints, median: Ints, right: int) -> Ints:
    """(n,) times, where the packets ``rows`` have that of the last right packet before them.

    Args:
        time: (n,) microseconds.
        rows: (m,) the wrong ones.
        median: (m,) what counts where no packet before them is right.
        right: time of the last right packet before all of these, or ``_NONE``.
    """
    if not len(rows):
        return time
    last = np.arange(len(time))
    last[rows] = -1
    last = np.maximum.accumulate(last)[rows]
    mended = time.copy()
    mended[rows] = np.where(last >= 0, time[last], median if right == _NONE else right)
    return mended

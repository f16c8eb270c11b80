"""Packets become flows, a block at a time: the flows that go on are kept, with their packets, until they are over.

Source: Engelen, Rimmer, Joosen, "Troubleshooting an Intrusion Detection Dataset: the CICIDS2017 Case Study" (2021). A
flow has one pair of addresses and ports. It ends when a SYN follows the FINs of both sides or an RST, and in any case
before the first packet that is later than its first by more than the timeout. Its forward side is the one that began.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.packets.bricks import ACK, FIN, RST, SYN, Ints, Packets, Records
from pipeline.datasets.packets.conversations import grouped
from pipeline.datasets.packets.traffic import REAL, Traffic, joined, nothing

MOST_OPEN = 5_000_000  # packets of open flows


@dataclass(frozen=True)
class Flows:
    """Flows that are over, in the order of their first packets.

    Attributes:
        records: r flows and their packets; a side is that of the key.
        key: (r, 5) the conversation of each, as `Traffic` has it.
        number: (r,) of the first frame of each, as `Traffic` has it.
    """

    records: Records
    key: NDArray[np.uint64]
    number: Ints

    def __len__(self) -> int:
        return len(self.key)

    def select(self, rows: Ints) -> "Flows":
        """The flows at ``rows``, any indices."""
        return Flows(self.records.select(rows), self.key[rows], self.number[rows])


class Assembly:
    """Flows that are still open.

    Where they have more than ``most`` packets, the oldest flows end early, as if their time were up, until half as many
    packets are left. The forward side of flows that are over is remembered of half as many, the latest ones.

    Args:
        timeout: microseconds from its first packet on that a flow lasts at most.
        most: packets of open flows.

    Attributes:
        early: flows that ended early.
    """

    def __init__(self, timeout: int, most: int = MOST_OPEN) -> None:
        self.timeout, self.most, self.early = timeout, most, 0
        self._open = nothing()

    def __len__(self) -> int:
        """Packets that are kept."""
        return len(self._open)

    def add(self, traffic: Traffic, horizon: int | None) -> Flows:
        """Take packets in the order of time, and give the flows that are over.

        Args:
            traffic: packets, none earlier than the horizon of the last call.
            horizon: no packet that still comes is earlier; None ends all flows.
        """
        traffic = joined([self._open, traffic])
        order, conversation = grouped(traffic.key)
        ghosts = _Ghosts.of(traffic, order, conversation)
        real = traffic.ghost[order] == REAL
        order, conversation = order[real], conversation[real]
        cut = _cut(_packets(traffic, order, conversation), ghosts, self.timeout)
        over = np.ones(len(cut), bool) if horizon is None else self._over(cut, horizon)
        self._open = nothing() if horizon is None else self._kept(traffic, order, cut, over, ghosts, horizon)
        return _flows(traffic, order, cut, np.flatnonzero(over))

    def _over(self, cut: Records, horizon: int) -> NDArray[np.bool_]:
        """(r,) which flows are over: their time is up, or too many packets would be kept."""
        over = cut.begins + self.timeout < horizon
        packets = np.where(over, 0, np.diff(cut.starts, append=len(cut.owner)))
        if packets.sum() > self.most:
            youngest = np.argsort(-cut.begins, kind="stable")
            first = np.searchsorted(np.cumsum(packets[youngest]), self.most // 2, side="right")
            early = ~over & (cut.begins <= cut.begins[youngest[first]])
            self.early += int(early.sum())
            over |= early
        return over

    def _kept(
        self, traffic: Traffic, order: Ints, cut: Records, over: NDArray[np.bool_], ghosts: "_Ghosts", horizon: int
    ) -> Traffic:
        """The packets of the flows that go on, behind one ghost for each conversation that may go on."""
        stays = np.zeros(len(traffic), bool)
        stays[order[~over[cut.owner]]] = True
        ghosts = ghosts.after(traffic, order, cut, over)
        useful = np.zeros(len(ghosts), bool)
        useful[cut.conversation[~over]] = True
        idle = np.flatnonzero(~useful & (ghosts.time >= horizon - self.timeout))
        useful[idle[_latest(ghosts.time[idle], self.most // 2)]] = True
        useful &= ghosts.row >= 0
        ghost = replace(traffic.select(ghosts.row[useful]), ghost=ghosts.side[useful].astype(np.int8))
        return joined([ghost, traffic.select(stays)])


@dataclass(frozen=True)
class _Ghosts:
    """What is remembered of each of c conversations whose last flow is over, all (c,); a row of -1 where nothing is.

    Attributes:
        row: index of the ghost among the packets.
        side: forward side of the flow.
        time: of its last packet.
    """

    row: Ints
    side: Ints
    time: Ints

    def __len__(self) -> int:
        return len(self.row)

    @classmethod
    def of(cls, traffic: Traffic, order: Ints, conversation: Ints) -> "_Ghosts":
        """Of packets, in an order that puts each conversation together."""
        c = int(conversation[-1]) + 1 if len(conversation) else 0
        row, side, time = np.full(c, -1), np.full(c, -1), np.zeros(c, np.int64)
        ghost = traffic.ghost[order] != REAL
        rows, owner = order[ghost], conversation[ghost]
        row[owner], side[owner], time[owner] = rows, traffic.ghost[rows], traffic.time[rows]
        return cls(row, side, time)

    def after(self, traffic: Traffic, order: Ints, cut: Records, over: NDArray[np.bool_]) -> "_Ghosts":
        """The ghosts once the flows ``over`` (r,) of ``cut`` have ended, too."""
        ended = np.flatnonzero(over)
        ended = ended[np.diff(cut.conversation[ended], append=-1) != 0]  # the last one of each conversation
        which, last = cut.conversation[ended], order[cut.ends[ended]]
        row, side, time = self.row.copy(), self.side.copy(), self.time.copy()
        row[which], side[which], time[which] = last, cut.origin[ended], traffic.time[last]
        return _Ghosts(row, side, time)


def _latest(time: Ints, most: int) -> Ints:
    """Indices of the ``most`` latest of times (m,), of all where there are fewer."""
    return np.arange(len(time)) if len(time) <= most else np.argsort(time, kind="stable")[len(time) - most :]


def _packets(traffic: Traffic, order: Ints, conversation: Ints) -> Packets:
    """The packets in ``order``, with the numbers of their conversations."""
    names = ("time", "side", "payload", "header", "flags", "window")
    return Packets(conversation, *(getattr(traffic, name)[order].astype(np.int64) for name in names))


def _cut(packets: Packets, ghosts: _Ghosts, timeout: int) -> Records:
    """Conversations cut into flows."""
    first = np.zeros(len(packets), bool)
    begins = np.flatnonzero(np.diff(packets.conversation, prepend=-1))
    closes = np.append(begins[1:], len(packets))
    marks = _Marks(packets)
    while len(begins):
        first[begins] = True
        following = np.minimum(_beyond(packets.time, begins, closes, timeout), marks.reopened(begins))
        goes_on = following < closes
        begins, closes = following[goes_on], closes[goes_on]
    starts = np.flatnonzero(first)
    return Records(packets, np.cumsum(first) - 1, starts, _origin(packets, starts, ghosts, timeout))


class _Marks:
    """Where TCP flags stand among p packets."""

    def __init__(self, packets: Packets) -> None:
        flags, side = packets.flags, packets.side
        self.end = len(packets)
        self.resets = np.flatnonzero(flags & RST)
        self.fins = [np.flatnonzero(((flags & FIN) > 0) & (side == which)) for which in (0, 1)]
        self.opens = np.flatnonzero((flags & (SYN | ACK)) == SYN)

    def reopened(self, begins: Ints) -> Ints:
        """(m,) the first SYN behind the end of the connection that is under way at ``begins`` (m,)."""
        closed = np.maximum(self._next(self.fins[0], begins), self._next(self.fins[1], begins))
        closed = np.minimum(closed, self._next(self.resets, begins))
        return self._next(self.opens, closed + 1)

    def _next(self, places: Ints, at: Ints) -> Ints:
        """(m,) the first of ``places`` that is not before ``at`` (m,), the number of packets where there is none."""
        return np.append(places, self.end)[np.searchsorted(places, at)]


def _beyond(time: Ints, begins: Ints, closes: Ints, timeout: int) -> Ints:
    """(m,) the first packet that is later than the one at ``begins`` by more than the timeout, at most ``closes``."""
    found = closes.copy()
    long = np.flatnonzero(time[closes - 1] - time[begins] > timeout)
    low, high, latest = begins[long], closes[long], time[begins[long]] + timeout
    while (low < high).any():
        middle = (low + high) // 2
        late = time[np.minimum(middle, len(time) - 1)] > latest
        low, high = np.where(late | (low >= high), low, middle + 1), np.where(late, np.minimum(middle, high), high)
    found[long] = low
    return found


def _origin(packets: Packets, starts: Ints, ghosts: _Ghosts, timeout: int) -> Ints:
    """(r,) the forward side of the flows that begin at ``starts`` (r,).

    A SYN comes from it, a SYN with ACK goes to it. A flow that goes on where one timed out keeps its forward side, if
    it does so within the timeout. Else the first packet comes from it.
    """
    conversation, flags = packets.conversation[starts], packets.flags[starts]
    opening = np.diff(conversation, prepend=-1) != 0
    before = np.where(opening, ghosts.time[conversation], packets.time[starts - 1])
    known = ~opening | (ghosts.row[conversation] >= 0)
    goes_on = known & (packets.time[starts] - before <= timeout) & (flags & SYN == 0)
    own = np.where(flags & (SYN | ACK) == SYN | ACK, 1 - packets.side[starts], packets.side[starts])
    side = np.where(opening & goes_on, ghosts.side[conversation], own)
    anchor = np.where(opening | ~goes_on, np.arange(len(starts)), 0)
    return side[np.maximum.accumulate(anchor)]


def _flows(traffic: Traffic, order: Ints, cut: Records, over: Ints) -> Flows:
    first = order[cut.starts[over]]
    place = np.lexsort((traffic.number[first], traffic.time[first]))
    over, first = over[place], first[place]
    return Flows(cut.select(over), traffic.key[first], traffic.number[first])

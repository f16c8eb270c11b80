"""Conversations become packets: handshakes, segments, acknowledgements, farewells, with time, flags and window."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from pipeline.datasets.packets.bricks import ACK, FIN, PSH, RST, SYN, Packets
from pipeline.datasets.synthetic.conversations import (
    CLIENT,
    MILLISECOND,
    SERVER,
    Acks,
    Closing,
    Floats,
    Ints,
    Link,
    Opening,
    Turns,
)

PROBE = 1 << 8  # not of TCP: stands for the flags of the link's first packet
LATE = 1 << 9  # not of TCP: this packet comes as long after the one before as the link lingers
SMALLEST_FRAME = 26  # header and payload that fill an Ethernet frame of 60 bytes behind 14 + 20 bytes of headers
DELAYED_ACK = 40 * MILLISECOND

Step = tuple[int, int, int]  # who, TCP flags, bytes

OPENINGS: dict[Opening, Sequence[Step]] = {
    Opening.HANDSHAKE: ((CLIENT, PROBE, 0), (SERVER, SYN | ACK, 0), (CLIENT, ACK, 0)),
    Opening.HALF_OPEN: ((CLIENT, PROBE, 0), (SERVER, SYN | ACK, 0)),
    Opening.REFUSED: ((CLIENT, PROBE, 0), (SERVER, RST | ACK, 0)),
    Opening.UNANSWERED: ((CLIENT, PROBE, 0),),
}
CLOSINGS: dict[Closing, Sequence[Step]] = {
    Closing.CLIENT_FIN: ((CLIENT, FIN | ACK, 0), (SERVER, FIN | ACK, 0), (CLIENT, ACK, 0)),
    Closing.CLIENT_FIN_ACKED: ((CLIENT, FIN | ACK, 0), (SERVER, ACK, 0), (SERVER, FIN | ACK, 0), (CLIENT, ACK, 0)),
    Closing.SERVER_FIN: ((SERVER, FIN | ACK, 0), (CLIENT, FIN | ACK, 0), (SERVER, ACK, 0)),
    Closing.SERVER_FIN_ACKED: ((SERVER, FIN | ACK, 0), (CLIENT, ACK, 0), (CLIENT, FIN | ACK, 0), (SERVER, ACK, 0)),
    Closing.SERVER_FIN_IGNORED: (
        (SERVER, FIN | ACK, 0),
        (CLIENT, PSH | ACK, 14),
        (CLIENT, FIN | ACK, 0),
        (SERVER, RST, 0),
    ),
    Closing.SERVER_FIN_LINGERING: ((SERVER, FIN | ACK, 0), *((CLIENT, ACK, 0),) * 4, (CLIENT, RST | ACK | LATE, 0)),
    Closing.SERVER_FIN_LATE: (
        (SERVER, FIN | ACK, 0),
        (CLIENT, ACK, 0),
        (CLIENT, FIN | ACK | LATE, 0),
        (SERVER, ACK, 0),
    ),
    Closing.CLIENT_RESET: ((CLIENT, RST | ACK, 0), (CLIENT, RST, 0)),
    Closing.SERVER_RESET: ((SERVER, RST | ACK, 0), (SERVER, RST, 0)),
}


@dataclass(frozen=True)
class _Sent:
    """Packets before the link gives them header, window and padding; time in microseconds, not yet rounded."""

    conversation: Ints
    time: Floats
    side: Ints
    size: Ints
    flags: Ints


def transmit(rng: Generator, link: Link, turns: Turns) -> Packets:
    """All packets of the conversations: opening, messages cut into segments, acknowledgements, closing."""
    opens = np.isin(link.opening, (Opening.HANDSHAKE, Opening.JOINED))
    turns = turns.select(opens[turns.conversation])
    opening = _opening(rng, link) if link.tcp else []
    begun = _ends(opening, np.zeros(len(link)))
    data, last = _segments(rng, link, turns, begun)
    acks = [_acknowledgements(rng, link, turns, data, last)] if link.tcp else []
    closes = opens | (link.opening == Opening.HALF_OPEN)
    closing = _closing(rng, link, closes, _ends([data, *acks], begun)) if link.tcp else []
    return _framed(link, [*opening, data, *acks, *closing])


def _opening(rng: Generator, link: Link) -> list[_Sent]:
    start = np.zeros(len(link))
    sent = []
    for kind, steps in OPENINGS.items():
        rows = np.flatnonzero(link.opening == kind)
        sent += _steps(rng, link, rows, steps, start[rows])
        repeats = kind in (Opening.REFUSED, Opening.UNANSWERED)
        for attempt in range(1, int(link.tries[rows].max(initial=0)) if repeats else 0):
            rows = rows[link.tries[rows] > attempt]
            start[rows] += link.retry[rows] * link.backoff[rows] ** (attempt - 1) * rng.uniform(0.99, 1.01, len(rows))
            sent += _steps(rng, link, rows, steps, start[rows])
    return sent


def _closing(rng: Generator, link: Link, closes: NDArray[np.bool_], end: Floats) -> list[_Sent]:
    sent = []
    for kind, steps in CLOSINGS.items():
        rows = np.flatnonzero(closes & (link.closing == kind))
        sent += _steps(rng, link, rows, steps, end[rows] + link.linger[rows])
    return sent


def _steps(rng: Generator, link: Link, rows: Ints, steps: Sequence[Step], start: Floats) -> list[_Sent]:
    """The same control packets in all conversations ``rows``."""
    time, before, sent = start, -1, []
    for position, (side, flags, size) in enumerate(steps):
        if position:
            pause = link.latency[side, rows] if side != before else 2.0
            time = time + pause * np.exp(0.5 * rng.standard_normal(len(rows)))
        if flags & LATE:
            time = time + link.linger[rows] * rng.uniform(0.3, 3, len(rows))
        bits = link.probe[rows] if flags & PROBE else np.full(len(rows), flags & ~LATE)
        sent.append(_Sent(rows, time, np.full(len(rows), side), np.full(len(rows), size), bits))
        before = side
    return sent


def _segments(rng: Generator, link: Link, turns: Turns, begun: Floats) -> tuple[_Sent, NDArray[np.bool_]]:
    """Messages cut into segments, and which segment is the last of its message."""
    most = link.segment[turns.side, turns.conversation]
    count = np.maximum(-(-turns.size // most), 1)  # (t,) segments of each message; an empty one is a keep-alive
    turn = np.repeat(np.arange(len(count)), count)  # (s,)
    first = np.cumsum(count) - count
    position = np.arange(len(turn)) - first[turn]
    last = position == count[turn] - 1
    size = np.where(last, turns.size[turn] - position * most[turn], most[turn])
    reaction = turns.delay + _reply_latency(rng, link, turns)
    pace = link.latency[:, turns.conversation].sum(axis=0) / 12
    burst = rng.random(len(turn)) < 0.8  # most segments follow at line rate, some wait for the window to open
    gap = np.where(burst, rng.exponential(14, len(turn)), pace[turn] * rng.exponential(1, len(turn)))
    gap = np.where(position == 0, reaction[turn], gap)
    conversation = turns.conversation[turn]
    flags = np.where(last & (size > 0), PSH | ACK, ACK) if link.tcp else np.zeros(len(turn), np.int64)
    time = begun[conversation] + _running_total(gap, conversation)
    return _Sent(conversation, time, turns.side[turn], size, flags), last


def _reply_latency(rng: Generator, link: Link, turns: Turns) -> Floats:
    """(t,) how long a message travels, where it answers the other side."""
    before = np.append(CLIENT, turns.side[:-1])
    before[np.diff(turns.conversation, prepend=-1) != 0] = CLIENT
    latency = link.latency[turns.side, turns.conversation] * np.exp(0.3 * rng.standard_normal(len(before)))
    return np.where(turns.side != before, latency, 0.0)


def _acknowledgements(rng: Generator, link: Link, turns: Turns, data: _Sent, last: NDArray[np.bool_]) -> _Sent:
    """Every other segment is acknowledged, and the last of a message unless the answer does that soon enough."""
    soon = np.zeros(len(turns.side), bool)
    soon[:-1] = (
        (turns.conversation[1:] == turns.conversation[:-1])
        & (turns.side[1:] != turns.side[:-1])
        & (turns.delay[1:] + link.latency[turns.side[1:], turns.conversation[1:]] < DELAYED_ACK)
    )
    acked = np.arange(len(last)) % 2 == 1
    acks = link.acks[1 - data.side, data.conversation]
    acked[last] = ~soon | (acks[last] == Acks.AT_ONCE)
    acked &= acks != Acks.NEVER
    peer = 1 - data.side[acked]
    conversation = data.conversation[acked]
    pause = np.minimum(link.latency[peer, conversation], DELAYED_ACK) * rng.uniform(0.5, 1.0, len(peer))
    empty = np.zeros(len(peer), np.int64)
    return _Sent(conversation, data.time[acked] + pause, peer, empty, empty + ACK)


def _framed(link: Link, sent: list[_Sent]) -> Packets:
    """Header, window and padding for each packet, and all in the order of conversation and time."""
    conversation = np.concatenate([part.conversation for part in sent])
    time = np.concatenate([part.time for part in sent]).astype(np.int64)
    order = np.argsort((conversation << 40) + time, kind="stable")
    conversation, time = conversation[order], time[order]
    side = np.concatenate([part.side for part in sent])[order]
    size = np.concatenate([part.size for part in sent])[order]
    flags = np.concatenate([part.flags for part in sent])[order]
    header = link.header[side, conversation]
    if not link.tcp:
        return Packets(conversation, time, side, size, header, flags, np.full(len(time), -1))
    opening, reset = (flags & SYN) > 0, (flags & RST) > 0
    header = np.where(opening, link.syn_header[conversation], np.where(reset, 20, header))
    window = np.where(opening, link.syn_window[side, conversation], link.window[side, conversation])
    window = np.where(reset, 0, window)
    padding = np.where(link.pads[side, conversation], np.maximum(SMALLEST_FRAME - header - size, 0), 0)
    return Packets(conversation, time, side, size + padding, header, flags, window)


def _ends(sent: list[_Sent], begun: Floats) -> Floats:
    """(n,) time of the last packet of each conversation."""
    end = begun.copy()
    for part in sent:
        np.maximum.at(end, part.conversation, part.time)
    return end


def _running_total(values: Floats, owner: Ints) -> Floats:
    """(m,) cumulative sums that start anew with each owner (ascending)."""
    total = np.cumsum(values)
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    before = total[starts] - values[starts]
    return np.asarray(total - np.repeat(before, np.diff(starts, append=len(values))))

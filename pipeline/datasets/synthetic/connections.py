"""Simulated packets -> connections as Zeek sees them: how each began and ended, what happened, what each side sent.

Source: ``Conn::Info``, "base/protocols/conn/main.zeek", Zeek manual (docs.zeek.org). A conversation is one connection:
Zeek would cut those that are silent for minutes.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.packets.bricks import ACK, FIN, RST, SYN, Ints, Packets
from pipeline.datasets.synthetic.conversations import CLIENT, SERVER

LETTERS = "SHADFR"  # in the history: SYN, SYN with ACK, ACK alone, data, FIN, RST; in lower case of the server
IP_HEADER, UDP_HEADER = 20, 8

_Texts = NDArray[np.str_]
_Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Connections:
    """Of n conversations, all (n,); first axis 0 the client, 1 the server where there are two.

    Attributes:
        conversation: the number of each.
        start, end: microseconds from the begin of the conversation to its first and last packet.
        packets: (2, n) packets of each side.
        payload: (2, n) bytes behind the transport header.
        ip_bytes: (2, n) bytes of whole IP packets.
        state: how it began and ended.
        history: what happened, a letter for each kind of event.
    """

    conversation: Ints
    start: Ints
    end: Ints
    packets: Ints
    payload: Ints
    ip_bytes: Ints
    state: _Texts
    history: _Texts


def connections(packets: Packets, tcp: bool) -> Connections:
    """The connections of all conversations that have a packet."""
    starts = np.flatnonzero(np.diff(packets.conversation, prepend=-1))
    n, which = len(starts), packets.conversation[starts]
    packets = replace(packets, conversation=np.repeat(np.arange(n), np.diff(starts, append=len(packets))))
    header = packets.header if tcp else np.full(len(packets), UDP_HEADER)
    count = _sums(packets, np.ones(len(packets), np.int64), n)
    return Connections(
        conversation=which,
        start=packets.time[starts],
        end=packets.time[np.append(starts[1:], len(packets)) - 1],
        packets=count,
        payload=_sums(packets, packets.payload, n),
        ip_bytes=_sums(packets, packets.payload + header + IP_HEADER, n),
        state=_tcp_states(packets, n) if tcp else _udp_states(count),
        history=_histories(packets, n, tcp),
    )


def _udp_states(count: Ints) -> _Texts:
    """(n,) states by the (2, n) packets of each side."""
    return np.select([(count > 0).all(axis=0), count[CLIENT] > 0], [np.array("SF"), np.array("S0")], "SHR")


def _sums(packets: Packets, values: Ints, n: int) -> Ints:
    """(2, n) sums of values of packets, by side and conversation."""
    sums = np.bincount(packets.side * n + packets.conversation, weights=values, minlength=2 * n)
    return np.rint(sums).astype(np.int64).reshape(2, n)


def _first(packets: Packets, which: _Mask, n: int) -> Ints:
    """(n,) place of the first packet of each conversation that is one of ``which``; the number of packets if none."""
    first = np.full(n, len(packets))
    np.minimum.at(first, packets.conversation[which], np.flatnonzero(which))
    return first


def _tcp_states(packets: Packets, n: int) -> _Texts:
    """(n,) states, the first that applies; a SYN that is answered counts as established."""
    client, flags, never = packets.side == CLIENT, packets.flags, len(packets)

    def seen(side: _Mask, bit: int) -> Ints:
        return _first(packets, side & ((flags & bit) > 0), n)

    syn = _first(packets, client & ((flags & (SYN | ACK)) == SYN), n) < never
    answered = seen(~client, SYN) < never
    fins = [seen(side, FIN) < never for side in (client, ~client)]
    resets = [seen(side, RST) for side in (client, ~client)]
    reset = [resets[0] < resets[1], resets[1] < resets[0]]
    rules = [
        (syn & answered & fins[0] & fins[1], "SF"),
        (syn & answered & reset[0], "RSTO"),
        (syn & answered & reset[1], "RSTR"),
        (syn & answered & fins[0], "S2"),
        (syn & answered & fins[1], "S3"),
        (syn & answered, "S1"),
        (syn & reset[1], "REJ"),
        (syn & reset[0], "RSTOS0"),
        (syn & fins[0], "SH"),
        (syn, "S0"),
        (answered & reset[1], "RSTRH"),
        (answered & fins[1], "SHR"),
    ]
    return np.select([mask for mask, _ in rules], [np.array(name) for _, name in rules], "OTH")


def _histories(packets: Packets, n: int, tcp: bool) -> _Texts:
    """(n,) the letter of each kind of event, by the time of the first one; ^ where the server was seen first."""
    flags, data = packets.flags, packets.payload > 0
    syn = tcp & ((flags & SYN) > 0)
    ends = tcp & ((flags & (SYN | FIN | RST)) > 0)
    events = [
        syn & ((flags & ACK) == 0),
        syn & ((flags & ACK) > 0),
        tcp & ~data & ~ends & ((flags & ACK) > 0),
        data,
        tcp & ((flags & FIN) > 0),
        tcp & ((flags & RST) > 0),
    ]
    letters, owner = _first_events(packets, events)
    cuts = np.searchsorted(owner, np.arange(n + 1)).tolist()
    starts = np.flatnonzero(np.diff(packets.conversation, prepend=-1))
    turned = np.where(packets.side[starts] == SERVER, "^", "").tolist()
    return np.array([turn + letters[a:b] for turn, a, b in zip(turned, cuts[:-1], cuts[1:], strict=True)])


def _first_events(packets: Packets, events: list[_Mask]) -> tuple[str, Ints]:
    """The letters of the first event of each kind, of each side of each conversation, and (k,) whose each is."""
    kinds = len(LETTERS)
    place = np.concatenate([np.flatnonzero(event) for event in events])
    kind = np.repeat(np.arange(kinds), [np.count_nonzero(event) for event in events])
    order = np.lexsort((kind, place))
    place, kind = place[order], kind[order]
    _, first = np.unique((packets.conversation[place] * 2 + packets.side[place]) * kinds + kind, return_index=True)
    first.sort()
    place, kind = place[first], kind[first]
    letters = np.array([*LETTERS, *LETTERS.lower()])[kind + kinds * packets.side[place]]
    return "".join(letters.tolist()), packets.conversation[place]

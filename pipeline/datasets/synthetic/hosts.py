"""Hosts of a small office: the traits of their TCP and UDP stacks, drawn for each conversation."""

import numpy as np
from numpy.random import Generator

from pipeline.datasets.packets.bricks import SYN
from pipeline.datasets.synthetic.conversations import (
    MILLISECOND,
    SECOND,
    Acks,
    Closing,
    Ints,
    Link,
    Opening,
    picked,
    varied,
)

LINUX, WINDOWS, OTHER = 0, 1, 2

# Both windows that a stack shows: while connecting, and (scaled) once connected.
_SYN_WINDOW = {LINUX: 29_200, WINDOWS: 8_192, OTHER: 65_535}
_SYN_HEADER = {LINUX: 40, WINDOWS: 32, OTHER: 44}
_HEADER = {LINUX: 32, WINDOWS: 20, OTHER: 32}

CLOSINGS = {
    Closing.CLIENT_FIN: 30,
    Closing.CLIENT_FIN_ACKED: 17,
    Closing.SERVER_FIN: 12,
    Closing.SERVER_FIN_ACKED: 11,
    Closing.CLIENT_RESET: 11,
    Closing.SERVER_RESET: 5,
    Closing.LEFT_OPEN: 14,
}


def tcp(rng: Generator, n: int, system: Ints | int | None = None) -> Link:
    """``n`` ordinary TCP links of an office host to an outside server; most connect, some do not.

    Args:
        rng: the draws.
        n: conversations.
        system: the client's, `LINUX`, `WINDOWS` or `OTHER`; drawn where not given.
    """
    client = picked(rng, n, {LINUX: 50, WINDOWS: 42, OTHER: 8}) if system is None else np.broadcast_to(system, n)
    header = _table(_HEADER, client)
    far = varied(rng, n, 24 * MILLISECOND, 1.0)
    return Link(
        tcp=True,
        port=np.stack([rng.integers(32_768, 61_000, n), np.full(n, 443)]),
        header=np.stack([header, header]),
        syn_header=_table(_SYN_HEADER, client),
        window=np.stack([_scaled_window(rng, client), _server_window(rng, n)]),
        syn_window=np.stack([_table(_SYN_WINDOW, client), np.where(header == 32, 28_960, 29_200)]),
        segment=_segments(rng, n, header),
        pads=rng.random((2, n)) < np.array([[0.72], [0.85]]),
        latency=np.stack([varied(rng, n, 60, 0.8), far]),
        acks=np.where(rng.random((2, n)) < 0.3, Acks.AT_ONCE, Acks.WITH_THE_ANSWER),
        opening=picked(
            rng, n, {Opening.HANDSHAKE: 94, Opening.JOINED: 3.4, Opening.REFUSED: 1.0, Opening.UNANSWERED: 1.6}
        ),
        tries=rng.integers(2, 6, n),
        retry=varied(rng, n, 0.9 * SECOND, 0.3),
        backoff=np.full(n, 2.0),
        probe=np.full(n, SYN),
        closing=picked(rng, n, CLOSINGS),
        linger=varied(rng, n, 0.1 * SECOND, 2.6),
    )


def udp(rng: Generator, n: int, port: Ints | int) -> Link:
    """``n`` UDP links; the published extractor gives a datagram the header length of some TCP packet before it."""
    link = tcp(rng, n)
    header = np.where(rng.random((2, n)) < 0.52, 20, 32)
    header[1] = np.where(rng.random(n) < 0.8, header[0], header[1])
    return Link(
        **{
            **vars(link),
            "tcp": False,
            "port": np.stack([rng.integers(1_024, 65_536, n), np.broadcast_to(port, n)]),
            "header": header,
            "segment": np.full((2, n), 1_472),
            "pads": np.zeros((2, n), bool),
            "opening": np.full(n, Opening.JOINED),
            "closing": np.full(n, Closing.LEFT_OPEN),
        }
    )


def nearby(rng: Generator, link: Link, median: float = 90) -> Link:
    """The same link within one building: ``median`` microseconds until an answer."""
    return link.but(latency=varied(rng, 2 * len(link), median, 0.6).reshape(2, -1))


def attacker(rng: Generator, n: int, port: Ints | int = 80, system: int = LINUX) -> Link:
    """``n`` links of one attacking host, a hop away, to the web server of the office."""
    link = nearby(rng, tcp(rng, n, system)).servers(port, opening=Opening.HANDSHAKE)
    window = rng.choice([229, 229, 229, 237, 251, 274], n) if system == LINUX else rng.choice([256, 256, 16_393], n)
    answer = rng.choice([227, 229, 235, 235, 243], n)
    return link.but(window=np.stack([window, answer]), pads=link.header == 20)


def joined(rng: Generator, n: int, share: float) -> Ints:
    """(n,) openings: a ``share`` of the conversations was under way before the capture saw it."""
    return np.where(rng.random(n) < share, Opening.JOINED, Opening.HANDSHAKE)


def _table(by_system: dict[int, int], system: Ints) -> Ints:
    return np.array([by_system[key] for key in sorted(by_system)], np.int64)[system]


def _scaled_window(rng: Generator, system: Ints) -> Ints:
    linux = varied(rng, len(system), 320, 0.6)
    windows = np.where(
        rng.random(len(system)) < 0.7, varied(rng, len(system), 253, 0.02), varied(rng, len(system), 16_400, 0.1)
    )
    return np.clip(np.where(system == WINDOWS, windows, linux), 1, 65_535).astype(np.int64)


def _server_window(rng: Generator, n: int) -> Ints:
    kind = rng.random(n)
    window = np.where(kind < 0.6, varied(rng, n, 180, 0.7), varied(rng, n, 900, 0.8))
    window = np.where(kind > 0.88, varied(rng, n, 16_000, 0.6), window)
    return np.clip(window, 0, 65_535).astype(np.int64)


def _segments(rng: Generator, n: int, header: Ints) -> Ints:
    """Segment sizes: receive offload joins segments, so captured packets may exceed the MTU."""
    mss = np.where(rng.random(n) < 0.12, 1_430, 1_480 - header)
    joined = rng.choice([1, 1, 1, 1, 1, 2, 2, 3], (2, n))
    return np.asarray(mss * joined, np.int64)

"""The denial-of-service tools of CIC-IDS-2017, each as the packets that it causes."""

import numpy as np
from numpy.random import Generator

from pipeline.datasets.synthetic.conversations import (
    CLIENT,
    SECOND,
    SERVER,
    Acks,
    Closing,
    Ints,
    Link,
    Opening,
    Turns,
    about,
    between,
    counted,
    fixed,
    once,
    picked,
    rounds,
    script,
    varied,
)
from pipeline.datasets.synthetic.hosts import WINDOWS, attacker, joined

APACHE_PAGE = 11_595  # bytes of the page that the flooded server answers with


def ddos(rng: Generator, n: int) -> tuple[Link, Turns]:
    """LOIC from three Windows hosts: tiny requests for a whole page, then the connection is left to rot."""
    link = attacker(rng, n, system=WINDOWS).but(
        closing=picked(rng, n, {Closing.SERVER_FIN_LINGERING: 50, Closing.LEFT_OPEN: 40, Closing.CLIENT_FIN: 10})
    )
    link = link.but(linger=_mixed(rng, n, 0.45, varied(rng, n, 0.9 * SECOND, 1.0), varied(rng, n, 9 * SECOND, 1.1)))
    link = link.but(segment=link.segment * rng.integers(1, 5, (2, n)), opening=joined(rng, n, 0.06))
    page = np.where(rng.random(n) < 0.8, APACHE_PAGE, varied(rng, n, 1e3, 0.5))
    request = (CLIENT, fixed(rng.choice([20, 20, 20, 26], n)), about(rng, 1e3, 1.6))
    return link, once(n, request, (SERVER, fixed(page), about(rng, 300e3, 1.8, 0, 60 * SECOND)))


def dos_hulk(rng: Generator, n: int) -> tuple[Link, Turns]:
    """Random GETs to dodge caches: the page, then a connection that is kept until the server gives up."""
    reused = rng.random(n) < 0.72  # the capture saw an earlier connection of the same port end
    link = _flooding(rng, n).but(opening=np.where(reused, Opening.JOINED, Opening.HANDSHAKE))
    linger = _mixed(rng, n, 0.3, varied(rng, n, 90 * SECOND, 0.12), varied(rng, n, 0.05 * SECOND, 2.0))
    closings = {Closing.SERVER_FIN_ACKED: 35, Closing.CLIENT_RESET: 30, Closing.CLIENT_FIN: 30, Closing.LEFT_OPEN: 5}
    pause = between(rng, 66 * SECOND, 101 * SECOND)
    earlier = rounds(reused.astype(int), (CLIENT, fixed(0), fixed(0)), (CLIENT, fixed(0), about(rng, 900, 1)))
    wait = rounds(reused.astype(int), (CLIENT, fixed(0), pause))
    request = (CLIENT, about(rng, 340, 0.11), about(rng, 500, 2.0))
    answer = (SERVER, fixed(APACHE_PAGE), about(rng, varied(rng, n, 4e3, 2.2), 0.5, 0, 20 * SECOND))
    link = link.but(linger=linger, closing=picked(rng, n, closings))
    return link, script(earlier, wait, once(n, request, answer))


def dos_goldeneye(rng: Generator, n: int) -> tuple[Link, Turns]:
    """Keep-alive GETs with random agents; the server closes after its five seconds, the tool much later."""
    closings = {Closing.SERVER_FIN_LATE: 35, Closing.CLIENT_FIN_ACKED: 45, Closing.CLIENT_RESET: 20}
    link = _flooding(rng, n).but(closing=picked(rng, n, closings))
    link = link.but(linger=varied(rng, n, 5.6 * SECOND, 0.16))
    late = rng.random(n) < 0.75  # an answer that the busy server delays
    request = (CLIENT, about(rng, 430, 0.28), about(rng, 700, 1.0))
    page = fixed(rng.choice([3_525, APACHE_PAGE, APACHE_PAGE + 37], n))
    answer = (SERVER, page, about(rng, np.where(late, 6 * SECOND, 2e3), 0.12, 0, 40 * SECOND))
    return link, rounds(picked(rng, n, {1: 85, 2: 15}), request, answer)


def dos_slowloris(rng: Generator, n: int) -> tuple[Link, Turns]:
    """A request header that never ends: one line every so often, until the server has no slot left for others."""
    full = rng.random(n) < 0.22  # no slot left: the tool knocks in vain
    link = attacker(rng, n).but(
        opening=np.where(full, Opening.UNANSWERED, Opening.HANDSHAKE),
        tries=rng.integers(2, 5, n),
        retry=SECOND,
        closing=picked(
            rng, n, {Closing.SERVER_FIN_ACKED: 5, Closing.CLIENT_FIN: 3, Closing.SERVER_RESET: 1, Closing.LEFT_OPEN: 2}
        ),
        linger=varied(rng, n, 6 * SECOND, 1.2),
        acks=_deaf(rng, n, 0.2),
    )
    header = once(n, (CLIENT, about(rng, 231, 0.12), about(rng, 500, 1.2)))
    pause = np.clip(varied(rng, n, 15 * SECOND, 0.8), 1 * SECOND, 100 * SECOND)
    line = (CLIENT, between(rng, 8, 14), about(rng, pause, 0.25))
    refusal = rounds((rng.random(n) < 0.3).astype(int), (SERVER, between(rng, 300, 520), about(rng, 8 * SECOND, 0.8)))
    return link, script(header, rounds(counted(rng, n, 5, 0.9, (0, 30)), line), refusal)


def dos_slowhttptest(rng: Generator, n: int) -> tuple[Link, Turns]:
    """A body that comes in crumbs, or an answer that is read in crumbs through a tiny window."""
    full = rng.random(n) < 0.25
    link = attacker(rng, n).but(
        opening=np.where(full, Opening.UNANSWERED, Opening.HANDSHAKE),
        tries=rng.integers(3, 8, n),
        retry=SECOND,
        closing=picked(
            rng, n, {Closing.CLIENT_FIN: 4, Closing.SERVER_FIN_ACKED: 3, Closing.CLIENT_RESET: 2, Closing.LEFT_OPEN: 2}
        ),
        linger=_mixed(rng, n, 0.4, varied(rng, n, 60 * SECOND, 0.5), varied(rng, n, 3 * SECOND, 1.2)),
        acks=_deaf(rng, n, 0.45),
    )
    reads = rng.random(n) < 0.3
    window = np.where(reads, rng.integers(8, 64, n), link.window[CLIENT])
    link = link.but(window=np.stack([window, link.window[SERVER]]))
    header = once(n, (CLIENT, about(rng, 355, 0.2), about(rng, 400, 1)))
    pause = np.clip(varied(rng, n, 18 * SECOND, 0.8), 1 * SECOND, 110 * SECOND)
    crumbs = rounds(
        np.where(reads, 0, 1) * counted(rng, n, 3, 0.8, (0, 24)), (CLIENT, between(rng, 6, 70), about(rng, pause, 0.15))
    )
    sips = rounds(
        np.where(reads, 1, 0) * counted(rng, n, 4, 0.7, (1, 30)),
        (SERVER, between(rng, 16, 600), about(rng, pause / 2, 0.3)),
    )
    return link, script(header, crumbs, sips)


def _flooding(rng: Generator, n: int) -> Link:
    link = attacker(rng, n)
    segment = 1_448 * rng.choice([1, 2, 2, 4, 8], (2, n))
    return link.but(window=np.stack([link.window[CLIENT], np.full(n, 235)]), segment=segment)


def _deaf(rng: Generator, n: int, share: float) -> Ints:
    """Acknowledgements, with a ``share`` of the servers too busy to send any."""
    return np.stack([np.full(n, Acks.WITH_THE_ANSWER), np.where(rng.random(n) < share, Acks.NEVER, Acks.AT_ONCE)])


def _mixed(rng: Generator, n: int, share: float, some: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.where(rng.random(n) < share, some, others)

"""What the office does all day: benign applications, each a process of messages with its own tempo and sizes."""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from pipeline.datasets.synthetic.conversations import (
    CLIENT,
    MILLISECOND,
    SECOND,
    SERVER,
    Closing,
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
from pipeline.datasets.synthetic.hosts import LINUX, WINDOWS, nearby, tcp, udp

Behaviour = Callable[[Generator, int], tuple[Link, Turns]]


def name_lookup(rng: Generator, n: int) -> tuple[Link, Turns]:
    """DNS: a question or two (A and AAAA) to a resolver that knows the answer, or asks others first."""
    link = udp(rng, n, 53)
    known = rng.random(n) < 0.5
    link = link.but(
        latency=np.stack([np.full(n, 4.0), np.where(known, varied(rng, n, 170, 0.3), varied(rng, n, 33e3, 0.9))])
    )
    question = np.rint(np.clip(varied(rng, n, 41, 0.3), 24, 250))
    answer = np.rint(question + np.where(rng.random(n) < 0.2, 0, varied(rng, n, 62, 0.9)))
    twice = rng.random(n) < 0.66
    together = rng.random(n) < 0.85
    ask, reply = (CLIENT, fixed(question), about(rng, 3, 0.8)), (SERVER, fixed(answer), fixed(0))
    again = (SERVER, fixed(answer), about(rng, 3, 0.8))
    pair = rounds((twice & together).astype(int), ask, ask, reply, again)
    late = (CLIENT, fixed(question), about(rng, np.where(rng.random(n) < 0.1, 8 * SECOND, 0.02 * SECOND), 1.5))
    single = script(
        rounds((~(twice & together)).astype(int), ask, reply), rounds((twice & ~together).astype(int), late, reply)
    )
    return link, script(pair, single)


def clock_sync(rng: Generator, n: int) -> tuple[Link, Turns]:
    """NTP: 48 bytes there and back, again after about a minute."""
    link = udp(rng, n, 123)
    poll = np.where(rng.random(n) < 0.3, 1 * SECOND, 65 * SECOND)
    ask = (CLIENT, fixed(48), about(rng, poll, 0.03))
    return link, rounds(picked(rng, n, {1: 5, 2: 4, 3: 1}), ask, (SERVER, fixed(48), about(rng, 6e3, 0.6)))


def announcement(rng: Generator, n: int) -> tuple[Link, Turns]:
    """NetBIOS, SSDP, mDNS: datagrams to everybody, which nobody answers."""
    link = udp(rng, n, rng.choice([137, 138, 5353, 1900, 5355], n, p=[0.5, 0.15, 0.15, 0.1, 0.1]))
    size = rng.choice([50, 62, 68, 174, 201, 300], n)
    pause = rng.choice([0.4 * MILLISECOND, 0.75 * SECOND, 3 * SECOND], n)
    return link, rounds(counted(rng, n, 3, 0.8, (2, 60)), (CLIENT, fixed(size), about(rng, pause, 0.1)))


def secure_page(rng: Generator, n: int) -> tuple[Link, Turns]:
    """TLS: hello, certificates, a few requests, perhaps a connection kept for later."""
    link = tcp(rng, n)
    resumed = rng.random(n) < 0.4
    hello = once(
        n,
        (CLIENT, about(rng, 215, 0.35, 120, 1_400), about(rng, 300, 1)),
        (SERVER, about(rng, np.where(resumed, 150, 3_400), 0.3), about(rng, 1e3, 1)),
        (CLIENT, about(rng, np.where(resumed, 51, 126), 0.2), about(rng, 2e3, 1)),
    )
    page = _pages(rng, n, counted(rng, n, 2, 0.9, (1, 40)), 700, 1_600)
    kept = (rng.random(n) < 0.3) * counted(rng, n, 3, 0.7, (1, 12))
    ping = rounds(kept, (CLIENT, fixed(46), about(rng, 22 * SECOND, 0.7)), (SERVER, fixed(46), fixed(0)))
    alert = rounds((rng.random(n) < 0.35).astype(int), (CLIENT, fixed(31), about(rng, 0.5 * SECOND, 2)))
    return link, script(hello, page, ping, alert)


def web_page(rng: Generator, n: int) -> tuple[Link, Turns]:
    """HTTP/1.1: requests on one connection that the server keeps open for some seconds."""
    link = tcp(rng, n).servers(np.where(rng.random(n) < 0.96, 80, 8080))
    kept = rng.random(n) < 0.45
    timeout = rng.choice([5, 5, 15, 60, 115], n) * SECOND
    linger = np.where(kept, timeout * rng.uniform(0.95, 1.1, n), link.linger)
    return link.but(linger=linger), _pages(rng, n, counted(rng, n, 1.6, 0.9, (1, 40)), 420, 2_600)


def download(rng: Generator, n: int) -> tuple[Link, Turns]:
    """One request and a long answer, with a heavy tail."""
    link = tcp(rng, n).servers(rng.choice([80, 443], n))
    link = link.but(segment=link.segment * rng.integers(1, 4, (2, n)))
    size = 60e3 * (1 + rng.pareto(1.1, n))
    answer = (SERVER, fixed(np.minimum(size, 3e6)), about(rng, 60e3, 1))
    return link, once(n, (CLIENT, about(rng, 400, 0.4), about(rng, 500, 1)), answer)


def upload(rng: Generator, n: int) -> tuple[Link, Turns]:
    """FTP data, backups and mail attachments: the client sends."""
    link = tcp(rng, n).servers(np.where(rng.random(n) < 0.5, rng.integers(1_024, 65_536, n), 443))
    link = link.but(segment=link.segment * rng.integers(1, 4, (2, n)))
    size = np.minimum(20e3 * (1 + rng.pareto(1.2, n)), 2e6)
    return link, once(n, (CLIENT, fixed(size), about(rng, 1e3, 1)), (SERVER, about(rng, 200, 0.8), about(rng, 30e3, 1)))


def video(rng: Generator, n: int) -> tuple[Link, Turns]:
    """Streaming: a chunk every few seconds while somebody watches."""
    link = tcp(rng, n)
    link = link.but(segment=link.segment * rng.integers(1, 5, (2, n)))
    chunk = (SERVER, about(rng, varied(rng, n, 180e3, 0.6), 0.4, 1e3, 1e6), about(rng, 20e3, 0.8))
    period = np.clip(varied(rng, n, 6 * SECOND, 0.4), SECOND, 20 * SECOND)
    return link, rounds(
        counted(rng, n, 6, 0.8, (1, 30)), (CLIENT, about(rng, 900, 0.3), about(rng, period, 0.3)), chunk
    )


def shell(rng: Generator, n: int) -> tuple[Link, Turns]:
    """SSH: key exchange and login, then keystrokes and their echo in bursts."""
    link = nearby(rng, tcp(rng, n, picked(rng, n, {LINUX: 9, WINDOWS: 1})), 400).servers(22)
    keys = _secure_shell_login(rng, n, between(rng, 0.2 * SECOND, 4 * SECOND))
    typing = rounds(
        counted(rng, n, 12, 1.3, (1, 300)),
        (CLIENT, between(rng, 36, 60), about(rng, 0.25 * SECOND, 1.4, 0, 60 * SECOND)),
        (SERVER, about(rng, 68, 1.0, 36, 8e3), about(rng, 700, 1)),
    )
    return link, script(keys, typing)


def mail(rng: Generator, n: int) -> tuple[Link, Turns]:
    """SMTP, IMAP, POP3 over TLS: greeting, commands with short answers, a message."""
    link = tcp(rng, n).servers(rng.choice([465, 993, 995, 25, 587], n))
    greeting = once(n, (SERVER, about(rng, 80, 0.4), about(rng, 20e3, 1)))
    command = (CLIENT, about(rng, 60, 0.6), about(rng, 3e3, 1.2))
    talk = rounds(counted(rng, n, 6, 0.4, (2, 20)), command, (SERVER, about(rng, 90, 1.2), about(rng, 2e3, 1)))
    letter = rounds((rng.random(n) < 0.5).astype(int), (CLIENT, about(rng, 9e3, 1.3, 500, 1e6), about(rng, 5e3, 1)))
    return link, script(greeting, talk, letter)


def file_transfer_control(rng: Generator, n: int) -> tuple[Link, Turns]:
    """FTP's control connection of a person who knows the password."""
    link = nearby(rng, tcp(rng, n, LINUX), 300).servers(21)
    greeting = once(n, (SERVER, fixed(20), about(rng, 2e3, 0.5)))
    command = (CLIENT, between(rng, 6, 30), about(rng, varied(rng, n, 0.4 * SECOND, 1.2), 1, 0, 60 * SECOND))
    return link, script(
        greeting, rounds(counted(rng, n, 8, 0.5, (3, 40)), command, (SERVER, about(rng, 32, 0.4), about(rng, 1e3, 1.5)))
    )


def file_share(rng: Generator, n: int) -> tuple[Link, Turns]:
    """SMB within the building: small requests, answers from a status to a whole file."""
    link = nearby(rng, tcp(rng, n, WINDOWS), 250).servers(np.where(rng.random(n) < 0.6, 445, 139))
    request = (CLIENT, about(rng, 160, 0.5, 40, 4e3), about(rng, 2e3, 2.2, 0, 30 * SECOND))
    return link, rounds(
        counted(rng, n, 9, 0.9, (2, 120)), request, (SERVER, about(rng, 220, 1.3, 39, 60e3), about(rng, 250, 1))
    )


def directory(rng: Generator, n: int) -> tuple[Link, Turns]:
    """Kerberos and LDAP: a ticket, a query, and good-bye."""
    link = nearby(rng, tcp(rng, n, WINDOWS), 300).servers(rng.choice([88, 389, 3268, 135, 49_666, 49_671], n))
    request = (CLIENT, about(rng, 900, 0.8, 100), about(rng, 400, 1.3))
    return link, rounds(
        counted(rng, n, 1.6, 0.6, (1, 8)), request, (SERVER, about(rng, 900, 0.9, 60), about(rng, 500, 1))
    )


def chat(rng: Generator, n: int) -> tuple[Link, Turns]:
    """Push and chat: hardly anything for a long time, on a connection that stays."""
    link = tcp(rng, n).servers(rng.choice([443, 443, 5_222, 5_228, 80], n), closing=Closing.LEFT_OPEN)
    link = link.but(opening=picked(rng, n, {Opening.HANDSHAKE: 5, Opening.JOINED: 5}))
    size = np.where(rng.random(n) < 0.5, 1, varied(rng, n, 60, 0.7))
    pause = np.clip(varied(rng, n, 28 * SECOND, 0.7), SECOND, 110 * SECOND)
    beat = (CLIENT, about(rng, size, 0.2, 1), about(rng, pause, 0.2))
    return link, rounds(
        counted(rng, n, 4, 0.6, (2, 20)), beat, (SERVER, about(rng, np.where(size > 1, 40, 0), 0.3), fixed(0))
    )


def monitoring(rng: Generator, n: int) -> tuple[Link, Turns]:
    """Clients that look whether something new is there: a small request, a small answer, all in a moment."""
    link = tcp(rng, n).servers(rng.choice([80, 443, 8080], n))
    ask = (CLIENT, about(rng, 210, 0.35), about(rng, 1e3, 1.5))
    return link, once(n, ask, (SERVER, about(rng, 180, 0.7), about(rng, 10e3, 1.3)))


def idle_connection(rng: Generator, n: int) -> tuple[Link, Turns]:
    """Browsers connect in advance, and often never ask."""
    link = tcp(rng, n).servers(rng.choice([80, 443], n))
    return link.but(linger=rng.choice([0.3, 5.4, 10, 60], n) * varied(rng, n, SECOND, 0.1)), rounds(
        np.zeros(n, np.int64), _NOTHING
    )


BEHAVIOURS: dict[str, tuple[float, Behaviour]] = {  # name -> (share of the benign records, how it is made)
    "name_lookup": (0.44, name_lookup),
    "clock_sync": (0.022, clock_sync),
    "announcement": (0.012, announcement),
    "secure_page": (0.235, secure_page),
    "web_page": (0.12, web_page),
    "download": (0.016, download),
    "upload": (0.008, upload),
    "video": (0.008, video),
    "shell": (0.012, shell),
    "mail": (0.010, mail),
    "file_transfer_control": (0.006, file_transfer_control),
    "file_share": (0.012, file_share),
    "directory": (0.024, directory),
    "chat": (0.035, chat),
    "monitoring": (0.020, monitoring),
    "idle_connection": (0.020, idle_connection),
}

_NOTHING = (CLIENT, fixed(0), fixed(0))


def _pages(rng: Generator, n: int, count: np.ndarray, request: float, response: float) -> Turns:
    ask = (
        CLIENT,
        about(rng, varied(rng, n, request, 0.4), 0.3, 30, 8e3),
        about(rng, varied(rng, n, 40e3, 1.6), 1.4, 0, 90 * SECOND),
    )
    return rounds(
        count, ask, (SERVER, about(rng, varied(rng, n, response, 1.1), 0.9, 60, 400e3), about(rng, 15e3, 1.2))
    )


def _secure_shell_login(rng: Generator, n: int, patience: Callable[..., np.ndarray]) -> Turns:
    """SSH from the banners to the password; the sizes are those of OpenSSH."""
    soon = about(rng, 900, 0.8)
    return once(
        n,
        (SERVER, between(rng, 32, 44), about(rng, 8e3, 0.6)),
        (CLIENT, between(rng, 20, 42), soon),
        (SERVER, fixed(976), soon),
        (CLIENT, fixed(640), soon),
        (CLIENT, fixed(144), soon),
        (SERVER, fixed(720), soon),
        (CLIENT, between(rng, 100, 180), soon),
        (SERVER, fixed(52), soon),
        (CLIENT, between(rng, 84, 160), patience),
        (SERVER, fixed(84), soon),
    )

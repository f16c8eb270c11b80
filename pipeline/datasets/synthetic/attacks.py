"""The attacks of CIC-IDS-2017, each as the packets that its tool causes; denial of service is in ``floods``."""

import numpy as np
from numpy.random import Generator

from pipeline.datasets.packets.bricks import ACK, FIN, PSH, SYN, URG
from pipeline.datasets.synthetic.behaviours import Behaviour
from pipeline.datasets.synthetic.conversations import (
    CLIENT,
    SECOND,
    SERVER,
    Acks,
    Closing,
    Ints,
    Link,
    Message,
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
from pipeline.datasets.synthetic.floods import ddos, dos_goldeneye, dos_hulk, dos_slowhttptest, dos_slowloris
from pipeline.datasets.synthetic.hosts import LINUX, WINDOWS, attacker, joined, nearby, tcp

NULL_SCAN, FIN_SCAN, XMAS_SCAN = 0, FIN, FIN | PSH | URG


def ftp_patator(rng: Generator, n: int) -> tuple[Link, Turns]:
    """A few passwords for each connection; the server takes its three seconds to refuse each."""
    link = attacker(rng, n, 21).but(closing=picked(rng, n, {Closing.SERVER_FIN_IGNORED: 85, Closing.CLIENT_FIN: 15}))
    link = link.but(linger=varied(rng, n, 2e3, 0.7), acks=Acks.AT_ONCE)
    greeting = once(n, (SERVER, fixed(20), about(rng, 2e3, 0.5)))
    login = (
        (CLIENT, between(rng, 11, 18), about(rng, 300, 1)),
        (SERVER, fixed(34), about(rng, 40, 0.5)),
        (CLIENT, about(rng, 15, 0.25, 8, 40), about(rng, 300, 1)),
        (SERVER, fixed(22), about(rng, 2.9 * SECOND, 0.12)),
    )
    return link, script(greeting, rounds(picked(rng, n, {1: 6, 2: 6, 3: 86, 4: 2}), *login))


def ssh_patator(rng: Generator, n: int) -> tuple[Link, Turns]:
    """Key exchange, then several passwords with the server's pause after each, and good-bye."""
    link = attacker(rng, n, 22).but(closing=picked(rng, n, {Closing.SERVER_FIN: 90, Closing.CLIENT_RESET: 10}))
    link = link.but(linger=varied(rng, n, 1e3, 0.7), window=np.stack([rng.choice([247, 259, 296], n), np.full(n, 247)]))
    soon = about(rng, 1.2e3, 0.8)
    keys = once(
        n,
        (SERVER, fixed(41), about(rng, 8e3, 0.5)),
        (CLIENT, fixed(22), soon),
        (SERVER, fixed(0), soon),
        (SERVER, fixed(976), about(rng, 4, 0.4)),
        (CLIENT, fixed(640), soon),
        (CLIENT, between(rng, 24, 144), soon),
        (SERVER, between(rng, 280, 720), soon),
        (CLIENT, fixed(100), soon),
        (SERVER, fixed(52), soon),
    )
    guess = (CLIENT, between(rng, 84, 148), about(rng, 20e3, 1)), (SERVER, fixed(84), about(rng, 2 * SECOND, 0.18))
    return link, script(keys, rounds(picked(rng, n, {2: 5, 4: 15, 5: 50, 6: 30}), *guess))


def heartbleed(rng: Generator, n: int) -> tuple[Link, Turns]:
    """A heartbeat each second that asks for 64 KiB of the server's memory, for many minutes."""
    link = attacker(rng, n, 444).but(opening=joined(rng, n, 0.8), closing=Closing.LEFT_OPEN)
    link = link.but(segment=1_448 * rng.integers(1, 5, (2, n)), window=rng.choice([235, 349, 943], (2, n)))
    ask = (CLIENT, about(rng, 85, 0.9, 50, 12_000), about(rng, 0.985 * SECOND, 0.01))
    leak = (SERVER, about(rng, varied(rng, n, 62e3, 0.1), 0.06, 8e3, 65_551), about(rng, 900, 0.5))
    return link, rounds(counted(rng, n, 100, 0.35, (25, 180)), ask, leak)


def bot(rng: Generator, n: int) -> tuple[Link, Turns]:
    """ARES: a beacon to its master now and then, which answers with nothing to do; a result at times."""
    away = rng.random(n) < 0.3
    closings = {Closing.SERVER_FIN: 4, Closing.SERVER_FIN_ACKED: 1, Closing.CLIENT_FIN: 5}
    link = tcp(rng, n, WINDOWS).servers(8080, closing=picked(rng, n, closings), linger=varied(rng, n, 900, 1.0))
    link = link.but(
        opening=np.where(away, Opening.REFUSED, Opening.HANDSHAKE),
        tries=3,
        retry=0.5 * SECOND,
        backoff=1.0,
        latency=np.stack([varied(rng, n, 90, 0.8), varied(rng, n, 420, 0.5)]),
        pads=True,
    )
    report = rng.random(n) < 0.12
    size = np.where(report, varied(rng, n, 900, 0.4), 195 + rng.integers(0, 5, n))
    beacon = once(n, (CLIENT, fixed(size), about(rng, 600, 1)), (SERVER, fixed(128), about(rng, 70e3, 0.25)))
    more = rounds((rng.random(n) < 0.2).astype(int), (SERVER, between(rng, 5, 12), about(rng, 0.12 * SECOND, 0.4)))
    return link, script(beacon, more)


def infiltration(rng: Generator, n: int) -> tuple[Link, Turns]:
    """A hidden shell calls home: commands, and what it found, in portions with long silences."""
    link = nearby(rng, tcp(rng, n, WINDOWS), 600).servers(
        444, closing=picked(rng, n, {Closing.LEFT_OPEN: 7, Closing.SERVER_FIN: 3})
    )
    link = link.but(opening=joined(rng, n, 0.75), pads=True, segment=rng.choice([1_380, 1_460], n))
    size = np.clip(varied(rng, n, 320, 0.9), 60, 1_460)
    loot = (
        CLIENT,
        about(rng, size, 0.8, 20, 60e3),
        about(rng, varied(rng, n, 0.7 * SECOND, 1.6), 1.3, 0, 100 * SECOND),
    )
    orders = rounds((rng.random(n) < 0.6).astype(int) * 2, (SERVER, between(rng, 100, 270), about(rng, 4 * SECOND, 1)))
    return link, script(rounds(counted(rng, n, 24, 1.5, (2, 1_200)), loot), orders)


def web_brute_force(rng: Generator, n: int) -> tuple[Link, Turns]:
    """Passwords for a login form, typed by a script in bursts; most connections are opened and never used."""
    used = rng.random(n) < 0.22
    link = _scripted_browser(rng, n, used)
    tries = np.where(used, 1, 0) * np.where(rng.random(n) < 0.6, 1, counted(rng, n, 30, 0.9, (2, 110)))
    post = (CLIENT, between(rng, 380, 610), about(rng, varied(rng, n, 0.12 * SECOND, 0.9), 0.6))
    return link, rounds(tries, post, (SERVER, about(rng, varied(rng, n, 600, 0.6), 0.5), about(rng, 4e3, 0.8)))


def web_xss(rng: Generator, n: int) -> tuple[Link, Turns]:
    """Script in a guest book, read back with the page; most connections are opened and never used."""
    used = rng.random(n) < 0.15
    link = _scripted_browser(rng, n, used)
    inject = (CLIENT, between(rng, 340, 560), about(rng, varied(rng, n, 0.3 * SECOND, 0.9), 0.8))
    page = (SERVER, about(rng, 1_800, 0.5, 300), about(rng, 6e3, 0.8))
    return link, rounds(np.where(used, 1, 0) * counted(rng, n, 4, 1.1, (1, 80)), inject, page)


def web_sql_injection(rng: Generator, n: int) -> tuple[Link, Turns]:
    """Quotes in a query string: by hand, one request for each connection, an answer of a row or of the table."""
    closings = {Closing.SERVER_FIN: 3, Closing.CLIENT_FIN: 1}
    link = _scripted_browser(rng, n, np.ones(n, bool)).but(closing=picked(rng, n, closings))
    link = link.but(linger=varied(rng, n, 5.02 * SECOND, 0.002))
    rows = rng.choice([530, 1_840, 1_881, 4_100], n, p=[0.4, 0.3, 0.2, 0.1])
    query = (CLIENT, between(rng, 440, 560), about(rng, 400, 0.5))
    return link, once(n, query, (SERVER, fixed(rows), about(rng, 4e3, 0.8)))


def port_scan(rng: Generator, n: int) -> tuple[Link, Turns]:
    """Nmap in its modes: half-open, connect, FIN, NULL and Xmas; most ports are closed, some show their version."""
    raw = rng.random(n) < 0.62
    link = nearby(rng, tcp(rng, n, LINUX), 50).servers(_scanned_ports(rng, n))
    reached = picked(rng, n, {Opening.REFUSED: 88, Opening.HALF_OPEN: 8, Opening.UNANSWERED: 4})
    reached = np.where(~raw & (reached == Opening.HALF_OPEN), Opening.HANDSHAKE, reached)
    odd = raw & np.isin(reached, (Opening.REFUSED, Opening.UNANSWERED)) & (rng.random(n) < 0.03)
    link = link.but(
        opening=reached,
        probe=np.where(odd, rng.choice([FIN_SCAN, NULL_SCAN, XMAS_SCAN, ACK], n), SYN),
        tries=np.where(reached == Opening.UNANSWERED, 2, picked(rng, n, {1: 97, 2: 3})),
        retry=varied(rng, n, 1.0 * SECOND, 0.3),
        closing=Closing.CLIENT_RESET,
        linger=np.where(raw, varied(rng, n, 400, 0.4), varied(rng, n, 5e3, 3.0)),
        pads=True,
        syn_header=np.where(raw, 24, 40),
        syn_window=np.stack([np.where(raw, 1_024, 29_200), np.where(raw, 29_200, 28_960)]),
    )
    asks = ((reached == Opening.HANDSHAKE) & (rng.random(n) < 0.4)).astype(int)
    banner: tuple[Message, ...] = (
        (CLIENT, between(rng, 18, 90), about(rng, 10e3, 1.5)),
        (SERVER, about(rng, 400, 1.4, 20), about(rng, 5e3, 1.5)),
    )
    return link, rounds(asks, *banner)


def infiltration_port_scan(rng: Generator, n: int) -> tuple[Link, Turns]:
    """The same tool behind the firewall, from the infiltrated Windows host to its neighbours; published as benign."""
    link, turns = port_scan(rng, n)
    raw = link.syn_header == 24
    slower = varied(rng, 2 * n, 95, 0.7).reshape(2, n)
    return link.but(latency=slower, syn_header=np.where(raw, 24, 32), header=20), turns


def _scripted_browser(rng: Generator, n: int, used: np.ndarray) -> Link:
    closings = {Closing.CLIENT_FIN: 6, Closing.SERVER_FIN: 1, Closing.CLIENT_FIN_ACKED: 3}
    link = attacker(rng, n).but(closing=picked(rng, n, closings))
    waits = np.where(used, varied(rng, n, 4.6 * SECOND, 0.5), rng.uniform(4.9 * SECOND, 6.0 * SECOND, n))
    return link.but(linger=np.where(rng.random(n) < 0.05, varied(rng, n, 0.4 * SECOND, 1), waits))


def _scanned_ports(rng: Generator, n: int) -> Ints:
    common = rng.choice([21, 22, 23, 25, 53, 80, 110, 139, 143, 443, 445, 993, 3_306, 3_389, 8_080], n)
    listed = np.exp(rng.uniform(np.log(20), np.log(50_000), n)).astype(np.int64)
    return np.where(rng.random(n) < 0.12, common, listed)


ATTACKS: dict[str, Behaviour] = {
    "ftp_patator": ftp_patator,
    "ssh_patator": ssh_patator,
    "ddos": ddos,
    "port_scan": port_scan,
    "infiltration_port_scan": infiltration_port_scan,
    "dos_hulk": dos_hulk,
    "dos_goldeneye": dos_goldeneye,
    "dos_slowloris": dos_slowloris,
    "dos_slowhttptest": dos_slowhttptest,
    "heartbleed": heartbleed,
    "bot": bot,
    "infiltration": infiltration,
    "web_brute_force": web_brute_force,
    "web_xss": web_xss,
    "web_sql_injection": web_sql_injection,
}

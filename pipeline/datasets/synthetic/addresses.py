"""Where simulated hosts sit, and when they talk: an office network, servers inside and outside, and attackers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from pipeline.datasets.synthetic.conversations import SERVER, Ints, Link
from pipeline.datasets.synthetic.days import Hours

FIRST_DAY = datetime(2017, 7, 3, tzinfo=UTC)  # a Monday
HOSTS = 40  # clients of the office: 10.0.1.1 and so on
OUTSIDE = 200  # servers outside: 203.0.113.1 and so on
HOUR = 3_600_000_000  # microseconds

# Ports of servers inside the office -> their address. All others are outside.
INSIDE = {
    21: "10.0.0.21", 22: "10.0.0.22", 53: "10.0.0.53", 88: "10.0.0.3", 123: "10.0.0.123", 135: "10.0.0.3",
    137: "10.0.255.255", 139: "10.0.0.45", 389: "10.0.0.3", 445: "10.0.0.45", 1900: "239.255.255.250",
    3268: "10.0.0.3", 5353: "224.0.0.251", 5355: "224.0.0.252", 49666: "10.0.0.3", 49671: "10.0.0.3",
}  # fmt: skip
VICTIM = "10.0.0.80"  # the web server of the office
ATTACKER = "198.51.100.0"  # attackers have the addresses behind it


@dataclass(frozen=True)
class Placed:
    """Of n conversations, all (n,).

    Attributes:
        client, server: IPv4 addresses as numbers.
        begin: microseconds since 1970, UTC.
    """

    client: Ints
    server: Ints
    begin: Ints


def office(rng: Generator, link: Link, day: int, hours: Hours) -> Placed:
    """Benign conversations of office hosts with servers inside and outside.

    Args:
        rng: the draws.
        link: n links; their ports say which servers are inside.
        day: number of the day, 0 for `FIRST_DAY`.
        hours: of the day, between which they begin.
    """
    n = len(link)
    server = number("203.0.113.0") + 1 + rng.integers(0, OUTSIDE, n)
    for port, address in INSIDE.items():
        server[link.port[SERVER] == port] = number(address)
    return Placed(number("10.0.1.0") + 1 + rng.integers(0, HOSTS, n), server, begins(rng, n, day, hours))


def attack(rng: Generator, link: Link, day: int, hours: Hours, attacker: int, inside_out: bool) -> Placed:
    """Conversations of one attacker with the web server of the office, or with its infected hosts.

    Args:
        rng: the draws.
        link: n links.
        day: number of the day, 0 for `FIRST_DAY`.
        hours: of the day, between which they begin.
        attacker: number of the attacker, from 1 on.
        inside_out: whether hosts of the office call the attacker.
    """
    n = len(link)
    far = np.full(n, number(ATTACKER) + attacker)
    near = number("10.0.1.0") + 1 + rng.integers(0, 5, n) if inside_out else np.full(n, number(VICTIM))
    client, server = (near, far) if inside_out else (far, near)
    return Placed(client, server, begins(rng, n, day, hours))


def begins(rng: Generator, n: int, day: int, hours: Hours) -> Ints:
    """(n,) moments of a day, microseconds since 1970."""
    midnight = int((FIRST_DAY + timedelta(days=day)).timestamp()) * 1_000_000
    return midnight + (rng.uniform(*hours, n) * HOUR).astype(np.int64)


def number(text: str) -> int:
    """An IPv4 address as a number."""
    return int.from_bytes(bytes(map(int, text.split("."))), "big")


def texts(numbers: Ints) -> Sequence[str]:
    """IPv4 addresses as text, (n,)."""
    parts: NDArray[np.int64] = numbers[:, None] >> np.array([24, 16, 8, 0]) & 255
    return [".".join(map(str, row)) for row in parts.tolist()]

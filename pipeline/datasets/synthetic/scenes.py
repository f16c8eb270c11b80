"""Simulated conversations with addresses and times, day by day: what a capture or a sensor would see of the office."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.base.errors import ConfigError
from pipeline.datasets.packets.bricks import Packets
from pipeline.datasets.synthetic.addresses import Placed, attack, office
from pipeline.datasets.synthetic.attacks import ATTACKS
from pipeline.datasets.synthetic.behaviours import BEHAVIOURS, Behaviour
from pipeline.datasets.synthetic.conversations import Link
from pipeline.datasets.synthetic.days import ATTACKS_PER_50_000, FEWEST, WEEK, WORKING_HOURS
from pipeline.datasets.synthetic.packets import transmit

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday")
CALLED_HOME = ("bot", "infiltration")  # attacks in which the infected host calls the attacker
BENIGN_PER_50_000 = 39_000


@dataclass(frozen=True)
class Scene:
    """Conversations of one kind on one day.

    Attributes:
        attack: canonical name, ``benign`` where they are.
        link: n links.
        packets: of all of them; frames are not padded.
        placed: addresses and begin of each.
    """

    attack: str
    link: Link
    packets: Packets
    placed: Placed


def scenes(day: int, conversations: int, seed: int, attacks: bool = False) -> Iterator[Scene]:
    """What happens on one day. The same arguments give the same scenes.

    Args:
        day: from 0 on; 0 is a Monday.
        conversations: benign ones; attacks come on top of them, in proportion.
        seed: of every draw, not negative.
        attacks: whether there are any, those of CIC-IDS-2017 on the same weekday.

    Raises:
        ConfigError: no conversation, or a negative seed or day.
    """
    for name, value, least in (("conversations", conversations, 1), ("seed", seed, 0), ("day", day, 0)):
        if value < least:
            raise ConfigError(f"synthetic: {name} must be at least {least}, given {value}")
    share = np.array([weight for weight, _ in BEHAVIOURS.values()])
    edges = np.rint(np.cumsum(share) / share.sum() * conversations).astype(int)
    for number, (_, behaviour) in enumerate(BEHAVIOURS.values()):
        rng = np.random.default_rng([seed, day, number])
        count = int(edges[number] - (edges[number - 1] if number else 0))
        if count:
            link, packets = talk(rng, behaviour, count)
            yield Scene("benign", link, packets, office(rng, link, day, WORKING_HOURS))
    if attacks:
        yield from _attacks(day, conversations, seed)


def working_days(conversations: int, days: int) -> list[tuple[int, int]]:
    """The number of each working day, and how many of the conversations it has.

    Raises:
        ConfigError: no day, or fewer conversations than days.
    """
    if days < 1 or conversations < days:
        raise ConfigError(f"synthetic: needs a day and a conversation on each, given {days} and {conversations}")
    edges = np.linspace(0, conversations, days + 1).astype(int)
    return [(place // 5 * 7 + place % 5, count) for place, count in enumerate(np.diff(edges).tolist())]


def _attacks(day: int, conversations: int, seed: int) -> Iterator[Scene]:
    names = list(ATTACKS_PER_50_000)
    weekday = WEEKDAYS[day % 7] if day % 7 < len(WEEKDAYS) else "weekend"
    for each in (each for each in WEEK if each.file.lower().startswith(weekday)):
        for name in (name for name in each.attacks if name in names):
            number = names.index(name) + 1
            rng = np.random.default_rng([seed, day, len(BEHAVIOURS) + number])
            count = max(round(ATTACKS_PER_50_000[name] * conversations / BENIGN_PER_50_000), FEWEST)
            link, packets = talk(rng, ATTACKS[name], count)
            placed = attack(rng, link, day, each.attacks[name], number, name in CALLED_HOME)
            yield Scene(name, link, packets, placed)


def talk(rng: np.random.Generator, behaviour: Behaviour, count: int) -> tuple[Link, Packets]:
    """Conversations without the padding that the published extractor takes for data."""
    link, turns = behaviour(rng, count)
    link = link.but(pads=False)
    return link, transmit(rng, link, turns)

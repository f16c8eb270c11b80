"""The context of a few records that come behind many, to the same bits as that of all of them.

Only records that share a host with one of the few are looked at. In the window of a few records of one key, most
records are the same ones: the core. Of these it is enough to know how often each value occurs. The records that only
some of the windows hold, and the few themselves, enter and leave one by one, as in ``windows``. All counts and sums are
whole numbers, so they do not depend on the way in which they were found.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple, Self

import numpy as np
import pandas as pd

from pipeline.preprocessing.context.regularity import regularity
from pipeline.preprocessing.context.talks import Ints, Mask, Talks
from pipeline.preprocessing.context.windows import Distinct, Floats, Grouped, Window, counts, entropy, worth

SMALL: Final = 1 << 16  # numbers below it are sorted by their digits


class Values(NamedTuple):
    """(n,) values as numbers from 0 to ``most`` - 1."""

    codes: Ints
    most: int

    @classmethod
    def of(cls, values: Ints) -> Self:
        """Equal values get equal numbers."""
        codes, names = pd.factorize(values)
        return cls(codes, len(names))

    def among(self, wanted: Ints) -> tuple[Ints, Mask]:
        """(n,) the number of each value among those at ``wanted``, (m,), and whether it is one of them."""
        known = np.unique(self.codes[wanted])
        numbers = np.full(self.most, -1)
        numbers[known] = np.arange(len(known))
        found = numbers[self.codes]
        return found, found >= 0


class Alike(NamedTuple):
    """r of n records that share a key with one of m wanted ones, sorted by key, then by time.

    Attributes:
        places: (r,) their places in the order of time.
        code: (r,) number of the key.
        asked: (m,) which of them are the wanted ones.
        rows: (m,) the number of each of these among the wanted ones.
        total: n.
    """

    places: Ints
    code: Ints
    asked: Ints
    rows: Ints
    total: int

    @classmethod
    def by(cls, places: Ints, codes: Ints, wanted: Ints, total: int) -> Self:
        """The records at ``places``, (r,), ascending, with numbers of keys, (r,)."""
        small = codes.astype(np.uint16) if codes.max(initial=0) < SMALL else codes
        order = np.argsort(small, kind="stable")
        at, is_wanted = places[order], np.zeros(total, bool)
        is_wanted[wanted] = True
        asked = np.flatnonzero(is_wanted[at])
        return cls(at, codes[order], asked, np.searchsorted(wanted, at[asked]), total)

    @classmethod
    def like(cls, places: Ints, keys: Ints, wanted: Ints, total: int) -> Self:
        """Those of the records at ``places``, (p,), ascending, whose key, (p,), a wanted one has."""
        codes, same = Values.of(keys).among(np.searchsorted(places, wanted))
        return cls.by(places[same], codes[same], wanted, total)

    def since(self, code: Ints, oldest: Ints) -> Ints:
        """(k,) where the records of a key begin that lie at ``oldest``, (k,), or later."""
        return np.searchsorted(self.code * self.total + self.places, code * self.total + oldest)


class Latest:
    """Windows of m wanted ones of n records.

    Args:
        talks: n records in the order of time.
        wanted: (m,) the places of those whose context is asked for, ascending; 1 or more.
        most: records that are remembered.
    """

    def __init__(self, talks: Talks, wanted: Ints, most: int) -> None:
        self.talks, self.wanted, self.most = talks, wanted, most
        n, hosts = len(talks), {name: Values.of(getattr(talks, name)) for name in ("source", "destination")}
        codes, like = {}, np.ones(n, bool)
        self.sides = {}
        for name, values in hosts.items():
            codes[name], same = values.among(wanted)
            self.sides[name] = Alike.by(np.flatnonzero(same), codes[name][same], wanted, n)
            like &= same
        both = np.flatnonzero(like)
        pairs = codes["source"][both] * n + codes["destination"][both]
        self.sides["pair"] = Alike.like(both, pairs, wanted, n)
        self._ports = Values.of(talks.port)
        self._hosts = {"source": hosts["destination"], "destination": hosts["source"]}

    def windows(self, side: str, lengths: Sequence[int]) -> list[Window]:
        """The windows of a side, whose lengths are in microseconds; (m,) in the order of the wanted ones."""
        alike, talks = self.sides[side], self.talks
        running = [_running(values[alike.places]) for values in (talks.failed, talks.sent, talks.received)]
        hosts, found = self._hosts.get(side), []
        for length in lengths:
            oldest = self._oldest(alike.places[alike.asked], length)
            first = alike.since(alike.code[alike.asked], oldest)
            failed, sent, received = (each[alike.asked] - each[first] for each in running)
            parts = Parts.of(alike, first, partial(self._oldest, length=length))
            window = Window(
                alike.asked - first,
                parts.distinct(self._ports),
                failed,
                sent,
                received,
                None if hosts is None else parts.distinct(hosts),
            )
            found.append(_in_order(window, alike.rows))
        return found

    def gaps(self) -> tuple[Ints, Floats, Floats]:
        """What ``regularity`` finds, of the wanted ones."""
        pairs, ports = self.sides["pair"], self._ports
        keys = pairs.code * ports.most + ports.codes[pairs.places]
        order = np.argsort(pairs.places)
        alike = Alike.like(pairs.places[order], keys[order], self.wanted, pairs.total)
        start = np.searchsorted(alike.code, alike.code)
        count, mean, variation = regularity(self.talks.time[alike.places], alike.places, start, self.most)
        back = alike.asked[np.argsort(alike.rows)]
        return count[back], mean[back], variation[back]

    def _oldest(self, at: Ints, length: int) -> Ints:
        """(k,) the place of the oldest record that each of those at ``at``, (k,), may see."""
        by_time = np.searchsorted(self.talks.time, self.talks.time[at] - length, side="right")
        return np.maximum(by_time, at - self.most)


class Parts(NamedTuple):
    """The windows of m wanted records in parts, key by key.

    Attributes:
        alike: all records.
        events: (m,) how many each window holds.
        group: (m,) the number of the key among those that are asked for.
        codes: (g,) the keys.
        core: (c,) records that all windows of their key hold.
        zone: (z,) the others, which some of them hold, and the wanted ones themselves.
        first: (z,) where in the zone the window of each begins.
    """

    alike: Alike
    events: Ints
    group: Ints
    codes: Ints
    core: Ints
    zone: Ints
    first: Ints

    @classmethod
    def of(cls, alike: Alike, first: Ints, oldest_of: "Oldest") -> Self:
        """Take the windows apart that begin at ``first``, (m,)."""
        asked, code = alike.asked, alike.code[alike.asked]
        begins = np.flatnonzero(np.diff(code, prepend=-1))
        ends = np.r_[begins[1:], len(code)] - 1
        group = np.cumsum(np.diff(code, prepend=-1) != 0) - 1
        from_, before, to = first[begins], asked[begins], asked[ends]
        left = np.minimum(first[ends], before)  # those in front of it leave some window
        zone = _within([(from_, left), (before, to + 1)], len(alike.places))
        core = _within([(left, before)], len(alike.places))
        of = np.searchsorted(to, zone)  # key of each
        own = alike.since(alike.code[zone], oldest_of(alike.places[zone]))
        starts = np.where(zone < before[of], from_[of], np.maximum(own, from_[of]))
        return cls(alike, asked - first, group, code[begins], core, zone, np.searchsorted(zone, starts))

    def distinct(self, values: Values) -> Distinct:
        """What ``windows.distinct`` finds of the windows of the wanted ones, (m,)."""
        at, code = self.alike.places, self.alike.code
        core = np.sort(code[self.core] * values.most + values.codes[at[self.core]])
        begins = np.flatnonzero(np.diff(core, prepend=-1))
        names, often = core[begins], np.diff(np.r_[begins, len(core)])
        low, high = (np.searchsorted(names, (self.codes + more) * values.most) for more in (0, 1))
        amount = _running(worth(often))
        keys = code[self.zone] * values.most + values.codes[at[self.zone]]
        place = np.searchsorted(names, keys).clip(max=max(len(names) - 1, 0))
        known = np.zeros(len(keys), np.int64)
        if len(names):
            known = np.where(names[place] == keys, often[place], 0)
        by_value = Grouped.by(keys)
        moved = counts(by_value.order, by_value.code, self.first, known[by_value.order])
        asked = np.searchsorted(self.zone, self.alike.asked)
        count = moved.values[asked] + (high - low)[self.group]
        total = moved.amount[asked] + (amount[high] - amount[low])[self.group]
        return Distinct(count, entropy(self.events, total))


Oldest = Callable[[Ints], Ints]


def _running(values: Ints) -> Ints:
    """(n + 1,) sums of the first 0, 1, 2, ... values."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(values)])


def _within(spans: Sequence[tuple[Ints, Ints]], n: int) -> Ints:
    """The places, of n, that lie within spans: from the first to before the second of each."""
    steps = np.zeros(n + 1, np.int64)
    for begin, end in spans:
        np.add.at(steps, begin, 1)
        np.add.at(steps, end, -1)
    return np.flatnonzero(np.cumsum(steps[:-1]))


def _in_order(window: Window, rows: Ints) -> Window:
    """The same, in the order of ``rows``."""
    back = np.argsort(rows)
    ports, hosts = (
        None if each is None else Distinct(each.values[back], each.entropy[back])
        for each in (window.ports, window.hosts)
    )
    assert ports is not None
    numbers = (window.failed[back], window.sent[back], window.received[back])
    return Window(window.records[back], ports, *numbers, hosts)

"""Sums, distinct values and entropies over sliding windows of keyed events, exactly and without a loop over events.

The events of one key lie next to each other, in the order of time. The window of event p is the events from
``first[p]`` to p - 1. Its bounds only move forwards. So each event j enters every sum once, at j + 1, and leaves it
once, at the first p with ``first[p] > j``; all that had left by p are those before ``first[p]``. A sum over the window
is then a difference of two running totals. All totals are whole numbers: the events of one key never change the last
bits of another's.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

UNIT: Final = 2**24  # of n log n as a whole number


@dataclass(frozen=True)
class Grouped:
    """n events sorted by key, and within a key as they were.

    Attributes:
        order: (n,) place of each sorted event among those that were given.
        code: (n,) number of its key, ascending from 0.
    """

    order: Ints
    code: Ints

    @classmethod
    def by(cls, *keys: Ints) -> Self:
        """Group events by keys, (n,) each."""
        order = np.lexsort(keys[::-1]) if len(keys) > 1 else np.argsort(keys[0], kind="stable")
        new = np.zeros(len(order), bool)
        for key in keys:
            values = key[order]
            new[1:] |= values[1:] != values[:-1]
        return cls(order, np.cumsum(new))

    @property
    def start(self) -> Ints:
        """(n,) where the key of each sorted event begins."""
        begins = np.flatnonzero(np.diff(self.code, prepend=-1))
        return begins[self.code]


def first_in_window(groups: Grouped, oldest: Ints) -> Ints:
    """(n,) place in the sorted events where the window of each of them begins.

    Args:
        groups: n events, given in the order of time.
        oldest: (n,) place, as given, of the oldest event of any key that each given event may see; ascending.
    """
    n = len(groups.order)
    return np.searchsorted(groups.code * n + groups.order, groups.code * n + oldest[groups.order])


def totals(values: Ints, first: Ints) -> Ints:
    """(n,) sums of values, (n,), over the window of each event."""
    running = np.concatenate([np.zeros(1, np.int64), np.cumsum(values)])
    total: Ints = running[:-1] - running[first]
    return total


@dataclass(frozen=True)
class Distinct:
    """Which values occur in the window of each event, and how evenly.

    Attributes:
        values: (n,) how many distinct ones.
        entropy: (n,) of their shares, in nats; 0 in an empty window.
    """

    values: Ints
    entropy: Floats


class Counts(NamedTuple):
    """Of the window of each event: (n,) how many distinct values, and the sum of n log n over them in ``UNIT``."""

    values: Ints
    amount: Ints


class Window(NamedTuple):
    """What the windows of n events hold, (n,) each; ``hosts`` is None for a pair."""

    records: Ints
    ports: Distinct
    failed: Ints
    sent: Ints
    received: Ints
    hosts: Distinct | None


def distinct(by_value: Ints, same: Ints, first: Ints) -> Distinct:
    """Count the distinct values in the window of each event; see ``counts``."""
    found = counts(by_value, same, first, np.zeros(len(first), np.int64))
    return Distinct(found.values, entropy(np.arange(len(first)) - first, found.amount))


def counts(by_value: Ints, same: Ints, first: Ints, base: Ints) -> Counts:
    """Count the distinct values in the window of each event, beyond those that are there in any case.

    The number of events with a value rises by 1 when one enters, and falls by 1 when one leaves. A value is new when
    it rises from 0, and gone when it falls to 0.

    Args:
        by_value: (n,) the events, sorted by key, value and time: places among those sorted by key and time.
        same: (n,) number of the key and value of each of ``by_value``, ascending.
        first: (n,) where the window of each event begins, of the events sorted by key and time.
        base: (n,) events that all windows of its key hold beside these, with the same value as each of ``by_value``.
    """
    n = len(first)
    begins = np.flatnonzero(np.diff(same, prepend=-1))[same]
    leaves = np.searchsorted(first, by_value, side="right")  # the first event that no longer sees it
    rank = np.arange(n) - begins
    entered, left = same * (n + 1) + by_value, same * (n + 1) + leaves
    on_entry = base + rank - (np.searchsorted(left, entered, side="right") - begins)
    on_exit = base + np.searchsorted(entered, left) - begins - rank
    amounts = worth(np.arange(int(on_exit.max(initial=0)) + 2))
    rises, falls = (np.empty(n, np.int64) for _ in range(2))
    new, gone = (np.empty(n, np.int64) for _ in range(2))
    new[by_value], gone[by_value] = on_entry == 0, on_exit == 1
    rises[by_value] = amounts[on_entry + 1] - amounts[on_entry]
    falls[by_value] = amounts[on_exit] - amounts[on_exit - 1]
    return Counts(_moved(new, gone, first), _moved(rises, falls, first))


def _moved(entry: Ints, leaving: Ints, first: Ints) -> Ints:
    """(n,) what the events before each have brought, without what those before its window took away again."""
    brought = np.concatenate([np.zeros(1, np.int64), np.cumsum(entry)])
    taken = np.concatenate([np.zeros(1, np.int64), np.cumsum(leaving)])
    moved: Ints = brought[:-1] - taken[first]
    return moved


def worth(n: Ints) -> Ints:
    """N log n in units of 1 / ``UNIT``."""
    found: Ints = np.rint(n * np.log(np.maximum(n, 1)) * UNIT).astype(np.int64)
    return found


def entropy(events: Ints, amount: Ints) -> Floats:
    """(n,) log N - sum of n log n / N over the values, for (n,) N events in the window."""
    some = np.maximum(events, 1).astype(np.float64)
    found: Floats = np.maximum(np.log(some) - amount / (UNIT * some), 0.0)
    return found

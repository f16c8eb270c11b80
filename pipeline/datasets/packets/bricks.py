"""Packets grouped into records, and how the numbers of a record's packets are summarised."""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Columns = dict[str, NDArray[np.generic]]

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))


@dataclass(frozen=True)
class Rows:
    """Arrays of the same length: what is known of each of some things."""

    def select(self, keep: NDArray[np.bool_] | Ints | slice) -> Self:
        """The rows at ``keep``: a mask, indices, or a slice."""
        return type(self)(*(getattr(self, field.name)[keep] for field in fields(self)))


@dataclass(frozen=True)
class Packets(Rows):
    """(p,) packets, conversation after conversation, in the order of time.

    Attributes:
        conversation: ascending.
        time: microseconds, from any moment on.
        side: which of the two hosts sent it, 0 or 1.
        payload: bytes behind the transport header.
        header: bytes of the transport header.
        flags: TCP flags, 0 for other protocols.
        window: advertised TCP window; the maker decides what other protocols have.
    """

    conversation: Ints
    time: Ints
    side: Ints
    payload: Ints
    header: Ints
    flags: Ints
    window: Ints

    def __len__(self) -> int:
        return len(self.time)


@dataclass(frozen=True)
class Records:
    """Packets grouped into records.

    Attributes:
        packets: (p,) packets, record after record.
        owner: (p,) record of each packet, ascending.
        starts: (r,) position of each record's first packet.
        origin: (r,) the side whose packets are the forward ones.
    """

    packets: Packets
    owner: Ints
    starts: Ints
    origin: Ints

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def begins(self) -> Ints:
        """(r,) time of each record's first packet."""
        return self.packets.time[self.starts]

    @property
    def ends(self) -> Ints:
        """(r,) position of each record's last packet."""
        return np.append(self.starts[1:], len(self.owner)) - 1

    @property
    def conversation(self) -> Ints:
        """(r,) the conversation that each record is cut from."""
        return self.packets.conversation[self.starts]

    def select(self, records: Ints) -> "Records":
        """The records at ``records``, any indices."""
        counts = np.diff(self.starts, append=len(self.owner))[records]
        starts = np.cumsum(counts) - counts
        owner = np.repeat(np.arange(len(records)), counts)
        positions = np.arange(len(owner)) - starts[owner] + self.starts[records][owner]
        return Records(self.packets.select(positions), owner, starts, self.origin[records])


@dataclass(frozen=True)
class Spread:
    """Summary of whole numbers that belong to records, all (r,); 0 where a record has none."""

    total: Ints
    mean: Floats
    std: Floats  # of the sample, with n - 1
    max: Ints
    min: Ints

    @classmethod
    def of(cls, values: Ints, owner: Ints, r: int) -> "Spread":
        """Summarise ``values`` (m,) by ``owner`` (m,), ascending, for ``r`` records."""
        count = np.bincount(owner, minlength=r)
        total = np.bincount(owner, values, minlength=r)
        mean = total / np.maximum(count, 1)
        squares = np.bincount(owner, (values - mean[owner]) ** 2, minlength=r)
        high, low, given = np.zeros(r, np.int64), np.zeros(r, np.int64), count > 0
        if len(values):
            starts = (np.cumsum(count) - count)[given]
            high[given], low[given] = np.maximum.reduceat(values, starts), np.minimum.reduceat(values, starts)
        return cls(total.astype(np.int64), mean, np.sqrt(squares / np.maximum(count - 1, 1)), high, low)

    def columns(self, prefix: str, measures: str = "max min mean std") -> Columns:
        """The ``measures`` in their order, named ``prefix_measure``."""
        return {f"{prefix}_{measure}": getattr(self, measure) for measure in measures.split()}


def count(owner: Ints, r: int) -> Ints:
    """(r,) how many of ``owner`` belong to each of ``r`` records."""
    return np.bincount(owner, minlength=r).astype(np.int64)


def rate(amount: Ints, duration: Ints, undefined: float | None = None) -> Floats:
    """Amount per second; for a duration of 0 it is Infinity or NaN, or ``undefined`` if that is given."""
    with np.errstate(divide="ignore", invalid="ignore"):
        per_second = amount / duration * 1e6
    return per_second if undefined is None else np.where(duration > 0, per_second, undefined)

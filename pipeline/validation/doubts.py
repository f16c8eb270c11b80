"""Benign labels that may be wrong: records between two hosts at a time when most of their records are attacks.

Labels often come from a list of attackers, victims and times, and they miss records. The answers of a victim that an
extractor takes for records of their own stay "benign", and so do stragglers. The pair of hosts tells. Yet an attacker
behind NAT shares its address with honest users, and a victim serves honest clients. So a benign label is trusted as
much as the other labels around it say: by the share of benign ones among all labelled records of the two hosts, in
either direction, in the hour of the record, the one before and the one after.

Three passes over the records count attacks, count benign records between the same hosts, and list what is doubted.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.datasets.schema import NO_ATTACK
from pipeline.settings.validate import DoubtLimits
from pipeline.validation.meetings import MOST, Ints, Mask, Meetings, Places
from pipeline.validation.rules import Trust

BENIGN: Final = "benign"
UNKNOWN: Final = ""  # a label that is null
RULE: Final = "most labelled records of the same two hosts around it are attacks"
READS: Final = ("record_id", "source_file", "row", "attack", "timestamp", "src_ip", "dst_ip")
SCHEMA: Final = pa.schema(
    [
        pa.field("record_id", pa.uint64()),
        pa.field("source_file", pa.string()),
        pa.field("row", pa.int64()),
        pa.field("timestamp", pa.timestamp("us")),
        pa.field("src_ip", pa.string()),
        pa.field("dst_ip", pa.string()),
        pa.field("trust", pa.float32()),
        pa.field("attacks_around", pa.int64()),
        pa.field("benign_around", pa.int64()),
        pa.field("benign_of_pair", pa.int64()),
        pa.field("reason", pa.string()),
    ]
)
"""``around``: labelled records of the same two hosts, itself included; ``benign_of_pair``: at any time."""

Read = Callable[[], Iterable[pa.Table]]


@dataclass
class Doubts:
    """What is known of the hosts that attack each other.

    Attributes:
        limits: when a label is doubted.
        attacks: counts of attack records.
        benign: counts of records that are labelled benign, between hosts that attack each other.
        records: how many records there are.
        addressed: how many of them have both addresses.
        between: how many of these are counted in ``benign``.
        rows: (k,) places of the doubted records among all, as far as they were listed.
        trust: (k,) float32, trust in their labels.
    """

    limits: DoubtLimits
    attacks: Meetings
    benign: Meetings
    records: int = 0
    addressed: int = 0
    between: int = 0
    rows: list[Ints] = field(default_factory=list)
    trust: list[NDArray[np.float32]] = field(default_factory=list)

    @classmethod
    def of(cls, read: Read, limits: DoubtLimits, most: int = MOST) -> Self:
        """Count the records that ``read`` gives, which is called twice; tables hold ``READS``."""
        doubts = cls(limits, Meetings(most), Meetings(most))
        for table in read():
            doubts._count_attacks(table)
        for table in read() if doubts.attacks.pairs() else ():
            doubts._count_benign(table)
        return doubts

    def listed(self, read: Read) -> Iterator[pa.Table]:
        """The doubted records, as tables of ``SCHEMA``; ``rows`` and ``trust`` are filled meanwhile."""
        start = 0
        for table in read() if self.benign.pairs() else ():
            at, trust, about = self._doubted(table)
            self.rows.append(at + start)
            self.trust.append(trust)
            if len(at):
                yield self._listed(table, at, trust, about)
            start += table.num_rows

    def lowered(self, trust: Trust) -> Trust:
        """The trust in all records, with that in the doubted ones lowered."""
        rows = np.concatenate([np.empty(0, np.int64), *self.rows])
        return trust.doubting(rows, np.concatenate([np.empty(0, np.float32), *self.trust]), RULE)

    def summary(self) -> dict[str, Any]:
        """Counts, ready for JSON."""
        return {
            **asdict(self.limits),
            "records": self.records,
            "with_both_addresses": self.addressed,
            "pairs_with_attacks": self.attacks.pairs(),
            "share_of_pairs": min(self.attacks.share, self.benign.share),
            "benign_between_them": self.between,
            "doubted": sum(map(len, self.rows)),
        }

    def sentence(self) -> str:
        """What was found, in words."""
        if not self.addressed:
            return "Benign labels are not compared with the attacks around them: no record has both addresses"
        found = self.summary()
        share, pairs = found["share_of_pairs"], found["pairs_with_attacks"]
        part = f" ({share:.1%} of the pairs were looked at: there are too many)" if share < 1 else ""
        return (
            f"Benign labels that are doubted: {found['doubted']:,} ({RULE}). Pairs of hosts that attack each other: "
            f"{pairs:,}{part}; benign records between them: {self.between:,}; records with both addresses: "
            f"{self.addressed:,} of {self.records:,}"
        )

    def _count_attacks(self, table: pa.Table) -> None:
        places, attack = Places.of(table, self.limits.hours), _names(table)
        self.attacks.add(places.select(places.known & ~np.isin(attack, [*NO_ATTACK, UNKNOWN])))
        self.records += table.num_rows
        self.addressed += int(places.known.sum())

    def _count_benign(self, table: pa.Table) -> None:
        places = Places.of(table, self.limits.hours)
        rows = self._between(table, places)
        self.benign.add(places.select(rows))
        self.between += int(rows.sum())

    def _between(self, table: pa.Table, places: Places) -> Mask:
        """(n,) which records are labelled benign, and went between hosts that attack each other."""
        rows: Mask = places.known & (_names(table) == BENIGN)
        rows[rows] = self.attacks.ever(places.select(rows)) > 0
        return rows

    def _doubted(self, table: pa.Table) -> tuple[Ints, NDArray[np.float32], dict[str, Ints]]:
        """(k,) places of the doubted records in a table, (k,) trust in each, and (k,) counts behind it."""
        places = Places.of(table, self.limits.hours)
        candidates = np.flatnonzero(self._between(table, places))
        near = places.select(candidates)
        attacks, benign = self.attacks.around(near), self.benign.around(near)
        trust = (benign / np.maximum(attacks + benign, 1)).astype(np.float32)
        chosen = (benign > 0) & (attacks > 0) & (trust < self.limits.below)
        about = {
            "attacks_around": attacks[chosen],
            "benign_around": benign[chosen],
            "benign_of_pair": self.benign.ever(near)[chosen],
        }
        return candidates[chosen], trust[chosen], about

    def _listed(self, table: pa.Table, at: Ints, trust: NDArray[np.float32], about: dict[str, Ints]) -> pa.Table:
        own = table.take(pa.array(at))
        reasons = [
            f"between these hosts around this time: {attacks:,} attack records, {benign:,} benign; "
            f"benign at any time: {ever:,}"
            for attacks, benign, ever in zip(*(each.tolist() for each in about.values()), strict=True)
        ]
        known = {name: own.column(name) for name in READS if name in SCHEMA.names}
        columns = known | {"trust": trust, **about, "reason": reasons}
        return pa.Table.from_pydict({each.name: _plain(columns[each.name], each.type) for each in SCHEMA}, SCHEMA)


def _names(table: pa.Table) -> NDArray[Any]:
    """(n,) labels, ``UNKNOWN`` where one is null."""
    names = table.column("attack").cast(pa.string()).fill_null(UNKNOWN)
    return np.asarray(names.to_numpy(zero_copy_only=False)).astype(str)


def _plain(values: Any, kind: pa.DataType) -> Any:
    return values.cast(kind) if isinstance(values, pa.ChunkedArray) else pa.array(values, kind)

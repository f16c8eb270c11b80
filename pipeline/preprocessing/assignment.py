"""Which split each record is in, and what its label says."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.base.errors import SplitError
from pipeline.datasets.schema import UNLABELLED
from pipeline.preprocessing import chronological, contamination, splits

Order = Literal["auto", "random", "time"]


@dataclass(frozen=True)
class Identities:
    """What the split of a record depends on, (n,) each.

    Attributes:
        record_id: of the record.
        attack: its name; ``benign`` for none.
        attempted: whether the attack reached nothing.
        day: the weekday of the capture.
        content: hash of the features; copies have the same one.
        time: when it was captured, in microseconds; ``chronological.UNTIMED`` where that is not known.
    """

    record_id: NDArray[np.uint64]
    attack: NDArray[np.object_]
    attempted: NDArray[np.bool_]
    day: NDArray[np.object_]
    content: NDArray[np.uint64]
    time: NDArray[np.int64]

    def cut(self, last: int) -> tuple["Identities", "Identities"]:
        """All but the ``last`` records, and these."""
        n = len(self.record_id) - last
        parts = ({name: values[rows] for name, values in vars(self).items()} for rows in (slice(n), slice(n, None)))
        first, second = (Identities(**part) for part in parts)
        return first, second

    def in_order(self, asked: Order, unseen: Sequence[str]) -> bool:
        """Whether the splits follow time: where that is asked for, or there are no seen attacks and times are known."""
        learnt = set(self.attack) - {"benign", *unseen}
        return asked == "time" or (asked == "auto" and not learnt and chronological.is_timed(self.time))

    def presumed(self) -> "Identities":
        """The same records, with every record without a label named benign."""
        return replace(self, attack=np.where(self.attack == UNLABELLED, "benign", self.attack).astype(object))

    def without_attempts(self) -> "Identities":
        """The same records, with every attempted attack named benign."""
        return replace(self, attack=np.where(self.attempted, "benign", self.attack).astype(object))


@dataclass(frozen=True)
class Rows:
    """Who every record is, (n,) each; small enough to be in memory at once.

    A ``hidden`` record is an attack that stands among the benign train rows: its y is 0, ``attack`` its true name.
    """

    record_id: NDArray[np.uint64]
    y: NDArray[np.int8]
    attack: NDArray[np.object_]
    confidence: NDArray[np.float32]
    balanced: NDArray[np.bool_]
    split: NDArray[np.int8]
    hidden: NDArray[np.bool_]

    def some(self, rows: slice) -> Self:
        """Those of some rows."""
        return type(self)(*(getattr(self, each.name)[rows] for each in fields(self)))


def assign(
    records: Identities,
    kept: NDArray[np.bool_],
    unseen: Sequence[str],
    shares: Mapping[str, float],
    test_days: Sequence[str],
    *,
    order: Order,
    duplicates: splits.Duplicates,
    seed: int,
) -> NDArray[np.int8]:
    """(n,) split of each record; ``splits.LEFT_OUT`` where it is in none.

    Args:
        records: all of them.
        kept: (n,) mask of the records that may be in a split.
        unseen: attacks that are in test_unseen only.
        shares: of the splits, by name.
        test_days: weekdays whose benign records are in the test splits; none for splits as ``shares`` say.
        order: whether the splits follow time.
        duplicates: what becomes of copies.
        seed: of the draw.
    """
    split = np.full(len(kept), splits.LEFT_OUT, dtype=np.int8)
    attack, content = records.attack[kept], records.content[kept]
    if test_days:
        split[kept] = splits.assign_by_day(
            attack, content, records.day[kept], test_days, unseen, shares, duplicates=duplicates, seed=seed
        )
    elif records.in_order(order, unseen):
        split[kept] = chronological.assign(attack, records.time[kept], unseen, shares)
    else:
        split[kept] = splits.assign(attack, content, unseen, shares, duplicates=duplicates, seed=seed)
    return split


def hide(
    records: Identities,
    split: NDArray[np.int8],
    unseen: Sequence[str],
    *,
    share: float,
    attacks: Sequence[str],
    seed: int,
) -> tuple[NDArray[np.bool_], NDArray[np.int8]]:
    """Mask of the attacks that contaminate the benign train rows, and the splits after that, (n,) each.

    Args:
        records: all of them.
        split: (n,) of each.
        unseen: attacks that are never hidden unless ``attacks`` names them.
        share: of the benign train rows that are hidden attacks.
        attacks: those that are hidden; all seen ones if empty.
        seed: of the draw.
    """
    if not share:
        return np.zeros(len(split), dtype=bool), split
    names = attacks or sorted(set(records.attack) - {"benign", *unseen})
    return contamination.contaminate(records.attack, records.content, split, names, share, seed)


def label(
    records: Identities,
    split: NDArray[np.int8],
    hidden: NDArray[np.bool_],
    *,
    balance: str,
    seed: int,
    initial: Callable[[ArrayLike, ArrayLike], NDArray[np.float32]],
) -> Rows:
    """The records with their labels, and the train rows that the encoder learns from.

    Args:
        records: all of them.
        split: (n,) of each.
        hidden: (n,) mask of the attacks that are labelled benign.
        balance: ``none`` where the encoder learns from all train rows.
        seed: of the draw of balanced train rows.
        initial: (n,) labels and the (n,) mask of contradicted ones -> (n,) confidence in them.

    Raises:
        SplitError: a split that later stages need would be empty.
    """
    attack, content = records.attack, records.content
    y = ((attack != "benign") & ~hidden).astype(np.int8)
    _require(split, y, content)
    balanced = np.zeros(len(attack), dtype=bool)
    train = np.flatnonzero(split == splits.SPLITS.index("train"))
    labelled = np.where(hidden, "benign", attack)  # what the labels of train say
    balanced[train] = True if balance == "none" else splits.balance(labelled[train], seed)
    known = np.where(np.isin(content, content[hidden]), 0, y)  # a copy that is in no split contradicts nothing
    confidence = initial(y, splits.disagreeing(content, known))
    return Rows(records.record_id, y, attack, confidence, balanced, split, hidden)


def _require(split: NDArray[np.int8], y: NDArray[np.int8], content: NDArray[np.uint64]) -> None:
    needed = [("train", 0), ("val", 0), ("calibration", 0)]
    if (y[np.isin(split, [splits.SPLITS.index(name) for name in ("train", "val", "test_seen")])] == 1).any():
        needed += [("train", 1), ("val", 1)]
    for name, label in needed:
        if not ((split == splits.SPLITS.index(name)) & (y == label)).any():
            kind = "attack" if label else "benign"
            copies = _copies(content[y == label], kind)
            raise SplitError(
                f"split {name!r} would have no {kind} record{copies}; ingest more, or raise preprocess.shares.{name}"
            )


def _copies(content: NDArray[np.uint64], kind: str) -> str:
    """What the contents, (n,), of the records of one kind have to do with an empty split; "" for nothing."""
    distinct = len(np.unique(content))
    if not 0 < distinct < min(len(content), len(splits.SPLITS)):
        return ""
    if distinct == 1:
        return f": all {len(content):,} {kind} records have the same values in every column, and copies share a split"
    return f": the {len(content):,} {kind} records are copies of {distinct} ones, and copies share a split"

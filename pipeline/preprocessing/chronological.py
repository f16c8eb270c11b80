"""Splits in the order of time: models learn from earlier records and are tested on later ones, as in use.

Copies are not kept together here. Traffic repeats itself, and a test on later records is to show what an analyst would
see, repeated records included.
"""

from collections.abc import Collection, Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.base.errors import SplitError
from pipeline.preprocessing.splits import LEFT_OUT, SPLITS

UNTIMED = np.iinfo(np.int64).min  # the time of a record that has none


def microseconds(times: pa.ChunkedArray) -> NDArray[np.int64]:
    """(n,) timestamps as whole numbers; ``UNTIMED`` where one is null."""
    return times.cast(pa.int64()).fill_null(UNTIMED).to_numpy()  # type: ignore[no-any-return]


def is_timed(time: NDArray[np.int64]) -> bool:
    """Whether (n,) times can order the records: each has one, and they are not all the same."""
    return bool(len(time) and (time != UNTIMED).all() and time.min() < time.max())


def assign(
    attack: NDArray[np.object_], time: NDArray[np.int64], unseen: Collection[str], shares: Mapping[str, float]
) -> NDArray[np.int8]:
    """(n,) index into ``SPLITS`` of each row: benign rows in the order of time, the earliest in train.

    Each seen attack is cut in the same order over the splits that hold attacks. Unseen attacks go to ``test_unseen``.

    Args:
        attack: (n,) canonical names, ``benign`` for benign rows.
        time: (n,) microseconds.
        unseen: attacks that go to ``test_unseen`` only.
        shares: split -> share of the benign rows, summing to 1.

    Raises:
        SplitError: a row has no time, or there is no benign row.
    """
    if not is_timed(time):
        n = int((time == UNTIMED).sum())
        raise SplitError(
            f"preprocess.split is time, but {n:,} of {len(time):,} records have no timestamp, or all have the same; "
            "set it to random"
        )
    if not (attack == "benign").any():
        raise SplitError("the records hold no benign row; thresholds need benign ones")
    split = np.full(len(attack), LEFT_OUT, dtype=np.int8)
    for name in np.unique(attack.astype(str)):
        rows = np.flatnonzero(attack == name)
        held = {key: share for key, share in shares.items() if name == "benign" or key in ("train", "val", "test_seen")}
        split[rows] = SPLITS.index("test_unseen") if name in unseen else _cut(time[rows], held)
    return split


def _cut(time: NDArray[np.int64], shares: Mapping[str, float]) -> NDArray[np.int8]:
    """(n,) split of rows by the rank of their time."""
    names = [name for name in SPLITS if shares.get(name)]
    ends = np.cumsum([shares[name] for name in names]) / sum(shares[name] for name in names)
    order = np.argsort(time, kind="stable")
    place = np.empty(len(time), dtype=np.float64)
    place[order] = (np.arange(len(time)) + 0.5) / len(time)
    return np.array([SPLITS.index(name) for name in names], dtype=np.int8)[np.searchsorted(ends[:-1], place)]

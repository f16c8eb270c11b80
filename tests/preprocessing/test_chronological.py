"""Splits in the order of time: what comes later is never in an earlier split."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.errors import SplitError
from pipeline.preprocessing import chronological
from pipeline.preprocessing.splits import SPLITS

SHARES = {"train": 0.6, "val": 0.1, "calibration": 0.1, "test_seen": 0.1, "test_unseen": 0.1}


@given(st.integers(10, 500), st.integers(0, 2**32 - 1))
def test_no_benign_record_is_later_than_one_of_a_later_split(n, seed):
    random = np.random.default_rng(seed)
    time = random.integers(0, n, n)
    time[:2] = 0, n
    split = chronological.assign(np.full(n, "benign", dtype=object), time, (), SHARES)
    order = np.argsort(time, kind="stable")
    assert (np.diff(split[order]) >= 0).all()
    counts = np.bincount(split, minlength=5) / n
    assert np.abs(counts - list(SHARES.values())).max() <= 1 / n + 1e-9


def test_attacks_stay_out_of_calibration_and_unseen_ones_in_their_split():
    attack = np.array((["benign"] * 4 + ["ddos"] + ["bot"]) * 50, dtype=object)
    split = chronological.assign(attack, np.arange(300), ["bot"], SHARES)
    assert set(split[attack == "bot"]) == {SPLITS.index("test_unseen")}
    assert set(split[attack == "ddos"]) == {SPLITS.index(name) for name in ("train", "val", "test_seen")}


@pytest.mark.parametrize("time", [np.zeros(10, np.int64), np.array([chronological.UNTIMED, *range(9)])])
def test_records_that_time_cannot_order_are_refused(time):
    with pytest.raises(SplitError, match="set it to random"):
        chronological.assign(np.full(10, "benign", dtype=object), time, (), SHARES)

"""Who a record is after the first pass: its split, its label, and the confidence in it."""

import numpy as np
import pytest

from pipeline.base.errors import SplitError
from pipeline.calibration.confidence import initial
from pipeline.preprocessing import assignment, chronological, splits
from pipeline.preprocessing.assignment import Identities

SHARES = {"train": 0.6, "val": 0.1, "calibration": 0.1, "test_seen": 0.1, "test_unseen": 0.1}
NONE = np.zeros(900, bool)


def records(n=900, seed=0):
    random = np.random.default_rng(seed)
    return Identities(
        record_id=np.arange(n, dtype=np.uint64),
        attack=random.choice(["benign", "dos_hulk", "bot"], n, p=[0.6, 0.3, 0.1]).astype(object),
        attempted=random.random(n) < 0.1,
        day=np.full(n, "monday", dtype=object),
        content=random.integers(0, 2**63, n, dtype=np.uint64),
        time=np.full(n, chronological.UNTIMED),
    )


def assigned(given, kept):
    return assignment.assign(given, kept, ["bot"], SHARES, [], order="auto", duplicates="group", seed=0)


def labelled(given, split, hidden=NONE, balance="none"):
    return assignment.label(given, split, hidden, balance=balance, seed=0, initial=initial)


def test_what_is_not_kept_is_in_no_split():
    given = records()
    split = assigned(given, ~given.attempted)
    assert (split[given.attempted] == splits.LEFT_OUT).all()
    assert (split[~given.attempted & (given.attack == "benign")] != splits.LEFT_OUT).all()


def test_attempts_become_benign_and_the_given_records_stay():
    given = records()
    before = given.attack.copy()
    changed = given.without_attempts()
    assert (changed.attack[given.attempted] == "benign").all()
    assert (changed.attack[~given.attempted] == before[~given.attempted]).all()
    assert (given.attack == before).all()


def test_a_hidden_attack_is_labelled_benign_and_keeps_its_name():
    given = records()
    split = assigned(given, np.ones(900, bool))
    hidden, split = assignment.hide(given, split, ["bot"], share=0.05, attacks=[], seed=0)
    rows = labelled(given, split, hidden)
    assert hidden.any()
    assert (rows.y[hidden] == 0).all() and (rows.attack[hidden] == "dos_hulk").all()
    assert (rows.confidence[hidden] == 1).all()
    assert (rows.confidence[rows.y == 1] == -1).all()


def test_nothing_is_hidden_where_no_share_is_asked_for():
    given = records()
    split = assigned(given, np.ones(900, bool))
    hidden, after = assignment.hide(given, split, ["bot"], share=0, attacks=[], seed=0)
    assert not hidden.any() and (after == split).all()


def test_balanced_rows_are_train_rows():
    given = records()
    split = assigned(given, np.ones(900, bool))
    train = split == splits.SPLITS.index("train")
    assert (labelled(given, split).balanced == train).all()
    balanced = labelled(given, split, balance="asymmetric").balanced
    assert balanced.any() and not (balanced & ~train).any() and balanced.sum() < train.sum()


def test_an_empty_split_is_refused_with_the_setting_that_mends_it():
    given = records()
    split = assigned(given, np.ones(900, bool))
    split[split == splits.SPLITS.index("calibration")] = splits.LEFT_OUT
    with pytest.raises(SplitError, match=r"split 'calibration' would have no benign record; .*shares\.calibration"):
        labelled(given, split)

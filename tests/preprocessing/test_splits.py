"""Five splits: what may stand where, whatever the records are."""

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from pipeline.base.errors import ConfigError, SplitError
from pipeline.preprocessing import contamination, splits

SHARES = {"train": 0.6, "val": 0.1, "calibration": 0.1, "test_seen": 0.1, "test_unseen": 0.1}
UNSEEN = ("bot", "infiltration")


@st.composite
def rows(draw):
    n = draw(st.integers(20, 300))
    seed = draw(st.integers(0, 2**31))
    random = np.random.default_rng(seed)
    attack = random.choice(["benign", "dos_hulk", "port_scan", "bot"], n, p=[0.6, 0.2, 0.1, 0.1]).astype(object)
    attack[:2] = "benign", "dos_hulk"
    content = random.integers(0, draw(st.integers(5, 400)), n).astype(np.uint64)
    return attack, content


def named(split, name):
    return split == splits.SPLITS.index(name)


@settings(max_examples=60, deadline=None)
@given(rows=rows(), duplicates=st.sampled_from(["group", "drop", "keep"]), seed=st.integers(0, 5))
def test_each_attack_stands_where_it_may(rows, duplicates, seed):
    attack, content = rows
    split = splits.assign(attack, content, UNSEEN, SHARES, duplicates=duplicates, seed=seed)
    assert (attack[named(split, "calibration")] == "benign").all()
    assert set(attack[named(split, "test_unseen")]) <= {"benign", *UNSEEN}
    for name in ("train", "val", "test_seen"):
        assert not set(attack[named(split, name)]) & set(UNSEEN)


@settings(max_examples=60, deadline=None)
@given(rows=rows(), duplicates=st.sampled_from(["group", "drop"]))
def test_no_content_stands_on_two_sides(rows, duplicates):
    attack, content = rows
    split = splits.assign(attack, content, UNSEEN, SHARES, duplicates=duplicates)
    for value in np.unique(content):
        assert len(set(split[(content == value) & (split >= 0)])) <= 1


@settings(max_examples=30, deadline=None)
@given(rows=rows(), seed=st.integers(0, 2**31))
def test_the_order_of_the_rows_does_not_matter(rows, seed):
    attack, content = rows
    order = np.random.default_rng(seed).permutation(len(attack))
    split = splits.assign(attack, content, UNSEEN, SHARES)
    assert np.array_equal(splits.assign(attack[order], content[order], UNSEEN, SHARES), split[order])


def test_benign_copies_of_seen_attacks_are_as_frequent_in_calibration_as_in_the_tests():
    random, n = np.random.default_rng(0), 40_000
    attack = random.choice(["benign", "dos_hulk", "bot"], n, p=[0.7, 0.2, 0.1]).astype(object)
    content = np.arange(n, dtype=np.uint64)
    content[random.permutation(n)[:12_000]] = random.integers(n, n + 3_000, 12_000)  # copies, whatever their label
    seen = attack == "dos_hulk"
    split, benign = splits.assign(attack, content, {"bot"}, SHARES), attack == "benign"
    copies = benign & np.isin(content, content[seen]) & ~np.isin(content, content[attack == "bot"])
    assert copies.sum() > 1_000
    for name in splits.SPLITS:
        assert (copies & named(split, name)).sum() == pytest.approx(SHARES[name] * copies.sum(), rel=0.1)
    lost = seen & (split == splits.LEFT_OUT)
    assert lost.any() and np.isin(content[lost], content[attack != "dos_hulk"]).all()


DAYS = np.array(["monday", "tuesday", "friday"], dtype=object)


def by_day(attack, content, day, duplicates="group", test_days=("friday",), seed=0):
    return splits.assign_by_day(attack, content, day, test_days, UNSEEN, SHARES, duplicates=duplicates, seed=seed)


@settings(max_examples=60, deadline=None)
@given(rows=rows(), duplicates=st.sampled_from(["group", "drop", "keep"]), seed=st.integers(0, 5))
def test_days_of_the_test_stand_in_test_unseen_alone(rows, duplicates, seed):
    attack, content = rows
    day = DAYS[np.random.default_rng(seed).integers(0, 3, len(attack))]
    day[:3] = "monday", "monday", "friday"
    attack[2] = "benign"
    try:
        split = by_day(attack, content, day, duplicates, seed=seed)
    except SplitError as error:
        assert "have no benign record that other days have not" in str(error)
        reject()
    late, judged = day == "friday", named(split, "test_unseen")
    assert set(split[late]) <= {splits.LEFT_OUT, splits.SPLITS.index("test_unseen")}
    unseen_too = np.isin(content, content[~late & np.isin(attack, UNSEEN)])  # copies follow the worst label among them
    assert not (judged & ~late & (attack == "benign") & ~unseen_too).any()
    assert set(attack[judged]) <= {"benign", *UNSEEN}
    early = splits.assign(
        attack[~late], content[~late], UNSEEN, {**SHARES, "test_unseen": 0}, duplicates=duplicates, seed=seed
    )
    assert np.array_equal(split[~late], early)
    if duplicates != "keep":
        assert not set(content[judged & late]) & set(content[~late])
    else:
        assert judged[late & np.isin(attack, ["benign", *UNSEEN])].all()
    if duplicates == "drop":
        for name in set(attack[judged & late]):
            taken = content[judged & late & (attack == name)]
            assert len(set(taken)) == len(taken)


def test_a_day_that_no_record_has_is_refused():
    attack, content = np.array(["benign", "dos_hulk", "benign"], dtype=object), np.arange(3, dtype=np.uint64)
    day = np.array(["monday", "monday", "friday"], dtype=object)
    with pytest.raises(
        ConfigError, match=r"no record of 'fridy' \(did you mean 'friday'\?\); there are friday, monday"
    ):
        by_day(attack, content, day, test_days=("fridy",))
    with pytest.raises(ConfigError, match="none: the records have no timestamp"):
        by_day(attack, content, np.array([None] * 3, dtype=object))
    with pytest.raises(SplitError, match="friday have no benign record that other days have not"):
        by_day(attack, np.zeros(3, np.uint64), day)


def test_shares_are_met_and_the_seed_matters():
    n = 20_000
    attack = np.where(np.arange(n) % 4 == 0, "dos_hulk", "benign").astype(object)
    content = np.arange(n).astype(np.uint64)
    split = splits.assign(attack, content, UNSEEN, SHARES)
    benign = attack == "benign"
    for name, share in SHARES.items():
        assert named(split, name)[benign].mean() == pytest.approx(share, abs=0.01)
    assert named(split, "train")[~benign].mean() == pytest.approx(0.75, abs=0.01)
    assert not np.array_equal(split, splits.assign(attack, content, UNSEEN, SHARES, seed=1))


def test_a_rare_attack_reaches_every_split_that_may_hold_it():
    attack = np.array(["benign"] * 100 + ["heartbleed"] * 4, dtype=object)
    split = splits.assign(attack, np.arange(104).astype(np.uint64), (), SHARES)
    held = {splits.SPLITS[code] for code in split[attack == "heartbleed"]}
    assert held == {"train", "val", "test_seen"}


def test_attacks_alone_are_refused():
    attack = np.array(["dos_hulk"] * 10, dtype=object)
    with pytest.raises(SplitError, match="no benign row"):
        splits.assign(attack, np.arange(10).astype(np.uint64), UNSEEN, SHARES)


def test_benign_records_alone_reach_every_split():
    split = splits.assign(np.full(100, "benign", dtype=object), np.arange(100).astype(np.uint64), UNSEEN, SHARES)
    assert set(split) == set(range(5))


def test_an_unknown_unseen_attack_is_refused_with_its_near_miss():
    with pytest.raises(ConfigError, match="did you mean 'infiltration'"):
        splits.check_attacks("preprocess.unseen", ["infiltratoin"], ["benign", "bot", "infiltration"])


def test_balance_keeps_every_attack_and_as_many_benign_as_the_largest_has():
    attack = np.array(["benign"] * 50 + ["a"] * 7 + ["b"] * 3, dtype=object)
    mask = splits.balance(attack)
    assert mask[50:].all()
    assert mask[:50].sum() == 7


def test_disagreeing_rows_are_those_whose_content_has_both_labels():
    content = np.array([1, 1, 2, 2, 3], dtype=np.uint64)
    y = np.array([0, 1, 0, 0, 1], dtype=np.int8)
    assert splits.disagreeing(content, y).tolist() == [True, True, False, False, False]


def contaminated(attack, content, share, names=("dos_hulk", "port_scan"), seed=0, duplicates="group"):
    split = splits.assign(attack, content, UNSEEN, SHARES, duplicates=duplicates)
    return split, *contamination.contaminate(attack, content, split, names, share, seed)


def many(n=4000, contents=None):
    random = np.random.default_rng(1)
    attack = random.choice(["benign", "dos_hulk", "port_scan", "bot"], n, p=[0.6, 0.2, 0.1, 0.1]).astype(object)
    return attack, (np.arange(n) if contents is None else random.integers(0, contents, n)).astype(np.uint64)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.15])
@pytest.mark.parametrize("names", [("port_scan",), ("dos_hulk", "port_scan"), ("bot",), ("bot", "dos_hulk")])
def test_the_share_is_met_by_attacks_of_these_names(share, names):
    attack, content = many()
    split, hidden, after = contaminated(attack, content, share, names)
    benign = named(split, "train") & (attack == "benign")
    assert hidden.sum() == round(share / (1 - share) * benign.sum())
    assert hidden.sum() / (hidden | benign).sum() == pytest.approx(share, abs=1e-3)
    assert set(attack[hidden]) == set(names)
    assert named(after, "train")[hidden].all()
    assert np.array_equal(after[~hidden], split[~hidden])  # every content is one row's alone: nothing is left out


def test_attacks_are_hidden_in_their_proportion():
    attack, content = many(40_000)
    split, hidden, _ = contaminated(attack, content, 0.1)
    labelled = attack[named(split, "train") & (attack != "benign")]
    assert (attack[hidden] == "port_scan").mean() == pytest.approx((labelled == "port_scan").mean(), abs=0.05)


@settings(max_examples=60, deadline=None)
@given(
    contents=st.integers(60, 3000),
    duplicates=st.sampled_from(["group", "drop", "keep"]),
    names=st.sampled_from([("port_scan",), ("bot",), ("bot", "dos_hulk")]),
    seed=st.integers(0, 5),
)
def test_a_hidden_content_stands_nowhere_else_and_bears_no_label(contents, duplicates, names, seed):
    attack, content = many(3000, contents)
    try:
        split, hidden, after = contaminated(attack, content, 0.02, names, seed, duplicates)
    except SplitError:
        reject()  # too few contents that stand on one side alone
    same = np.isin(content, content[hidden])
    assert not (same & (after >= 0) & ~named(after, "train")).any()
    assert not (same & named(after, "train") & (attack != "benign") & ~hidden).any()
    for name in ("val", "calibration", "test_seen"):
        assert np.array_equal(named(after, name), named(split, name))


def test_a_larger_share_hides_the_same_rows_and_more_and_the_seed_matters():
    attack, content = many()
    few, more = (contaminated(attack, content, share)[1] for share in (0.02, 0.1))
    assert more[few].all()
    assert not np.array_equal(few, contaminated(attack, content, 0.02, seed=1)[1])
    order = np.random.default_rng(0).permutation(len(attack))
    assert np.array_equal(contaminated(attack[order], content[order], 0.02)[1], few[order])


@pytest.mark.parametrize(
    ("names", "share", "message"),
    [
        (
            ("heartbleed",),
            0.1,
            "there are no attacks of heartbleed to hide in train; name attacks that the records have",
        ),
        (
            ("port_scan",),
            0.3,
            r"would hide [\d,]+ attacks of port_scan among [\d,]+ benign .* there are \d+; at most 0\.\d+ is",
        ),
        (("dos_hulk", "port_scan"), None, "hides every attack of train"),
    ],
)
def test_contamination_that_cannot_be_is_refused(names, share, message):
    attack, content = many()
    if share is None:  # all of them
        split = splits.assign(attack, content, UNSEEN, SHARES)
        there = (named(split, "train") & (attack != "benign")).sum()
        share = there / (there + (named(split, "train") & (attack == "benign")).sum())
    with pytest.raises(SplitError, match=message):
        contaminated(attack, content, share, names)


def test_the_largest_possible_share_is_possible():
    attack, content = many()
    with pytest.raises(SplitError) as caught:
        contaminated(attack, content, 0.5, ("port_scan",))
    possible = float(str(caught.value).split("at most ")[1].split()[0])
    _, hidden, _ = contaminated(attack, content, possible, ("port_scan",))
    with pytest.raises(SplitError, match="at most"):
        contaminated(attack, content, possible + 2e-3, ("port_scan",))
    assert hidden.any()

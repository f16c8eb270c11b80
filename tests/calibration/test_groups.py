"""Decisions by group: what is promised holds for each group, and whoever is of no known group is judged as all are."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from pipeline.base.errors import DataError, SplitError
from pipeline.calibration.calibration import Calibration
from pipeline.calibration.groups import apart_where_unknown, frequent_only
from pipeline.calibration.named_thresholds import LEAST_OF_A_GROUP, Decision, frequent, group_names
from pipeline.calibration.prediction import Prediction
from pipeline.calibration.thresholds.base import VERDICTS
from pipeline.calibration.thresholds.conformal import Conformal
from pipeline.calibration.thresholds.percentile import Percentile

NAMES = np.array(["tcp", "udp", "icmp"], dtype=object)


def traffic(n, seed, shift=2.0):
    """Margins, densities and groups: udp is quiet, tcp loud, icmp rare."""
    random = np.random.default_rng(seed)
    groups = NAMES[random.choice(3, n, p=[0.48, 0.48, 0.04])]
    return random.normal(size=n), random.normal(size=n) + shift * (groups == "tcp"), groups


def fitted(n=800, seed=0, known=True, **settings):
    margin, detector, groups = traffic(n, seed)
    return Calibration.fit(margin, detector, group="protocol", groups=groups if known else None, **settings)


def test_what_is_promised_holds_for_each_group_where_for_all_together_it_does_not():
    alarms = {known: {"tcp": [0, 0], "udp": [0, 0]} for known in (True, False)}
    for seed in range(60):  # each with a fresh calibration
        margin, detector, groups = traffic(400, 1000 + seed)
        for known, counts in alarms.items():
            calibration = fitted(seed=seed, known=known, fusion="detector")
            flagged = Prediction.of(calibration, margin, detector, groups=groups).flagged["p95"]
            for name, count in counts.items():
                count[0] += int(flagged[groups == name].sum())
                count[1] += int((groups == name).sum())
    for flags, n in alarms[True].values():
        low, high = binom.ppf([1e-4, 1 - 1e-4], n, 0.05)
        slack = n * 4 * math.sqrt(0.05 * 0.95 / (60 * 380))  # each threshold comes from a sample
        assert low - slack <= flags <= high + slack
    loud, quiet = (flags / n for flags, n in alarms[False].values())
    assert loud > 0.08 and quiet < 0.02


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 99), level=st.sampled_from([0.01, 0.05, 0.2]))
def test_the_p_values_of_a_group_are_those_of_its_own_calibration_records(seed, level):
    margin, detector, groups = traffic(900, seed)
    calibration = Calibration.fit(margin, detector, fusion="detector", group="protocol", groups=groups)
    score = calibration.score(margin, detector)
    judged = Prediction.of(calibration, margin, detector, groups=groups)
    for name in ("tcp", "udp"):
        own = score[groups == name]
        expected = [(1 + (own >= each).sum()) / (own.size + 1) for each in own]
        assert judged.p_value[groups == name] == pytest.approx(expected)
        assert (judged.p_value[groups == name] <= level).mean() <= level


def test_other_groups_and_unknown_ones_are_judged_by_all_records():
    calibration, plain = fitted(), fitted(known=False)
    assert set(calibration.groups) == {"tcp", "udp"} and not plain.groups
    margin, detector, _ = traffic(300, 5)
    expected = Prediction.of(plain, margin, detector)
    for groups in (None, np.full(300, "", object), np.full(300, "icmp", object), np.full(300, "gre", object)):
        judged = Prediction.of(calibration, margin, detector, groups=groups)
        assert np.array_equal(judged.p_value, expected.p_value)
        assert np.array_equal(judged.verdict, expected.verdict)
        assert all(np.array_equal(judged.flagged[name], mask) for name, mask in expected.flagged.items())


def test_each_record_is_judged_on_its_own_whatever_stands_beside_it():
    calibration = fitted()
    margin, detector, groups = traffic(200, 6)
    whole = Prediction.of(calibration, margin, detector, groups=groups)
    for row in range(0, 200, 7):
        one = Prediction.of(calibration, margin[[row]], detector[[row]], groups=groups[[row]])
        assert one.p_value[0] == whole.p_value[row] and one.verdict[0] == whole.verdict[row]
        assert {name: mask[0] for name, mask in one.flagged.items()} == {
            name: mask[row] for name, mask in whole.flagged.items()
        }


@pytest.mark.parametrize("fusion", ["fisher", "cascade"])
def test_confidence_verdict_and_flags_partition_the_records_of_each_group(fusion):
    calibration = fitted(fusion=fusion, percentiles=(99, 95), strategy=Percentile(95, 99))
    margin, detector, groups = traffic(2000, 7)
    judged = Prediction.of(calibration, margin, detector, groups=groups)
    assert set(judged.verdict.tolist()) <= set(VERDICTS)
    assert np.array_equal(judged.confidence, np.select([judged.verdict == name for name in VERDICTS], [1, 0, -1]))
    assert (judged.flagged["p95"] | ~judged.flagged["p99"]).all()
    judges = [(np.flatnonzero(judged.group == name), each) for name, each in calibration.decisions.items()]
    for rows, decision in judges:
        assert np.array_equal(judged.verdict[rows], decision.intervals.verdict(judged.score[rows]))
    assert sorted(np.concatenate([rows for rows, _ in judges]).tolist()) == list(range(2000))


def test_the_doubt_of_a_group_is_read_from_its_own_attacks():
    margin, detector, groups = traffic(800, 0)
    attacks = np.zeros(60), np.full(60, 9.0)
    named = np.array(["tcp"] * 60, dtype=object)
    calibration = Calibration.fit(
        margin, detector, "detector", strategy=Conformal(0.05, 0.2, 0.1), attacks=attacks, group="protocol",
        groups=groups, attack_groups=named,
    )  # fmt: skip
    udp = calibration.groups["udp"]
    score = calibration.score(margin, detector)
    assert udp.intervals == Conformal(0.05, 0.2, 0.1).of(score[groups == "udp"])
    known = calibration.score(*attacks)
    assert calibration.groups["tcp"].intervals == Conformal(0.05, 0.2, 0.1).of(score[groups == "tcp"], known)


def test_a_group_with_too_few_records_for_what_is_asked_is_named():
    with pytest.raises(SplitError, match=r"'tcp' of protocol: conformal: 3\d\d benign calibration scores support no"):
        fitted(strategy=Conformal(risk=0.002))


def test_it_survives_json_and_arrays_exactly():
    calibration = fitted()
    values, arrays = calibration.state()
    loaded = Calibration.load(json.loads(json.dumps(values, allow_nan=False)), arrays)
    margin, detector, groups = traffic(500, 8)
    one, other = (Prediction.of(each, margin, detector, groups=groups) for each in (calibration, loaded))
    assert np.array_equal(one.p_value, other.p_value) and np.array_equal(one.verdict, other.verdict)
    assert loaded.group == "protocol" and loaded.promises("tcp") == calibration.promises("tcp")


def test_nothing_is_promised_over_all_records_where_groups_have_decisions_of_their_own():
    calibration, plain = fitted(percentiles=(99.9, 99)), fitted(known=False, percentiles=(99.9, 99))
    assert calibration.promises() == {}
    assert plain.promises() == {"p99.9": 1 / 801, "p99": 0.01}
    for name, decision in calibration.groups.items():
        assert calibration.promises(name) == {"p99.9": 1 / (decision.reference.size + 1), "p99": 0.01}


@pytest.mark.parametrize("groups", [NAMES[:1], np.array([], object)])
def test_groups_of_other_records_are_refused(groups):
    with pytest.raises(DataError, match="10 records, but groups of shape"):
        Prediction.of(fitted(), np.zeros(10), np.zeros(10), groups=groups)


def test_names_that_are_no_text_are_the_same_groups():
    margin, detector, _ = traffic(600, 3)
    numbers = np.where(np.arange(600) % 2, 6, 17).astype(object)
    texts = numbers.astype(str).astype(object)
    one, other = (Calibration.fit(margin, detector, group="protocol", groups=groups) for groups in (numbers, texts))
    assert one.groups.keys() == other.groups.keys() == {"6", "17"}
    judged, same = (Prediction.of(one, margin, detector, groups=groups) for groups in (numbers, texts))
    assert np.array_equal(judged.p_value, same.p_value) and judged.group.tolist() == texts.tolist()


def test_a_calibration_of_before_there_were_groups_still_loads():
    values, arrays = fitted(known=False).state()
    del values["group"], values["groups"]
    assert Calibration.load(values, arrays).groups == {}


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (np.array([6, 17, 6], np.int16), ["6", "17", "6"]),
        (np.array([6.0, math.nan, 0.5]), ["6", "", "0.5"]),
        (np.array([4200000001, 4200000002]), ["4200000001", "4200000002"]),
        (np.array([-0.0, 0.0]), ["0", "0"]),
        (np.array(["monday", None, ""], object), ["monday", "", ""]),
        (np.array([], object), []),
    ],
)
def test_groups_are_named_as_their_values_are_written(values, names):
    assert group_names(values).tolist() == names


def test_a_group_needs_as_many_records_as_one_per_cent_does():
    groups = np.array(["a"] * LEAST_OF_A_GROUP + ["b"] * (LEAST_OF_A_GROUP - 1) + [""] * 200, dtype=object)
    assert frequent(groups) == ["a"]
    own = Decision.fit(np.arange(float(LEAST_OF_A_GROUP)), [99], Percentile())
    assert own.thresholds["p99"] == LEAST_OF_A_GROUP - 1


def test_records_without_a_group_share_it_with_no_other():
    names = apart_where_unknown(np.array(["tcp", "", "udp", "", "tcp"], dtype=object))
    assert names[0] == names[4] == "tcp"
    assert len(set(names.tolist())) == 4


def test_rare_groups_become_unknown():
    names = np.array(["a", "b", "a", "", "b", "a"], dtype=object)
    assert frequent_only(names, 3).tolist() == ["a", "", "a", "", "", "a"]
    assert frequent_only(None, 3) is None

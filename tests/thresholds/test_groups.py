"""Each group has thresholds of its own, or those of all where it is too small."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from pipeline.errors import DataError, SplitError
from pipeline.thresholds import Conformal, Percentile, by_group


def test_the_guarantee_holds_in_each_group_where_the_pooled_one_does_not():
    random, draws, risk = np.random.default_rng(0), 1500, 0.05
    groups = np.repeat(["quiet", "loud"], [150, 50])
    exceeding = {"quiet": 0, "loud": 0, "pooled": 0}
    for _ in range(draws):
        scores = random.normal(size=200) * np.where(groups == "loud", 5.0, 1.0)
        found = by_group(scores, groups, Conformal(risk=risk))
        new = {"quiet": random.normal(), "loud": 5 * random.normal()}
        for name, score in new.items():
            exceeding[name] += found.verdict([score], [name])[0] == "anomalous"
        exceeding["pooled"] += new["loud"] > found.pooled.high
    limit = binom.isf(1e-6, draws, risk)
    assert exceeding["quiet"] <= limit and exceeding["loud"] <= limit
    assert exceeding["pooled"] > 2 * limit


def test_a_group_that_is_too_small_has_the_pooled_thresholds_and_is_named():
    scores, groups = np.arange(120.0), ["tcp"] * 60 + ["udp"] * 57 + ["icmp"] * 3
    found = by_group(scores, groups, Conformal(risk=0.05))
    assert found.too_small == ("icmp",)
    assert found.thresholds["icmp"] == found.pooled == Conformal(risk=0.05)(scores)
    assert found.thresholds["tcp"] == Conformal(risk=0.05)(scores[:60])
    assert [*found.thresholds] == ["icmp", "tcp", "udp"]


def test_each_record_is_judged_by_its_group_and_one_of_a_new_group_by_all():
    found = by_group([0.0, 1.0, 10.0, 11.0], [6, 6, 17, 17], Percentile(50, 100))
    assert found.verdict([5.0, 5.0, 5.0, 0.0], [6, 17, 1, 6]).tolist() == ["anomalous", "benign", "benign", "benign"]
    assert found.verdict([], []).size == 0


def test_the_order_of_the_records_does_not_matter():
    random = np.random.default_rng(1)
    scores, groups, order = random.normal(size=90), random.choice(["a", "b", "c"], 90), random.permutation(90)
    strategy = Conformal(risk=0.1)
    assert by_group(scores[order], groups[order], strategy) == by_group(scores, groups, strategy)


def test_bad_input_is_refused():
    with pytest.raises(DataError, match="2 scores, but 1 groups"):
        by_group([1.0, 2.0], ["a"], Conformal())
    with pytest.raises(DataError, match="position 1"):
        by_group([1.0, math.nan], ["a", "a"], Conformal())
    with pytest.raises(SplitError, match="at least 99"):
        by_group([1.0, 2.0], ["a", "b"], Conformal(risk=0.01))
    with pytest.raises(DataError, match="1 scores, but 2 groups"):
        by_group([1.0, 2.0], ["a", "a"], Conformal()).verdict([1.0], ["a", "b"])

"""One suite over every threshold strategy: scores in, a partition of the line out."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.errors import ConfigError, DataError, SplitError
from pipeline.registry import build
from pipeline.thresholds import THRESHOLDS, Thresholds

every_strategy = pytest.mark.parametrize("name", sorted(THRESHOLDS))
some_scores = arrays(np.float64, st.integers(1, 80), elements=st.floats(-1e9, 1e9))


@every_strategy
@given(scores=some_scores, seed=st.integers(0, 99))
def test_the_order_of_the_scores_does_not_matter(name, scores, seed):
    shuffled = np.random.default_rng(seed).permutation(scores)
    assert build(THRESHOLDS, name)(shuffled) == build(THRESHOLDS, name)(scores)


@every_strategy
@given(scores=some_scores)
def test_thresholds_are_numbers_in_order_that_put_each_score_in_one_place(name, scores):
    thresholds = build(THRESHOLDS, name)(scores)
    assert thresholds.low <= thresholds.high
    assert type(thresholds.low) is float and type(thresholds.high) is float
    assert set(thresholds.verdict(scores)) <= {"benign", "unknown", "anomalous"}


@every_strategy
@pytest.mark.parametrize("scores", [[3.0], [3.0] * 50, [-1e300, 1e300], [0.0, math.inf, math.inf], [-math.inf, 0.0]])
def test_degenerate_scores_are_defined(name, scores):
    assert isinstance(build(THRESHOLDS, name)(scores), Thresholds)


@every_strategy
@pytest.mark.parametrize("value", [0.0, 7.5, -4.0])
def test_constant_scores_are_not_anomalous(name, value):
    assert "anomalous" not in build(THRESHOLDS, name)(np.full(30, value)).verdict(np.full(30, value))


@every_strategy
def test_no_scores_are_refused(name):
    with pytest.raises(SplitError, match="no scores"):
        build(THRESHOLDS, name)([])


@every_strategy
def test_nan_is_refused_with_its_position(name):
    with pytest.raises(DataError, match=r"1 of 3 scores are NaN.*position 1"):
        build(THRESHOLDS, name)([1.0, math.nan, 2.0])


@every_strategy
def test_an_unknown_setting_is_refused_with_the_signature(name):
    with pytest.raises(ConfigError, match="unknown setting"):
        build(THRESHOLDS, name, no_such_setting=1)


@every_strategy
def test_the_scores_are_left_as_they_are(name):
    scores = np.array([3.0, 1.0, 2.0])
    build(THRESHOLDS, name)(scores)
    assert scores.tolist() == [3.0, 1.0, 2.0]

"""One suite over every threshold strategy: scores in, a partition of the line out."""

import math

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.base.errors import ConfigError, DataError, SplitError
from pipeline.base.registry import build
from pipeline.calibration.thresholds.base import VERDICTS, Thresholds
from pipeline.calibration.thresholds.registry import THRESHOLDS

every_strategy = pytest.mark.parametrize("name", sorted(THRESHOLDS))
some_scores = arrays(np.float64, st.integers(1, 80), elements=st.floats(-1e9, 1e9))
tied_scores = st.lists(st.sampled_from([0.0, 1.0, 1.5, 7.0, 5e-324, -1e-300]), min_size=1, max_size=60).map(np.array)
first_or_later = st.sampled_from([None, Thresholds(0.0, 1.0)])
DRAWS = {
    "gaussian": lambda random, n: random.normal(size=n),
    "exponential": lambda random, n: random.exponential(size=n),
    "log-normal": lambda random, n: random.lognormal(sigma=1.5, size=n),
    "two modes": lambda random, n: np.append(random.normal(size=n - n // 9), random.normal(9, 2, size=n // 9)),
    "heavy": lambda random, n: random.standard_cauchy(n),
}


@every_strategy
@given(scores=some_scores | tied_scores, previous=first_or_later, seed=st.integers(0, 99))
def test_the_order_of_the_scores_does_not_matter(name, scores, previous, seed):
    shuffled = np.random.default_rng(seed).permutation(scores)
    assert build(THRESHOLDS, name)(shuffled, previous) == build(THRESHOLDS, name)(scores, previous)


@every_strategy
@given(scores=some_scores | tied_scores, previous=first_or_later)
def test_thresholds_are_numbers_in_order_that_put_each_score_in_one_place(name, scores, previous):
    thresholds = build(THRESHOLDS, name)(scores, previous)
    assert thresholds.low <= thresholds.high
    assert type(thresholds.low) is float and type(thresholds.high) is float
    benign, unknown, anomalous = (thresholds.verdict(scores) == verdict for verdict in VERDICTS)
    assert (benign.astype(int) + unknown + anomalous == 1).all()
    assert scores[benign].max(initial=-math.inf) <= thresholds.low <= scores[unknown].min(initial=math.inf)
    assert scores[unknown].max(initial=-math.inf) <= thresholds.high <= scores[anomalous].min(initial=math.inf)


def settled(name, scores, previous, seed):
    """Whether what rounding may do to the scores leaves their thresholds where they are."""
    random, span = np.random.default_rng(seed), np.ptp(scores)
    moved = [scores + 1e-13 * span * random.normal(size=scores.size) for _ in range(8)]
    found = [build(THRESHOLDS, name)(each, previous) for each in (scores, *moved)]
    return all(np.ptp([getattr(each, end) for each in found]) <= 1e-6 * span for end in ("low", "high"))


@every_strategy
@settings(max_examples=40)
@given(
    kind=st.sampled_from(sorted(DRAWS)),
    n=st.integers(20, 400),
    seed=st.integers(0, 999),
    scale=st.floats(1e-3, 1e3),
    shift=st.floats(-1e3, 1e3),
    previous=first_or_later,
)
def test_thresholds_move_with_the_scores(name, kind, n, seed, scale, shift, previous):
    scores = DRAWS[kind](np.random.default_rng(seed), n)
    here, there = (build(THRESHOLDS, name)(part, previous) for part in (scores, scale * scores + shift))
    precision = 1e-6 * scale * np.ptp(scores)
    if not settled(name, scores, previous, seed):
        reject()  # two numbers of bins are as probable, or a score lies on an edge: rounding decides
    assert there.low == pytest.approx(scale * here.low + shift, rel=1e-6, abs=precision)
    assert there.high == pytest.approx(scale * here.high + shift, rel=1e-6, abs=precision)


@every_strategy
@settings(max_examples=50)
@given(scores=some_scores | tied_scores, previous=first_or_later)
def test_an_analysis_can_be_drawn(name, scores, previous):
    analysis = build(THRESHOLDS, name).analysis(scores, previous)
    assert (np.diff(analysis.edges) >= 0).all() and scores.min() <= analysis.edges[0] <= analysis.edges[-1]
    assert analysis.edges[-1] <= scores.max()
    assert analysis.tail.ndim == 2 and analysis.tail.shape[1] == 2
    assert np.isfinite(analysis.tail).all() and (analysis.tail[:, 1] >= 0).all()


@every_strategy
def test_far_scores_do_not_ask_for_more_bins_than_can_be_drawn(name):
    scores = np.append(np.random.default_rng(0).normal(size=2000), [1e6, 1e12, 1e300, -1e300])
    analysis = build(THRESHOLDS, name).analysis(scores)
    assert 10 < analysis.edges.size <= 501
    assert np.histogram(scores, analysis.edges)[0].max() < 1000


@every_strategy
@pytest.mark.parametrize("scores", [[3.0], [3.0] * 50, [-1e300, 1e300], [0.0, math.inf, math.inf], [-math.inf, 0.0]])
@pytest.mark.parametrize("previous", [None, Thresholds(0.0, 1.0)])
def test_degenerate_scores_are_defined(name, scores, previous):
    assert isinstance(build(THRESHOLDS, name)(scores, previous), Thresholds)
    assert np.isfinite(build(THRESHOLDS, name).analysis(scores, previous).edges).all()


@every_strategy
@pytest.mark.parametrize("value", [0.0, 7.5, -4.0])
@pytest.mark.parametrize("previous", [None, Thresholds(0.0, 1.0)])
def test_constant_scores_are_not_anomalous(name, value, previous):
    assert "anomalous" not in build(THRESHOLDS, name)(np.full(30, value), previous).verdict(np.full(30, value))


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

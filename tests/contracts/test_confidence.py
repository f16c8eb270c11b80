"""One suite over every confidence: scores and thresholds in, [-1, 1] out."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.base.errors import ConfigError, DataError
from pipeline.base.registry import build
from pipeline.calibration.confidence import CONFIDENCES
from pipeline.calibration.thresholds.base import Thresholds

every_confidence = pytest.mark.parametrize("name", sorted(CONFIDENCES))
some_scores = arrays(np.float64, st.integers(1, 60), elements=st.integers(-9, 9) | st.floats(-1e6, 1e6, width=32))
some_cuts = st.integers(-9, 9) | st.floats(-1e6, 1e6) | st.sampled_from([-math.inf, math.inf])
some_thresholds = st.lists(some_cuts, min_size=2, max_size=2).map(lambda cuts: Thresholds(*sorted(cuts)))


@every_confidence
@given(scores=some_scores, thresholds=some_thresholds)
def test_it_lies_in_its_limits_and_agrees_with_the_verdict(name, scores, thresholds):
    confidence, verdict = build(CONFIDENCES, name)(scores, thresholds), thresholds.verdict(scores)
    assert confidence.dtype == np.float32 and confidence.shape == scores.shape
    assert (np.abs(confidence) <= 1).all()
    assert (confidence[verdict == "benign"] > 0).all()
    assert (confidence[verdict == "anomalous"] < 0).all()


@every_confidence
@given(scores=some_scores, thresholds=some_thresholds)
def test_it_never_rises_with_the_score(name, scores, thresholds):
    assert (np.diff(build(CONFIDENCES, name)(np.sort(scores), thresholds)) <= 0).all()


@every_confidence
@given(scores=some_scores, thresholds=some_thresholds, seed=st.integers(0, 99))
def test_each_record_keeps_its_place(name, scores, thresholds, seed):
    order = np.random.default_rng(seed).permutation(len(scores))
    confidence = build(CONFIDENCES, name)
    assert np.array_equal(confidence(scores[order], thresholds), confidence(scores, thresholds)[order])


@every_confidence
def test_no_scores_give_no_confidence(name):
    assert build(CONFIDENCES, name)([], Thresholds(0.0, 1.0)).shape == (0,)


@every_confidence
def test_nan_is_refused(name):
    with pytest.raises(DataError, match="NaN"):
        build(CONFIDENCES, name)([math.nan], Thresholds(0.0, 1.0))


@every_confidence
@settings(max_examples=30)
@given(scores=some_scores, thresholds=some_thresholds)
def test_tied_scores_are_equally_sure(name, scores, thresholds):
    confidence = build(CONFIDENCES, name)(scores, thresholds)
    assert all(len(set(confidence[scores == score])) == 1 for score in set(scores))


@every_confidence
def test_infinite_scores_are_sure(name):
    confidence = build(CONFIDENCES, name)([-math.inf, 0.5, math.inf], Thresholds(0.0, 1.0))
    assert confidence[0] == 1 and confidence[2] == -1


@every_confidence
def test_an_unknown_setting_is_refused_with_the_signature(name):
    with pytest.raises(ConfigError, match="unknown setting"):
        build(CONFIDENCES, name, no_such_setting=1)

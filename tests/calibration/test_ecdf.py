"""Confidence from ranks, alone and mixed with the verdict."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.base.errors import ConfigError
from pipeline.base.registry import build
from pipeline.calibration.confidence import CONFIDENCES, Binary, Ecdf, Hybrid, binary
from pipeline.calibration.thresholds.base import Thresholds

few = settings(max_examples=40)
some_scores = arrays(np.float64, st.integers(1, 60), elements=st.integers(-9, 9) | st.floats(-99, 99))
some_thresholds = st.lists(st.integers(-9, 9), min_size=2, max_size=2).map(lambda cuts: Thresholds(*sorted(cuts)))


def test_each_verdict_has_its_part_of_the_range():
    scores = [1.0, 2.0, 3.0, 4.0, 11.0, 12.0, 13.0, 21.0, 22.0]
    confidence = Ecdf()(scores, Thresholds(10.0, 20.0))
    assert confidence == pytest.approx([1, 0.875, 0.75, 0.625, 1 / 3, 0, -1 / 3, -0.75, -1])


@few
@given(scores=some_scores, thresholds=some_thresholds)
def test_the_verdict_can_be_read_from_it(scores, thresholds):
    confidence, verdict = Ecdf()(scores, thresholds), thresholds.verdict(scores)
    assert np.array_equal(
        np.where(confidence > 0.5, "benign", np.where(confidence < -0.5, "anomalous", "unknown")), verdict
    )


@few
@given(scores=some_scores, thresholds=some_thresholds)
def test_the_most_benign_and_the_most_anomalous_are_sure(scores, thresholds):
    confidence, verdict = Ecdf()(scores, thresholds), thresholds.verdict(scores)
    if (verdict == "benign").any():
        assert confidence[scores.argmin()] == 1
    if (verdict == "anomalous").any():
        assert confidence[scores.argmax()] == -1


@few
@given(scores=some_scores, thresholds=some_thresholds)
def test_the_unknown_ones_are_balanced(scores, thresholds):
    unknown = Ecdf()(scores, thresholds)[thresholds.verdict(scores) == "unknown"]
    assert unknown.sum() == pytest.approx(0, abs=1e-4)


@few
@given(scores=some_scores, thresholds=some_thresholds, scale=st.sampled_from([2.0, 1024.0]))
def test_the_unit_of_the_scores_does_not_matter(scores, thresholds, scale):
    scaled = Thresholds(scale * thresholds.low, scale * thresholds.high)
    assert np.array_equal(Ecdf()(scale * scores, scaled), Ecdf()(scores, thresholds))


@few
@given(scores=some_scores, thresholds=some_thresholds, weight=st.floats(0, 1))
def test_hybrid_lies_between(scores, thresholds, weight):
    ends = np.stack([Ecdf()(scores, thresholds), binary(scores, thresholds)])
    mixed = Hybrid(weight)(scores, thresholds)
    assert (ends.min(0) - 1e-6 <= mixed).all() and (mixed <= ends.max(0) + 1e-6).all()
    assert mixed == pytest.approx(weight * ends[0] + (1 - weight) * ends[1], abs=1e-6)


def test_the_ends_of_hybrid_are_what_it_mixes():
    scores, thresholds = np.linspace(0, 10, 50), Thresholds(4.0, 7.0)
    assert np.array_equal(Hybrid(1)(scores, thresholds), Ecdf()(scores, thresholds))
    assert np.array_equal(Hybrid(0)(scores, thresholds), Binary()(scores, thresholds))


@pytest.mark.parametrize("weight", [-0.1, 1.1, math.inf, True, "half"])
def test_a_weight_outside_its_limits_is_refused(weight):
    with pytest.raises(ConfigError, match="weight"):
        build(CONFIDENCES, "hybrid", weight=weight)

"""One threshold at first, two once the scores are drawn apart."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.base.errors import ConfigError, DataError
from pipeline.base.registry import build
from pipeline.calibration.thresholds.base import Thresholds
from pipeline.calibration.thresholds.registry import THRESHOLDS
from pipeline.calibration.thresholds.triangular import Triangular, corner

LATER = Thresholds(0.0, 0.0)


def furthest(counts):
    """The bin below the line with the greatest distance at right angles to it."""
    peak, end = int(np.argmax(counts)), int(np.flatnonzero(counts)[-1]) + 1
    start, way = np.array([peak, counts[peak]]), np.array([end - peak, -counts[peak]])
    distance = [(way[1] * (i - start[0]) - way[0] * (counts[i] - start[1])) / np.hypot(*way) for i in range(peak, end)]
    return peak + int(np.argmax(np.round(distance, 9))), max(distance)


def contaminated(far, n=3000, share=0.1, seed=0):
    random = np.random.default_rng(seed)
    attacks = random.normal(far, 1, size=int(n * share))
    return np.append(random.normal(size=n), attacks), np.arange(n + attacks.size) >= n


@given(counts=arrays(np.int64, st.integers(1, 40), elements=st.integers(0, 200)).filter(lambda counts: counts.any()))
def test_the_corner_is_furthest_from_the_line(counts):
    position, distance = furthest(counts)
    last = int(np.flatnonzero(counts)[-1])
    if distance > 1e-9:
        assert corner(counts) == position
    else:
        assert corner(counts) == (last if last < len(counts) - 1 else None)


@pytest.mark.parametrize(
    ("counts", "at"),
    [
        ([1, 9, 30, 12, 3, 1, 1, 1], 4),
        ([100, 5, 4, 3, 2, 1], 1),
        ([7, 0, 0], 0),
        ([7], None),
        ([1, 2, 3], None),
        ([5, 5, 5, 5], None),
    ],
)
def test_corners_that_can_be_seen(counts, at):
    assert corner(np.array(counts)) == at


@given(scores=arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e6, 1e6)))
def test_at_first_no_score_is_unknown(scores):
    thresholds = Triangular()(scores)
    assert thresholds.low == thresholds.high
    assert "unknown" not in thresholds.verdict(scores)


@pytest.mark.parametrize("previous", [None, LATER])
@pytest.mark.parametrize("far", [7.0, 8.0, 12.0, 1000.0])
@pytest.mark.parametrize("seed", range(3))
def test_planted_outliers_are_found(far, previous, seed):
    scores, attack = contaminated(far, seed=seed)
    verdict = Triangular()(scores, previous).verdict(scores)
    assert (verdict[attack] == "anomalous").mean() > 0.9
    assert (verdict[~attack] == "benign").mean() > 0.95
    assert (verdict[~attack] == "anomalous").mean() < 0.05


def test_later_the_valley_is_unknown():
    scores, attack = contaminated(8.0)
    thresholds = Triangular()(scores, LATER)
    assert scores[~attack].mean() + 1 < thresholds.low < thresholds.high < scores[attack].mean() - 1


def test_far_scores_do_not_hide_near_ones():
    scores, attack = contaminated(8.0)
    plain, far = Triangular()(scores, LATER), Triangular()(np.append(scores, [1e6, 1e9, 1e12]), LATER)
    assert (scores[attack] > far.low).mean() > 0.99
    assert plain.low - 1 < far.low < far.high < plain.high + 6
    published = Triangular(fence=None)(np.append(scores, [1e6, 1e9, 1e12]), LATER)
    assert published.low > scores.max()  # one bin holds all but three


def test_far_scores_are_not_taken_for_the_peak():
    scores, attack = contaminated(8.0, n=20_000, share=0.03)
    both = np.append(scores, np.random.default_rng(1).normal(1e6, 1, size=4500))  # more than in any bin of the others
    assert Triangular()(both).low < scores[attack].min()


@pytest.mark.parametrize("n", [300, 3000, 30_000])
@pytest.mark.parametrize("seed", range(4))
def test_a_symmetric_peak_is_not_cut_in_two(n, seed):
    scores = np.random.default_rng(seed).normal(size=n)
    for previous in (None, LATER):
        assert (Triangular()(scores, previous).verdict(scores) == "anomalous").mean() < 0.15


def test_one_skewed_mode_is_anomalous_from_the_middle():
    scores = np.random.default_rng(0).exponential(size=3000)
    first, later = Triangular()(scores), Triangular()(scores, LATER)
    assert later.low == first.low
    assert later.high == pytest.approx((scores.min() + scores.max()) / 2, rel=0.1)  # within a bin


def test_a_peak_at_the_end_leaves_nothing_to_be_anomalous():
    scores = -np.random.default_rng(0).exponential(size=3000)
    for previous in (None, LATER):
        assert "anomalous" not in Triangular()(scores, previous).verdict(scores)


def test_infinite_scores_are_judged_by_the_finite_ones():
    scores, _ = contaminated(8.0)
    thresholds = Triangular()(scores)
    assert Triangular()(np.append(scores, [math.inf, -math.inf])) == thresholds


@pytest.mark.parametrize("scores", [[math.inf], [math.inf, -math.inf]])
def test_nothing_but_infinite_scores_is_refused(scores):
    with pytest.raises(DataError, match="are infinite"):
        Triangular()(scores)


@pytest.mark.parametrize("fence", [0, -1.0])
def test_bad_settings_are_refused(fence):
    with pytest.raises(ConfigError, match="fence > 0"):
        build(THRESHOLDS, "triangular", fence=fence)


def test_the_fence_may_be_left_out_in_params():
    assert repr(build(THRESHOLDS, "triangular", fence=None)) == "Triangular(fence=None, anchor='beyond')"

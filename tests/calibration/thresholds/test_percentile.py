"""Two floats cut the line in three; percentiles are numpy's."""

import json
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.base.errors import ConfigError, DataError
from pipeline.base.registry import build
from pipeline.calibration.thresholds.base import Thresholds
from pipeline.calibration.thresholds.percentile import Percentile, percentiles
from pipeline.calibration.thresholds.registry import THRESHOLDS

any_number = st.floats(allow_nan=False)
cuts = st.lists(any_number, min_size=2, max_size=2).map(sorted)


@given(cuts=cuts, score=any_number)
def test_the_verdicts_partition_the_line(cuts, score):
    low, high = cuts
    holds = {"benign": score <= low, "unknown": low < score <= high, "anomalous": score > high}
    assert sum(holds.values()) == 1
    assert holds[Thresholds(low, high).verdict([score])[0]]


@given(cuts=cuts)
def test_intervals_survive_json(cuts):
    thresholds = Thresholds(*cuts)
    text = json.dumps(thresholds.intervals(), allow_nan=False)
    assert Thresholds.from_intervals(json.loads(text)) == thresholds


@given(cuts=cuts, score=st.floats(allow_nan=False, allow_infinity=False))
def test_intervals_tell_what_the_verdict_says(cuts, score):
    thresholds = Thresholds(*cuts)

    def holds(interval):
        left = -math.inf if interval["left"] is None else interval["left"]
        right = math.inf if interval["right"] is None else interval["right"]
        return left < score and (score <= right if interval["closed"] == "right" else score < right)

    found = [name for name, interval in thresholds.intervals().items() if interval and holds(interval)]
    assert found == [thresholds.verdict([score])[0]]


def test_intervals_as_they_are_written():
    assert Thresholds(1.0, 2.0).intervals() == {
        "benign": {"left": None, "right": 1.0, "closed": "right"},
        "unknown": {"left": 1.0, "right": 2.0, "closed": "right"},
        "anomalous": {"left": 2.0, "right": None, "closed": "neither"},
    }
    assert Thresholds(1.0, 1.0).intervals()["unknown"] is None


@pytest.mark.parametrize(
    "change",
    [
        {"unknown": None},
        {"benign": {"left": None, "right": 1.5, "closed": "right"}},
        {"anomalous": {"left": 2.0, "right": None, "closed": "left"}},
    ],
)
def test_intervals_that_do_not_meet_are_refused(change):
    with pytest.raises(ValueError, match="do not cut"):
        Thresholds.from_intervals(Thresholds(1.0, 2.0).intervals() | change)


def test_a_missing_interval_is_refused():
    with pytest.raises(ValueError, match="needs the intervals benign, unknown, anomalous"):
        Thresholds.from_intervals({"benign": None})


@pytest.mark.parametrize(("low", "high"), [(2.0, 1.0), (math.nan, 1.0), (0.0, math.nan), (math.inf, -math.inf)])
def test_thresholds_out_of_order_are_refused(low, high):
    with pytest.raises(ValueError, match="low <= high"):
        Thresholds(low, high)


def test_a_nan_score_has_no_verdict():
    with pytest.raises(DataError, match="position 2"):
        Thresholds(0.0, 1.0).verdict([0.0, 2.0, math.nan])


def test_float32_scores_are_not_compared_in_float32():
    score = np.array([0.1], dtype=np.float32)  # 0.1 rounded up
    assert Thresholds(0.1, 0.1).verdict(score)[0] == "anomalous"


@settings(max_examples=50)
@given(
    scores=arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e6, 1e6)),
    levels=st.lists(st.floats(0, 100), min_size=2, max_size=2).map(sorted),
)
def test_percentiles_are_those_of_numpy(scores, levels):
    thresholds = Percentile(*levels)(scores)
    assert [thresholds.low, thresholds.high] == pytest.approx(np.percentile(scores, levels))


@settings(max_examples=50)
@given(
    scores=arrays(np.float64, st.integers(20, 200), elements=st.floats(-1e6, 1e6), unique=True),
    high=st.floats(50, 100),
)
def test_at_most_the_promised_share_of_the_fitted_scores_is_anomalous(scores, high):
    thresholds = Percentile(low=50, high=high)(scores)
    assert (thresholds.verdict(scores) == "anomalous").sum() <= math.ceil(len(scores) * (1 - high / 100))


@given(scores=arrays(np.float64, 30, elements=st.floats(-1e6, 1e6)), level=st.floats(0, 100))
def test_percentiles_rise_with_their_level(scores, level):
    assume(level <= 99)
    first, second = percentiles(scores, [level, level + 1])
    assert first <= second


def test_infinite_scores_take_the_higher_neighbour():
    assert Percentile(50, 100)([0.0, math.inf, math.inf, math.inf]) == Thresholds(math.inf, math.inf)
    assert Percentile(0, 50)([-math.inf, -math.inf, 0.0]) == Thresholds(-math.inf, -math.inf)


@pytest.mark.parametrize("settings", [{"low": 99, "high": 95}, {"low": -1}, {"high": 101}, {"low": math.nan}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValueError, match="0 <= low <= high <= 100"):
        Percentile(**settings)
    with pytest.raises(ConfigError, match="percentile"):
        build(THRESHOLDS, "percentile", **settings)

"""What the tests promise under exchangeability, what they find, and how far thresholds can be pulled."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import binom, false_discovery_control, kstest

from pipeline.base.errors import DataError, SplitError
from pipeline.calibration.decisions import Promise
from pipeline.evaluation import alarm_share, drift, martingale
from pipeline.evaluation.drift import Change
from pipeline.evaluation.recalibration import Recalibration
from pipeline.settings.retraining import DriftLimits

LIMITS = DriftLimits(alpha=0.01, small=0.05, large=0.2, features=0.25, alarms=3.0)
LEVELS = {"looks": 0.05, "body": 0.25, "step": 2.0}
ALPHAS = np.array([0.05, 0.03, 0.01])
METHODS = ("lower", "higher")


def surprise(random, n):
    """The fused score of benign records: the sum of two exponential surprises."""
    return random.gamma(2.0, size=n)


def at_most(share, n):
    """How often an event of this probability happens among n at most, but once in a million times."""
    return binom.ppf(1 - 1e-6, n, share)


# Has it changed?


def test_a_score_looks_benign_below_the_cut_where_its_p_value_is_above_the_level():
    random = np.random.default_rng(0)
    reference, scores = surprise(random, 997), surprise(random, 5000)
    for level in (0.004, 0.05, 0.5):
        p = (1 + (reference >= scores[:, None]).sum(1)) / 998
        np.testing.assert_array_equal(scores < drift.cut(reference, level), p > level)


def test_few_scores_have_no_small_p_values():
    with pytest.raises(SplitError, match=r"99 calibration scores cannot tell a p-value of 0\.001"):
        drift.cut(np.arange(99.0), 0.001)


def test_without_a_change_any_quantity_is_rejected_as_seldom_as_promised():
    random, rejected = np.random.default_rng(1), 0
    for _ in range(300):
        shared = random.standard_normal((250, 1))  # features that depend on each other
        x = np.hstack([shared + 0.3 * random.standard_normal((250, 10)), shared.round()])
        then, now = ({str(i): column for i, column in enumerate(part.T)} for part in (x[:150], x[150:]))
        rejected += any(change.p_value <= 0.1 for change in drift.compare(then, now))
    assert rejected <= at_most(0.1, 300)


def test_the_selection_of_what_looks_benign_rejects_nothing_by_itself():
    random, rejected = np.random.default_rng(2), 0
    for _ in range(300):
        reference, recent = surprise(random, 400), surprise(random, 300)
        edge = drift.cut(reference, 0.2)
        (change,) = drift.compare({"score": reference[reference < edge]}, {"score": recent[recent < edge]})
        rejected += change.p_value <= 0.05
    assert rejected <= at_most(0.05, 300)


def test_a_change_is_found_and_measured_where_it_is():
    random = np.random.default_rng(3)
    then = {"same": random.normal(size=4000), "moved": random.normal(size=4000), "seldom": np.zeros(4000)}
    now = {
        "same": random.normal(size=3000),
        "moved": random.normal(1.0, size=3000),
        "seldom": np.where(np.arange(3000) < 900, np.nan, 0.0),  # missing in 30 %
    }
    same, moved, seldom = drift.compare(then, now)
    assert (same.name, same.reference, same.recent) == ("same", 4000, 3000)
    assert not same.exceeds(0.01, 0.0)
    assert moved.exceeds(1e-9, 0.35) and not moved.exceeds(0.01, 0.42)  # 2 Phi(1/2) - 1 = 0.383
    assert seldom.distance == pytest.approx(0.3)
    assert seldom.p_value < 1e-9


def test_significance_without_size_is_no_change():
    random = np.random.default_rng(4)
    (change,) = drift.compare({"score": random.random(400_000)}, {"score": random.random(400_000) + 0.01})
    assert change.p_value < 1e-6
    assert not change.exceeds(0.01, 0.05)


def test_infinite_values_have_their_place():
    (change,) = drift.compare({"rate": [1.0, math.inf, 2.0, math.inf]}, {"rate": [1.0, 1.0, 2.0, 2.0]})
    assert change.distance == 0.5


def test_nothing_to_compare_is_refused():
    with pytest.raises(SplitError, match="'score' has 3 calibration and 0 recent values"):
        drift.compare({"score": [1.0, 2.0, 3.0]}, {"score": []})


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@example([0.01, 0.01, 0.03])
def test_holm_by_its_definition(p):
    order = sorted(range(len(p)), key=lambda i: p[i])
    for alpha in (0.01, 0.05, 0.3):
        rejected = set()
        for step, i in enumerate(order):
            if p[i] * (len(p) - step) > alpha:
                break
            rejected.add(i)
        assert {i for i, value in enumerate(drift.holm(p)) if value <= alpha} == rejected


def test_the_first_step_of_holm_is_milder_than_that_of_benjamini_and_yekutieli():
    p = np.concatenate([[0.0005], np.full(79, 0.9)])
    assert drift.holm(p)[0] <= 0.05 < false_discovery_control(p, method="by")[0]


# What to do about it.


def change(distance, p_value=0.0, name="score"):
    return Change(name, distance, p_value, 1000, 1000)


@pytest.mark.parametrize(
    ("score", "features", "martingale", "outcome", "reason"),
    [
        (change(0.01), [], 0.0, "stable", "below 0.05"),
        (change(0.3, p_value=0.02), [], 0.0, "stable", "chance"),
        (change(0.1), [], 0.0, "recalibrate", "0.100, 0.05 or more"),
        (change(0.1, p_value=0.5), [], math.log(101), "recalibrate", "0.05 or more"),
        (change(0.1, p_value=0.5), [], math.log(99), "stable", "chance"),
        (change(0.2), [], 0.0, "train", "0.2 or more"),
        (change(0.01), [change(0.3, name="a"), *[change(0.0)] * 3], 0.0, "train", "1 of 4 features"),
        (change(0.01), [change(0.3, name="a"), *[change(0.0)] * 4], 0.0, "stable", "below"),
        (change(0.01), [change(0.3, 0.9, "a"), change(0.1)], 0.0, "stable", "below"),
    ],
)
def test_a_change_has_three_outcomes(score, features, martingale, outcome, reason):
    decided, why = drift.decide(score, features, martingale, LIMITS)
    assert decided == outcome
    assert reason in why


@pytest.mark.parametrize(
    ("distance", "alarms", "outcome"),
    [
        (0.01, 30, "stable"),
        (0.01, 300, "attacks"),
        (0.1, 30, "recalibrate"),
        (0.1, 300, "unknown"),
        (0.5, 300, "unknown"),
    ],
)
def test_far_more_alarms_than_promised_are_never_stable_and_move_nothing(distance, alarms, outcome):
    flagged = np.arange(3000) < alarms
    counted = alarm_share.counted({"p99": flagged}, {"p99": [Promise(3000, 0.01, 5000)]})
    assert counted[0].low < 30 < counted[0].high and counted[0].alarms == alarms
    assert drift.decide(change(distance), [], 0.0, LIMITS, counted)[0] == outcome


# Since when?


def test_p_values_are_uniform_and_independent_also_with_ties():
    random = np.random.default_rng(5)
    p = np.concatenate([
        martingale.p_values(scores[:60], scores[60:], seed)
        for seed, scores in enumerate(random.integers(0, 6, (60, 100)).astype(float))
    ])  # fmt: skip
    assert kstest(p, "uniform").pvalue > 1e-4
    assert abs(np.corrcoef(p[:-1], p[1:])[0, 1]) < 4 / math.sqrt(p.size)


def test_p_values_are_ranks_among_all_before():
    p = martingale.p_values([1.0, 2.0, 3.0, 4.0], [2.5, 9.0, 0.0], seed=0)
    assert np.floor(p * [5, 6, 7]).tolist() == [2, 0, 6]


def test_a_seed_makes_the_draws_of_ties_repeatable():
    same, other = (martingale.p_values([1.0] * 5, [1.0] * 9, seed) for seed in (0, 1))
    np.testing.assert_array_equal(same, martingale.p_values([1.0] * 5, [1.0] * 9, 0))
    assert (same != other).any()


@pytest.mark.parametrize("rate", [0.01, 0.5])
def test_the_martingale_seldom_alarms_under_exchangeability(rate):
    random, alarms = np.random.default_rng(6), 0
    for seed in range(400):
        scores = surprise(random, 300).round(1)  # a short calibration, with ties
        alarms += martingale.jumper(martingale.p_values(scores[:100], scores[100:], seed), rate).max() >= math.log(20)
    assert alarms <= at_most(1 / 20, 400)


def test_the_capital_is_a_fair_game():
    random = np.random.default_rng(7)
    final = [math.exp(martingale.jumper(random.random(20))[-1]) for _ in range(4000)]
    assert abs(np.mean(final) - 1) < 5 * np.std(final) / math.sqrt(4000)


@pytest.mark.parametrize("shift", [0.5, -0.5])
def test_the_martingale_finds_a_shift_and_when(shift):
    random = np.random.default_rng(8)
    reference, recent = surprise(random, 3000), surprise(random, 3000)
    recent[1000:] += shift
    path = martingale.jumper(martingale.p_values(reference, recent, seed=0))
    assert path[:1000].max() < math.log(100)
    assert 1000 < np.argmax(path >= math.log(100)) < 1600


def test_a_long_and_extreme_game_stays_finite():
    path = martingale.jumper(np.concatenate([np.zeros(20_000), np.ones(20_000)]))
    assert np.isfinite(path).all()
    assert path.max() > 5000


@pytest.mark.parametrize("rate", [0.0, 1.5])
def test_a_rate_is_a_share(rate):
    with pytest.raises(ValueError, match="needs a rate in"):
        martingale.jumper([0.5], rate)


# How far may the thresholds follow?


def recalibrated(reference, recent, **given):
    moved = Recalibration.fit(reference, recent, **{**LEVELS, **given})
    old = np.quantile(reference, 1 - ALPHAS)
    return moved, old, np.array(moved.move(old))


def test_the_same_scores_move_nothing():
    scores = surprise(np.random.default_rng(9), 4000)
    moved, old, new = recalibrated(scores, scores)
    assert moved.ratio == pytest.approx(1)
    np.testing.assert_array_equal(moved.new, moved.old)
    np.testing.assert_allclose(new, old)


@pytest.mark.parametrize("shift", [-0.4, 0.4])
def test_thresholds_follow_a_shift_in_spite_of_the_truncation(shift):
    random = np.random.default_rng(10)
    reference, clean = surprise(random, 40_000), surprise(random, 200_000) + shift
    _, old, new = recalibrated(reference, surprise(random, 20_000) + shift)
    before, after = ((clean[:, None] > cuts).mean(0) / ALPHAS for cuts in (old, new))
    assert (np.abs(np.log(before)) > np.log(1.25)).all()
    assert (np.abs(np.log(after)) < np.log(1.18)).all()


def test_no_change_stays_no_change_however_often_thresholds_are_set_anew():
    """Thresholds that were quantiles of what looks benign would sink a little each time."""
    random = np.random.default_rng(11)
    reference = surprise(random, 10_000)
    for _ in range(12):
        reference = Recalibration.fit(reference, surprise(random, 10_000), **LEVELS).new
    clean = surprise(random, 200_000)
    realised = (clean[:, None] > np.quantile(reference, 1 - ALPHAS)).mean(0)
    assert (np.abs(np.log(realised / ALPHAS)) < np.log(1.35)).all()


def _odds(p):
    return np.maximum(p, 0) / (1 + 1 / 1501 - p)


places = st.lists(st.floats(-50, 50), min_size=1, max_size=5)


@given(
    seed=st.integers(0, 10_000),
    share=st.floats(0, 0.9),
    where=places,
    step=st.floats(1.05, 4),
    digits=st.sampled_from([1, 9]),
)
@example(seed=0, share=0.9, where=[3.0], step=1.5, digits=9)
@example(seed=0, share=0.9, where=[-50.0], step=1.5, digits=9)
def test_no_traffic_moves_a_threshold_beyond_the_cap(seed, share, where, step, digits):
    random = np.random.default_rng(seed)
    reference = surprise(random, 1500).round(digits)
    recent = surprise(random, 1000).round(digits)
    recent[: int(share * 1000)] = np.resize(where, int(share * 1000))
    moved, old, new = recalibrated(reference, recent, step=step)
    assert (np.diff(moved.new) >= 0).all() and (np.diff(new) >= 0).all()
    scores = np.unique(np.concatenate([reference, new]))
    before, after = (
        (1 + len(each) - np.searchsorted(each, scores)) / (len(each) + 1) for each in (moved.old, moved.new)
    )
    slack = 1.5 / 1501  # p-values are whole ranks
    assert (_odds(after - slack) <= step * _odds(before)).all()
    assert (_odds(before - slack) <= step * _odds(after)).all()
    alphas = (reference[:, None] > old).mean(0)
    levels = alphas * step + slack, np.maximum(alphas / step - slack, 0)
    lowest, highest = (np.quantile(reference, 1 - level, method=m) for level, m in zip(levels, METHODS, strict=True))
    assert (lowest <= new).all() and (new <= highest).all()


@given(seed=st.integers(0, 10_000), where=places)
@example(seed=1, where=[3.0])
def test_a_tenth_of_the_traffic_moves_the_realised_rate_within_the_stated_bound(seed, where):
    random = np.random.default_rng(seed)
    share, window = 0.1, 0.2
    reference, recent = surprise(random, 20_000), surprise(random, 10_000)
    recent[:1000] = np.resize(where, 1000)
    moved, _, new = recalibrated(reference, recent)
    realised = (1 + new) * np.exp(-new) / ALPHAS  # the survival of the gamma distribution
    lowest, highest = 1 / (1 + share / (window * (1 - share))), 1 / (1 - share)
    noise = 1 + 5 * np.sqrt(1 / (20_000 * ALPHAS) + 1 / (10_000 * window))
    assert 1 - share - 0.1 < moved.ratio < 1 + share / (window * (1 - share)) + 0.1
    assert (realised < highest * noise).all()
    assert (realised > lowest / noise).all()


def test_thresholds_beyond_the_scores_stay():
    reference = np.arange(1.0, 1001.0)
    moved = Recalibration.fit(reference, reference * 0.9, **LEVELS)
    low, middle, high = moved.move([0.5, 900.0, 2000.0])
    assert (low, high) == (0.5, 2000.0)
    assert middle < 900


def test_infinite_scores_move_no_threshold_to_infinity():
    """The cascade calls a record that the first stage is sure of infinitely anomalous."""
    random = np.random.default_rng(12)
    reference = np.concatenate([surprise(random, 1980), np.full(20, math.inf)])
    moved = Recalibration.fit(reference, surprise(random, 1000) + 2, **LEVELS)
    thresholds = moved.move([5.0, float(np.sort(reference)[-21])])
    assert np.isfinite(thresholds).all()
    assert thresholds[0] <= thresholds[1]


@pytest.mark.parametrize(
    ("recent", "error", "said"),
    [(np.full(9, 99.0), SplitError, "0 of 9 recent records look benign"), ([math.nan], DataError, "are NaN")],
)
def test_what_cannot_be_recalibrated_is_refused(recent, error, said):
    with pytest.raises(error, match=said):
        Recalibration.fit(np.arange(100.0), recent, **LEVELS)


def test_scores_that_are_all_equal_leave_no_window():
    with pytest.raises(SplitError, match=r"0.0% of the calibration scores"):
        Recalibration.fit(np.zeros(100), np.full(50, -1.0), **LEVELS)


@pytest.mark.parametrize("given_", [{"looks": 0.3}, {"step": 1.0}, {"body": 1.0}])
def test_levels_out_of_order_are_refused(given_):
    with pytest.raises(ValueError, match="looks < body < 1 < step"):
        Recalibration.fit(np.arange(100.0), np.arange(100.0), **{**LEVELS, **given_})

"""The guarantee holds, no more is lost than it costs, and it is refused where it cannot be given."""

import inspect
import math
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binom

from pipeline.base.errors import ConfigError, DataError, SplitError
from pipeline.base.registry import build
from pipeline.calibration.thresholds.base import VERDICTS, Thresholds
from pipeline.calibration.thresholds.conformal import Conformal, Guarantee, interval
from pipeline.calibration.thresholds.registry import THRESHOLDS

MARGINAL, PAC = Guarantee(), Guarantee("pac", 0.9)
DRAWS = 4000
CHANCE = 1e-6  # of a bound of a simulation; its seed is fixed, so that it is one draw of luck at most
every_guarantee = pytest.mark.parametrize("guarantee", [MARGINAL, PAC], ids=["marginal", "pac"])
three_risks = pytest.mark.parametrize("risk", [0.01, 0.05, 0.1])
risks = st.integers(1, 99).map(lambda percent: percent / 100)
some_scores = arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1.0]))


def exchangeable(kind, shape, seed=0):
    """(draws, n) scores, each row exchangeable."""
    random = np.random.default_rng(seed)
    draws, n = shape
    if kind == "dependent":  # all records of a draw share a shift
        return random.normal(size=shape) + 3 * random.normal(size=(draws, 1))
    if kind == "without replacement":  # from few records, most of which tie
        return random.permuted(np.tile(np.arange(n) // 4, (draws, 1)), axis=1).astype(float)
    return random.standard_cauchy(size=shape) if kind == "heavy" else random.poisson(2, size=shape).astype(float)


def thresholds_of(scores, risk, guarantee=MARGINAL):
    """(draws,) thresholds of (draws, n) scores."""
    return np.array([guarantee.threshold(row, risk) for row in scores])


# Validity.


@three_risks
@pytest.mark.parametrize("kind", ["heavy", "dependent", "tied", "without replacement"])
@pytest.mark.parametrize("spare", [0, 230])
def test_a_new_benign_record_exceeds_the_threshold_as_often_as_the_risk_says(kind, risk, spare):
    n = MARGINAL.records_needed(risk) + spare
    scores = exchangeable(kind, (DRAWS, n + 1))
    exceeding = int((scores[:, -1] > thresholds_of(scores[:, :-1], risk)).sum())
    assert exceeding <= binom.isf(CHANCE, DRAWS, risk)
    if kind in ("heavy", "dependent"):  # no ties: the share is known, and no less than one record below the risk
        share = MARGINAL.rank(n, risk) / (n + 1)
        assert risk - 1 / (n + 1) < share <= risk + 1e-12
        assert exceeding >= binom.ppf(CHANCE, DRAWS, share)


@three_risks
@pytest.mark.parametrize("certainty", [0.9, 0.99])
def test_the_benign_fpr_is_within_the_risk_as_often_as_pac_is_certain(risk, certainty):
    pac = Guarantee("pac", certainty)
    scores = np.random.default_rng(1).random((DRAWS, pac.records_needed(risk) + 100))
    within = {kind: int((1 - thresholds_of(scores, risk, kind) <= risk).sum()) for kind in (pac, MARGINAL)}
    assert within[pac] >= binom.ppf(CHANCE, DRAWS, certainty)
    assert within[MARGINAL] < binom.ppf(CHANCE, DRAWS, certainty)  # which holds on average alone


@three_risks
def test_pac_holds_with_ties(risk):
    scores = np.random.default_rng(2).geometric(0.3, size=(DRAWS, 400))
    fpr = 0.7 ** thresholds_of(scores, risk, PAC)
    assert (fpr <= risk).sum() >= binom.ppf(CHANCE, DRAWS, PAC.certainty)


@three_risks
@every_guarantee
def test_a_block_shift_loses_the_guarantee_and_shuffling_brings_it_back(risk, guarantee):
    random = np.random.default_rng(3)
    n = 2 * PAC.records_needed(risk) + 100
    scores = random.normal(size=(DRAWS // 2, n + 1)) + np.append(np.zeros(n // 2), np.full(n + 1 - n // 2, 1.5))

    def exceeding(blocks, m):
        return int((blocks[:, -1] > thresholds_of(blocks[:, :m], risk, guarantee)).sum())

    assert exceeding(scores, n // 2) > 2 * binom.isf(CHANCE, DRAWS // 2, risk)
    assert exceeding(random.permuted(scores, axis=1), n) <= binom.isf(CHANCE, DRAWS // 2, risk)


def test_a_slow_drift_loses_more_the_longer_it_lasts():
    scores = np.random.default_rng(4).normal(size=60_000) + np.linspace(0, 2, 60_000)
    threshold = MARGINAL.threshold(scores[:10_000], 0.01)
    fpr = (scores[10_000:].reshape(5, -1) > threshold).mean(axis=1)
    assert (np.diff(fpr) > 0).all() and fpr[0] > interval(10_000, 0.01, tested=10_000)[1]


# Which of the scores it is.


@given(n=st.integers(1, 3000), percent=st.integers(1, 99))
def test_the_marginal_threshold_is_the_order_statistic_of_the_formula(n, percent):
    k = math.ceil((1 - Fraction(percent, 100)) * (n + 1))
    assert MARGINAL.rank(n, percent / 100) == max(0, n + 1 - k)


@given(n=st.integers(1, 3000), risk=risks, certainty=st.floats(0.5, 0.999))
def test_the_pac_threshold_is_the_lowest_order_statistic_that_is_certain_enough(n, risk, certainty):
    rank = Guarantee("pac", certainty).rank(n, risk)
    assert 0 <= rank <= n
    assert rank == 0 or binom.sf(rank - 1, n, risk) >= certainty - 1e-9
    assert rank == n or binom.sf(rank, n, risk) < certainty + 1e-9


@settings(max_examples=40)
@given(scores=some_scores, score=st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1.0]), risk=risks)
def test_a_score_exceeds_the_threshold_where_its_p_value_is_within_the_risk(scores, score, risk):
    if MARGINAL.rank(scores.size, risk):
        p_value = Fraction(1 + int((scores >= score).sum()), scores.size + 1)
        assert (score > MARGINAL.threshold(scores, risk)) == (p_value <= Fraction(str(risk)))


@settings(max_examples=40)
@given(scores=some_scores, risk=risks, more=risks)
@every_guarantee
def test_a_higher_risk_lowers_the_threshold_and_certainty_raises_it(guarantee, scores, risk, more):
    low, high = sorted((risk, more))
    if guarantee.rank(scores.size, low):
        assert guarantee.threshold(scores, high) <= guarantee.threshold(scores, low) <= scores.max()
        assert guarantee.threshold(scores, low) >= MARGINAL.threshold(scores, low)


@every_guarantee
@pytest.mark.parametrize("n", [19, 200, 4000])
def test_nothing_exceeds_the_threshold_of_tied_scores(guarantee, n):
    tied = np.full(n, 2.5)
    assert guarantee.threshold(tied, 0.5) == 2.5
    assert Conformal(0.5, guarantee=guarantee.kind)(tied) == Thresholds(2.5, 2.5)
    assert (Conformal()(tied).verdict(tied) == "benign").all()


# Too few scores.


@every_guarantee
@pytest.mark.parametrize("n", [1, 2, 6, 49, 1000, 123_457, 10**7])
def test_the_smallest_risk_is_supported_and_no_smaller_one_is(guarantee, n):
    smallest = guarantee.smallest_risk(n)
    assert guarantee.rank(n, smallest) == 1
    assert guarantee.rank(n, smallest * (1 - 1e-9)) == 0
    assert guarantee.records_needed(smallest) == n


@settings(max_examples=40)
@given(percent=st.integers(1, 999))
@every_guarantee
def test_as_many_as_are_needed_are_enough_and_one_less_is_not(guarantee, percent):
    risk = percent / 1000
    needed = guarantee.records_needed(risk)
    assert guarantee.rank(needed, risk) >= 1 and (needed == 1 or guarantee.rank(needed - 1, risk) == 0)


def test_known_numbers_of_records():
    assert [MARGINAL.records_needed(risk) for risk in (0.001, 0.01, 0.05)] == [999, 99, 19]
    assert [Guarantee("pac").records_needed(risk) for risk in (0.001, 0.01, 0.05)] == [2995, 299, 59]  # Wilks 1941


@pytest.mark.parametrize(
    ("asked", "benign", "attack", "said"),
    [
        ({"risk": 0.01}, 50, 0, "50 benign calibration scores support no risk below 0.0197 .*0.01; .*at least 99 "),
        ({"risk": 0.01, "guarantee": "pac"}, 50, 0, "below 0.0582 .*certainty of 0.95.*0.01; .*at least 299 "),
        ({"doubt": 0.01}, 20, 0, "20 benign .*no doubt below 0.0477 .*0.01; .*at least 99 of them: .*higher doubt"),
        ({"risk": 0.1, "miss": 0.05}, 50, 7, "7 scores of seen attacks support no miss below 0.125 .*at least 19 "),
    ],
)
def test_too_few_scores_are_refused_with_what_they_support_and_what_is_needed(asked, benign, attack, said):
    with pytest.raises(SplitError, match=said):
        Conformal(**asked).of(np.arange(benign), np.arange(attack))


@settings(max_examples=40)
@given(n=st.integers(1, 2000))
@every_guarantee
def test_what_the_refusal_says_is_supported(guarantee, n):
    with pytest.raises(SplitError) as caught:
        guarantee.require(n, guarantee.smallest_risk(n) / 2)
    smallest = float(re.search(r"below (\S+)", str(caught.value))[1])
    needed = int(re.search(r"at least (\S+)", str(caught.value))[1].replace(",", ""))
    assert guarantee.require(n, smallest) >= 1 and guarantee.require(needed, guarantee.smallest_risk(n) / 2) == 1


def test_no_scores_are_refused():
    with pytest.raises(SplitError, match="0 calibration scores support no risk "):
        interval(0, 0.1)
    with pytest.raises(SplitError, match="benign calibration scores: no scores"):
        Conformal().of([], [1.0, 2.0])


# The interval of the realised FPR.


@three_risks
@every_guarantee
@pytest.mark.parametrize("tested", [None, 700])
def test_the_realised_fpr_lies_in_its_interval_as_often_as_it_is_certain(risk, guarantee, tested):
    random = np.random.default_rng(5)
    fpr = 1 - thresholds_of(random.random((DRAWS, 600)), risk, guarantee)
    low, high = interval(600, risk, 0.9, guarantee, tested)
    realised = fpr if tested is None else random.binomial(tested, fpr) / tested
    inside = int(((low <= realised) & (realised <= high)).sum())
    assert inside >= binom.ppf(CHANCE, DRAWS, 0.9)
    assert tested or inside <= binom.isf(CHANCE, DRAWS, 0.9)  # counts are coarse: more of them lie in their interval


def test_the_interval_of_the_example():
    low, high = interval(500, 0.01)
    assert (round(100 * low, 1), round(100 * high, 1)) == (0.3, 2.0)


@settings(max_examples=40)
@given(n=st.integers(200, 5000), risk=st.floats(0.01, 0.5))
def test_the_interval_narrows_with_certainty_and_widens_with_a_test(n, risk):
    wide, narrow, tested = interval(n, risk, 0.99), interval(n, risk, 0.5), interval(n, risk, 0.99, tested=300)
    assert 0 < wide[0] < narrow[0] < narrow[1] < wide[1] < 1
    assert tested[1] - tested[0] > wide[1] - wide[0] - 2 / 300


@pytest.mark.parametrize("bad", [{"risk": 0.0}, {"certainty": 1.0}, {"certainty": math.nan}, {"tested": 0}])
def test_an_interval_of_nothing_is_refused(bad):
    with pytest.raises(ValueError, match=f"needs .*{[*bad][-1]}"):
        interval(**{"n": 100, "risk": 0.1} | bad)


# Verdicts.


@settings(max_examples=40)
@given(
    benign=some_scores,
    attack=some_scores | st.none(),
    asked=st.lists(st.none() | st.floats(0.5, 0.99), min_size=2, max_size=2),  # a single score supports it
    new=some_scores,
)
def test_the_verdicts_partition_the_scores(benign, attack, asked, new):
    thresholds = Conformal(risk=asked[0], miss=asked[1]).of(benign, attack)
    verdict = thresholds.verdict(new)
    holds = np.array([new <= thresholds.low, (thresholds.low < new) & (new <= thresholds.high), new > thresholds.high])
    assert (holds.sum(axis=0) == 1).all()
    assert (np.array(VERDICTS)[holds.argmax(axis=0)] == verdict).all()


@settings(max_examples=40)
@given(benign=some_scores, attack=some_scores | st.none(), new=some_scores, seed=st.integers(0, 99))
def test_verdicts_do_not_change_under_a_strictly_increasing_map(benign, attack, new, seed):
    line = np.unique(np.concatenate([part for part in (benign, attack, new) if part is not None]))
    to = np.cumsum(np.random.default_rng(seed).exponential(size=line.size) + 1e-3) ** 3 - 40

    def there(scores):
        return None if scores is None else to[np.searchsorted(line, scores)]

    strategy = Conformal(0.5, 0.7, 0.5)
    here, mapped = strategy.of(benign, attack), strategy.of(there(benign), there(attack))
    assert (here.verdict(new) == mapped.verdict(there(new))).all()
    assert mapped.high == there(np.array([here.high]))[0]


@three_risks
def test_seen_attacks_are_missed_at_most_as_often_as_allowed(risk):
    random = np.random.default_rng(6)
    missed = alarms = 0
    for attack, benign in zip(
        random.poisson(6, (DRAWS, 200)).astype(float), random.poisson(1, (DRAWS, 120)).astype(float), strict=True
    ):
        thresholds = Conformal(risk, miss=risk).of(benign[:-1], attack[:-1])
        missed += int(attack[-1] <= thresholds.low)
        alarms += int(benign[-1] > thresholds.high)
    assert missed <= binom.isf(CHANCE, DRAWS, risk) and alarms <= binom.isf(CHANCE, DRAWS, risk)


def test_low_is_that_of_the_seen_attacks_or_of_benign_records_where_none_was_seen():
    benign, attack = np.arange(99.0), np.arange(50.0, 149.0)
    strategy = Conformal(risk=0.01, doubt=0.05, miss=0.1)
    assert strategy(benign) == strategy.of(benign, []) == Thresholds(94.0, 98.0)
    mixed = strategy.of(benign, attack)
    assert mixed.verdict([59.0, 60.0 - 1e-9]).tolist() == ["unknown", "unknown"]  # the tenth attack is not missed
    assert (attack <= mixed.low).sum() == 9 and mixed.high == 98.0


def test_far_attacks_leave_no_doubt_and_unlike_benign_is_anomalous():
    benign = np.arange(99.0)
    thresholds = Conformal(risk=0.05, miss=0.05).of(benign, 1000 + benign)
    assert thresholds == Thresholds(94.0, 94.0)
    assert thresholds.verdict([500.0])[0] == "anomalous"


def test_an_attack_that_ties_with_benign_records_is_not_missed():
    thresholds = Conformal(risk=0.5, miss=0.5).of(np.zeros(9), np.zeros(9))
    assert thresholds.verdict([0.0])[0] == "unknown"


def test_without_settings_the_highest_score_is_the_threshold():
    assert Conformal()([3.0, 1.0, 2.0]) == Thresholds(3.0, 3.0)
    assert Conformal(risk=0.25)([3.0, 1.0, 2.0]) == Thresholds(3.0, 3.0)


# Settings.


@pytest.mark.parametrize(
    "bad",
    [
        {"risk": 0.0},
        {"risk": 1.0},
        {"risk": math.nan},
        {"doubt": -0.1},
        {"miss": 1.5},
        {"risk": 0.05, "doubt": 0.01},
        {"guarantee": "sure"},
        {"certainty": 1.0},
    ],
)
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValueError, match="needs "):
        Conformal(**bad)
    with pytest.raises(ConfigError, match=f"conformal.*{[*bad][-1]}"):
        build(THRESHOLDS, "conformal", **bad)


def test_nan_is_refused_with_its_class():
    with pytest.raises(DataError, match="seen attacks: 1 of 2 scores are NaN"):
        Conformal().of([1.0], [math.nan, 1.0])


def test_params_hold_every_setting():
    shipped = yaml.safe_load((Path(__file__).parents[3] / "params.yaml").read_text())["calibrate"]["conformal"]
    assert shipped.keys() == inspect.signature(Conformal).parameters.keys()
    strategy = build(THRESHOLDS, "conformal", **shipped)
    assert repr(strategy) == f"Conformal({', '.join(f'{key}={value!r}' for key, value in shipped.items())})"

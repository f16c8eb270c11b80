"""Peaks over threshold: the fit is the distribution's, and the risk is met."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import genpareto

from pipeline.base.errors import ConfigError, DataError
from pipeline.base.registry import build
from pipeline.calibration.thresholds.base import Thresholds
from pipeline.calibration.thresholds.evt import EVT
from pipeline.calibration.thresholds.pareto import GeneralisedPareto
from pipeline.calibration.thresholds.registry import THRESHOLDS

PREPRINT = {"q": 0.01, "u": "quantile", "quantile": 0.8}
SLIDES = {"q": 0.001, "u": "iqr", "alpha": 1.5}
shapes = st.floats(-0.9, -1e-3) | st.floats(1e-3, 2) | st.just(0.0)  # scipy loses its digits nearer to 0


def likelihood(x, tail):
    return genpareto.logpdf(x, tail.xi, scale=tail.sigma).sum()


@pytest.mark.parametrize("published", [PREPRINT, SLIDES], ids=["preprint", "slides"])
@pytest.mark.parametrize("xi", [-0.3, 0.0, 0.3])
def test_the_risk_is_met_on_draws_that_were_not_fitted(published, xi):
    q, n, fits = published["q"], 20_000, 12
    exceeding = 0
    for seed in range(fits):
        first, second = genpareto.rvs(xi, size=(2, n), random_state=np.random.default_rng(seed))
        exceeding += int((second > EVT(**published)(first).high).sum())
    # A fit errs by about as much as the share of its own n draws does, on top of the chance of the second draws.
    deviation = math.sqrt(2 * fits * n * q * (1 - q))
    assert abs(exceeding - fits * n * q) < 4 * deviation


def test_high_is_the_published_formula():
    scores = np.random.default_rng(0).exponential(size=5000)
    thresholds = EVT(**PREPRINT)(scores)
    u = np.quantile(scores, 0.8)
    excess = np.sort(scores[scores > u]) - u
    tail = GeneralisedPareto.fit(excess)
    ratio = 0.01 * scores.size / excess.size
    assert thresholds.low == u
    assert thresholds.high == pytest.approx(u + tail.sigma / tail.xi * (ratio**-tail.xi - 1))


def test_low_is_where_the_tail_begins():
    scores = np.random.default_rng(0).normal(size=999)
    lower, upper = np.percentile(scores, [25, 75])
    assert EVT(u="iqr", alpha=2)(scores).low == pytest.approx(upper + 2 * (upper - lower))
    assert EVT(u="quantile", quantile=0.5)(scores).low == pytest.approx(np.median(scores))


@settings(max_examples=40)
@given(sigma=st.floats(1e-3, 1e3), xi=shapes, share=st.floats(1e-6, 1))
def test_the_distribution_is_that_of_scipy(sigma, xi, share):
    tail = GeneralisedPareto(sigma, xi)
    far = tail.exceeded_by(share)
    assert far == pytest.approx(genpareto.isf(share, xi, scale=sigma), rel=1e-6, abs=1e-9 * sigma)
    x = sigma * np.linspace(0, 5, 40)
    np.testing.assert_allclose(tail.density(x), genpareto.pdf(x, xi, scale=sigma), rtol=1e-6, atol=1e-9 / sigma)


@given(xi=st.floats(-1e-7, 1e-7))
def test_a_tail_with_hardly_a_shape_is_exponential(xi):
    tail, exponential = GeneralisedPareto(2.0, xi), GeneralisedPareto(2.0, 0.0)
    assert tail.exceeded_by(1e-3) == pytest.approx(exponential.exceeded_by(1e-3), rel=1e-6)
    x = np.linspace(0, 20, 30)
    np.testing.assert_allclose(tail.density(x), exponential.density(x), rtol=2e-5)


@pytest.mark.parametrize("xi", [-0.4, 0.0, 0.5, 1.0])
@pytest.mark.parametrize("n", [100, 2000])
def test_the_fit_is_nearly_as_likely_as_the_likeliest(xi, n):
    x = np.sort(genpareto.rvs(xi, scale=3.0, size=n, random_state=np.random.default_rng(1)))
    shape, _, scale = genpareto.fit(x, floc=0)
    assert likelihood(x, GeneralisedPareto.fit(x)) > likelihood(x, GeneralisedPareto(scale, shape)) - 1


@pytest.mark.parametrize("xi", [-0.4, 0.0, 0.5, 1.0])
def test_the_fit_finds_what_was_drawn_also_where_it_reads_a_part(xi):
    x = np.sort(genpareto.rvs(xi, scale=3.0, size=120_000, random_state=np.random.default_rng(1)))
    tail = GeneralisedPareto.fit(x)
    assert tail.xi == pytest.approx(xi, abs=0.03)
    assert tail.sigma == pytest.approx(3.0, rel=0.03)


@given(x=arrays(np.float64, st.integers(1, 60), elements=st.floats(5e-324, 1e300)))
def test_any_excesses_have_a_tail(x):
    tail = GeneralisedPareto.fit(np.sort(x))
    assert tail.sigma > 0 and tail.xi >= -1
    assert not math.isnan(tail.exceeded_by(1e-6)) and tail.exceeded_by(1.0) == 0


@pytest.mark.parametrize("x", [[2.0], [2.0] * 50, [1.0, 3.0]])
def test_excesses_without_a_shape_have_an_exponential_tail(x):
    assert GeneralisedPareto.fit(np.array(x)) == GeneralisedPareto(2.0, 0.0)


def test_planted_outliers_are_found():
    random = np.random.default_rng(0)
    scores = np.append(random.normal(size=5000), [30.0, 31.0, 40.0])
    verdict = EVT(**SLIDES)(scores).verdict(scores)
    assert (verdict[-3:] == "anomalous").all()
    assert (verdict[:-3] == "anomalous").mean() < 0.003


def test_dense_contamination_is_found_where_the_risk_allows_it():
    random = np.random.default_rng(0)
    scores = np.append(random.normal(size=1800), random.normal(8, 1, size=200))
    strict, loose = (EVT(q=q, u="iqr")(scores).verdict(scores) for q in (0.001, 0.08))
    assert (loose[1800:] == "anomalous").mean() > 0.7 and (loose[:1800] == "anomalous").mean() < 0.01
    assert set(strict[1800:]) == {"unknown", "anomalous"}


@pytest.mark.parametrize("u", ["quantile", "iqr", "lower"])
def test_where_nothing_exceeds_u_nothing_is_unknown(u):
    thresholds = EVT(u=u)(np.full(40, 3.0))
    assert thresholds == Thresholds(3.0, 3.0)


def test_a_tail_smaller_than_the_risk_is_anomalous_as_a_whole():
    scores = np.append(np.random.default_rng(0).normal(size=5000), [30.0])
    thresholds = EVT(q=0.05, u="quantile", quantile=0.99)(scores)
    assert thresholds.low == thresholds.high == np.quantile(scores, 0.99)


def test_a_few_equal_excesses_give_finite_thresholds():
    thresholds = EVT(q=0.01, u="quantile", quantile=0.8)([0.0] * 90 + [5.0] * 10)
    assert thresholds.low == 0 and thresholds.high == pytest.approx(5 * math.log(10))


def test_infinite_scores_are_judged_by_the_finite_ones():
    scores = np.random.default_rng(0).normal(size=500)
    assert EVT()(np.append(scores, [math.inf, -math.inf, 1e301])) == EVT()(scores)


def test_nothing_but_infinite_scores_is_refused():
    with pytest.raises(DataError, match="all 2 scores are infinite"):
        EVT()([math.inf, -math.inf])


def test_the_tail_that_is_drawn_holds_its_share():
    scores = np.random.default_rng(0).exponential(size=20_000)
    at, density = EVT(**PREPRINT).analysis(scores).tail.T
    assert at[0] == pytest.approx(np.quantile(scores, 0.8))
    assert np.trapezoid(density, at) == pytest.approx(0.2, rel=0.02)


@pytest.mark.parametrize(
    "bad", [{"q": 0}, {"q": 1.0}, {"quantile": 1.0}, {"quantile": -0.1}, {"alpha": -1}, {"u": "k"}]
)
def test_bad_settings_are_refused(bad):
    with pytest.raises(ConfigError, match="evt"):
        build(THRESHOLDS, "evt", **bad)


def test_the_lower_fence_is_that_of_the_quartiles_for_symmetric_scores_and_does_not_move_with_contamination() -> None:
    symmetric = np.random.default_rng(0).normal(size=20_000)
    symmetric = np.concatenate([symmetric, -symmetric])
    fences = {u: EVT(u=u)(symmetric).low for u in ("iqr", "lower")}  # type: ignore[arg-type]
    assert fences["lower"] == pytest.approx(fences["iqr"], rel=1e-6)
    contaminated = np.concatenate([symmetric, np.full(16_000, 9.0)])  # 29 % of all
    moved = {u: EVT(u=u)(contaminated).low for u in ("iqr", "lower")}  # type: ignore[arg-type]
    assert moved["iqr"] > 9 > moved["lower"]

"""Quantiles of the beta-binomial distribution are those of SciPy, whose import takes too long."""

from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import betabinom

from pipeline.calibration.thresholds import beta_binomial


@given(st.integers(1, 100_000), st.integers(99, 50_000), st.floats(0.001, 0.2), st.sampled_from([0.025, 0.5, 0.975]))
def test_they_are_those_of_scipy(n, calibrated, risk, level):
    rank = max(1, int(calibrated * risk))
    found = beta_binomial.quantile(level, n, rank, calibrated + 1 - rank)
    assert found == betabinom.ppf(level, n, rank, calibrated + 1 - rank)

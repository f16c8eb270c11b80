"""Quantiles of the beta-binomial distribution are those of SciPy, whose import takes too long."""

from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import betabinom

from pipeline.calibration.thresholds import beta_binomial

ROUNDING = 1e-9


@given(st.integers(1, 100_000), st.integers(99, 50_000), st.floats(0.001, 0.2), st.sampled_from([0.025, 0.5, 0.975]))
@example(1448, 1448, 0.0554, 0.5)  # 79 and 80 are both right: P(K <= 79) is 0.5 but for rounding
def test_they_are_those_of_scipy(n, calibrated, risk, level):
    rank = max(1, int(calibrated * risk))
    found = beta_binomial.quantile(level, n, rank, calibrated + 1 - rank)
    below, reached = betabinom.cdf([found - 1, found], n, rank, calibrated + 1 - rank)
    assert (
        below < level + ROUNDING and reached > level - ROUNDING
    )  # by definition, as a count may reach it but for that

"""Histograms with as many bins as the scores support."""

import math

import numpy as np
import pytest
from astropy.stats import knuth_bin_width
from astropy.stats.histogram import _KnuthF
from hypothesis import given
from hypothesis import strategies as st

from pipeline.calibration.thresholds.knuth import MOST_BINS, Histogram, log_posterior, optimal_bins


def draws(n, seed=0):
    return np.sort(np.random.default_rng(seed).normal(size=n))


def unit(scores):
    return (scores - scores[0]) / (scores[-1] - scores[0])


def by_hand(scores, bins):
    counts = np.histogram(scores, bins)[0].tolist()
    n = len(scores)
    logarithm = n * math.log(bins) + math.lgamma(bins / 2) - bins * math.lgamma(0.5) - math.lgamma(n + bins / 2)
    return logarithm + sum(math.lgamma(count + 0.5) for count in counts)


@pytest.mark.parametrize("n", [200, 1000, 5000, 20_000])
@pytest.mark.parametrize("seed", range(3))
def test_the_number_of_bins_is_the_optimum_of_astropy(n, seed):
    scores = draws(n, seed)
    against = _KnuthF(scores)
    assert optimal_bins(unit(scores), most=150) == min(range(1, 151), key=against)


@pytest.mark.parametrize("n", [200, 1000, 5000, 20_000])
def test_astropy_climbs_to_no_number_that_is_more_probable(n):
    for seed in range(6):
        scores = draws(n, seed)
        theirs = len(knuth_bin_width(scores, return_bins=True)[1]) - 1
        ours = optimal_bins(unit(scores))
        assert by_hand(scores, ours) >= by_hand(scores, theirs)


@given(counts=st.lists(st.integers(0, 50), min_size=2, max_size=30))
def test_the_posterior_is_the_published_one(counts):
    scores = np.repeat(np.arange(len(counts)) + 0.5, counts)
    with_ends = np.append(scores, [0, len(counts)])  # so that the bins of by_hand are these
    counts[0], counts[-1] = counts[0] + 1, counts[-1] + 1
    assert log_posterior(counts) == pytest.approx(by_hand(with_ends, len(counts)))


def test_more_scores_support_more_bins():
    assert 3 < optimal_bins(unit(draws(200))) < optimal_bins(unit(draws(20_000))) < 60


def test_each_score_is_counted_once():
    scores = np.sort(np.append(draws(500), [-40.0, -30.0, 1e9]))
    histogram = Histogram.fit(scores)
    assert histogram.counts.sum() == 503 and histogram.inside.sum() == 500
    assert histogram.counts[0] - histogram.inside[0] == 2 and histogram.counts[-1] - histogram.inside[-1] == 1


def test_without_a_fence_the_histogram_reaches_to_the_last_score():
    scores = np.append(draws(500), 1e9)
    assert Histogram.fit(scores, fence=None).edges[-1] == 1e9
    assert Histogram.fit(scores).edges[-1] < 20


def test_the_counts_are_those_between_the_edges():
    scores = draws(3000)
    histogram = Histogram.fit(scores)
    np.testing.assert_array_equal(histogram.counts, np.histogram(scores, histogram.edges)[0])


def test_rounded_scores_get_the_bins_of_exact_ones():
    scores = draws(4000)
    exact, rounded = Histogram.fit(scores), Histogram.fit(np.sort(scores.round(1)))
    assert abs(len(rounded.counts) - len(exact.counts)) <= 6
    assert optimal_bins(unit(scores.round(1))) == MOST_BINS  # what the rule makes of ties


def test_an_atom_does_not_ask_for_more_than_the_cap():
    scores = np.sort(np.append(np.zeros(4000), np.random.default_rng(0).exponential(size=900)))
    assert len(Histogram.fit(scores).counts) <= MOST_BINS


def test_constant_scores_have_one_bin():
    histogram = Histogram.fit(np.full(9, 2.5))
    assert histogram.edges.tolist() == [2.5, 2.5] and histogram.counts.tolist() == [9]


@pytest.mark.parametrize("n", [2, 10, 50])
@pytest.mark.parametrize("seed", range(5))
def test_a_few_scores_do_not_get_a_bin_each(n, seed):
    assert len(Histogram.fit(draws(n, seed)).counts) <= max(1, n // 4)

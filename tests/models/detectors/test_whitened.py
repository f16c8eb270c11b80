"""Nearest neighbours without the correlations between features."""

import numpy as np
import torch

from pipeline.models.detectors.knn import KNN, whitening


def correlated(n=3000, seed=0):
    rng = np.random.default_rng(seed)
    mix = np.array([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.5, 0.5, 0.7]])
    return torch.from_numpy(rng.normal(size=(n, 3)) @ mix.T)


def test_whitened_rows_are_uncorrelated_and_of_unit_variance():
    z = correlated() / correlated().std(0, correction=0)
    covariance = torch.cov((z @ whitening(z, floor=1e-9)).T, correction=0)
    torch.testing.assert_close(covariance, torch.eye(3, dtype=torch.float64), atol=1e-9, rtol=0)


def test_a_direction_below_the_floor_is_not_blown_up():
    z = torch.randn(500, 1, dtype=torch.float64).repeat(1, 2) + 1e-6 * torch.randn(500, 2, dtype=torch.float64)
    assert (z @ whitening(z)).std(0).min() < 1e-4


def test_a_value_that_does_not_go_with_the_others_is_far_though_common_by_itself():
    x = torch.randn(3000, 1, dtype=torch.float64).repeat(1, 4) + 0.3 * torch.randn(3000, 4, dtype=torch.float64)
    odd, usual = torch.tensor([[1.0, 1, 1, -1]]).double(), torch.tensor([[1.0, 1, 1, 1]]).double()
    far = {}
    for metric in ("standardised", "whitened"):
        torch.manual_seed(0)
        detector = KNN(4, metric=metric).double()
        detector.fit(x)
        far[metric] = float(detector.score(odd) / detector.score(usual))
    assert far["whitened"] > far["standardised"]


def test_terms_by_feature_sum_to_the_score():
    for reduce in ("largest", "mean"):
        detector = KNN(3, metric="whitened", reduce=reduce).double()
        detector.fit(correlated())
        x = correlated(50, 1) * 2
        torch.testing.assert_close(detector.terms(x).sum(1), detector.score(x))

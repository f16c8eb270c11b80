"""The density of a mixture: that of its definition, although most components are left out."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from pipeline.models.arrays.mixture import NEGLIGIBLE, Mixture


def parts(components, features, seed):
    """Log weights, means, and upper triangular factors of precisions."""
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(components))
    factors = np.triu(rng.normal(size=(components, features, features)), 1) * 0.3
    factors += np.eye(features) * rng.uniform(0.3, 5, (components, 1, features))
    return np.log(weights), rng.normal(size=(components, features)) * 4, factors


def by_definition(z, log_weights, means, factors):
    """(n, K) log of weight times density."""
    each = [
        multivariate_normal(mean, np.linalg.inv(factor @ factor.T)).logpdf(z) + log_weight
        for log_weight, mean, factor in zip(log_weights, means, factors, strict=True)
    ]
    return np.stack([np.reshape(one, len(z)) for one in each], axis=1)


@given(st.integers(1, 12), st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_it_is_the_density_of_the_definition(components, features, seed):
    made = parts(components, features, seed)
    rng = np.random.default_rng(seed + 1)
    z = made[1][rng.integers(components, size=30)] + rng.normal(size=(30, features)) * rng.choice([0.3, 3, 30])
    expected = by_definition(z, *made)
    mixture = Mixture(*made)
    np.testing.assert_allclose(mixture.log_density(z), logsumexp(expected, axis=1), rtol=1e-9, atol=1e-9)
    joint = mixture.joint(z)
    left_out = joint == -np.inf
    np.testing.assert_allclose(joint[~left_out], expected[~left_out], rtol=1e-9, atol=1e-9)
    assert (left_out <= (expected <= expected.max(1, keepdims=True) - NEGLIGIBLE)).all()


def test_components_that_are_far_away_are_left_out():
    made = parts(12, 40, 0)
    joint = Mixture(*made).joint(made[1])
    assert np.isfinite(joint).sum() < 2 * len(joint)


def test_the_density_of_a_row_does_not_depend_on_the_rows_beside_it():
    made = parts(5, 30, 0)
    mixture, z = Mixture(*made), np.random.default_rng(1).normal(size=(700, 30)).astype(np.float32) * 3
    alone = np.concatenate([mixture.log_density(row[None]) for row in z])
    np.testing.assert_array_equal(mixture.log_density(z).astype(np.float32), alone.astype(np.float32))
    assert mixture.log_density(z[:0]).shape == (0,)


def test_rows_at_any_distance_have_a_density():
    mixture = Mixture(np.zeros(1), np.zeros((1, 3)), np.eye(3)[None])
    z = np.array([[1e150, 0, 0], [1e6, 0, 0]])
    np.testing.assert_allclose(mixture.log_density(z), [-5e299, -5e11 - 1.5 * math.log(2 * math.pi)])


@pytest.mark.parametrize("scale", [1e3, 1e6])
def test_far_away_rows_have_the_density_of_the_definition(scale):
    made = parts(8, 30, 3)
    z = np.random.default_rng(2).normal(size=(50, 30)) * scale
    expected = logsumexp(by_definition(z, *made), axis=1)
    np.testing.assert_allclose(Mixture(*made).log_density(z), expected, rtol=1e-6)

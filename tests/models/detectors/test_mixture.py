"""Expectation maximisation that leaves out negligible shares: it is that of scikit-learn."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.mixture import GaussianMixture

from pipeline.base.errors import TrainingError
from pipeline.models.detectors.mixture import Mixture


def clusters(apart: float, features: int = 24) -> NDArray[np.float64]:
    """(900, F) rows of three correlated clusters; the larger ``apart``, the less they overlap."""
    generator = np.random.default_rng(0)
    shapes = generator.normal(size=(3, features, features)) / features**0.5
    rows = generator.normal(size=(3, 300, features)) @ shapes
    return np.concatenate(rows + apart * generator.normal(size=(3, 1, features)))


@pytest.mark.parametrize("apart", [0.0, 0.3, 3.0])
@pytest.mark.parametrize("features", [1, 5, 24])
def test_the_parameters_are_those_of_scikit_learn(apart: float, features: int) -> None:
    x = clusters(apart, features)
    oracle = GaussianMixture(4, reg_covar=1e-2, random_state=3).fit(x)
    mixture = Mixture.fit(x, 4, 1e-2, 3)
    np.testing.assert_allclose(mixture.weights, oracle.weights_, rtol=1e-9)
    np.testing.assert_allclose(mixture.means, oracle.means_, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(mixture.precisions, oracle.precisions_cholesky_, rtol=1e-8, atol=1e-8)


def test_each_row_is_shared_out_and_most_components_get_none_of_it() -> None:
    x = clusters(3.0)
    mixture = Mixture.fit(x, 3, 1e-2, 0)
    density, parts = mixture.shares(x)
    oracle = GaussianMixture(3, reg_covar=1e-2, random_state=0).fit(x)
    total = np.zeros(len(x))
    for rows, share in parts:
        total[rows] += share
    np.testing.assert_allclose(total, 1)
    assert sum(len(rows) for rows, _ in parts) < 2 * len(x)
    assert density == pytest.approx(oracle.score(x), rel=1e-9)


def test_it_refuses_rows_without_a_covariance() -> None:
    with pytest.raises(TrainingError, match=r"the covariance of component 1 of 1 has no inverse; lower stage2.gmm"):
        Mixture.fit(np.ones((10, 3)), 1, 0.0, 0)


def test_a_mixture_that_still_gains_is_kept_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.models.detectors.mixture.MOST_STEPS", 1)
    with pytest.warns(UserWarning, match="still gains inf nats a record after 1 steps"):
        assert np.isfinite(Mixture.fit(clusters(0.3), 4, 1e-2, 0).means).all()

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.covariance import OAS, LedoitWolf
from sklearn.mixture import GaussianMixture

from pipeline.base.errors import TrainingError
from pipeline.models.detectors.gmm import GMM
from pipeline.models.detectors.mahalanobis import Mahalanobis


def rows(n: int = 300, features: int = 4, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(features, features))
    return torch.from_numpy(rng.normal(size=(n, features)) @ mixing * 3 + 5)


@pytest.mark.parametrize(("shrinkage", "oracle"), [("oas", OAS()), ("ledoit_wolf", LedoitWolf())])
def test_mahalanobis_is_that_of_scikit_learn(shrinkage: str, oracle: OAS | LedoitWolf) -> None:
    x = rows()
    detector = Mahalanobis(4, shrinkage).double()  # type: ignore[arg-type]
    detector.fit(x)
    np.testing.assert_allclose(detector.score(x).numpy(), oracle.fit(x.numpy()).mahalanobis(x.numpy()), rtol=1e-6)


def test_mahalanobis_of_gaussian_rows_is_chi_squared() -> None:
    detector = Mahalanobis(4).double()
    detector.fit(rows(20_000))
    score = detector.score(rows(20_000)).numpy()
    assert stats.kstest(score, stats.chi2(4).cdf).statistic < 0.02


@pytest.mark.parametrize("detector", [Mahalanobis(3), GMM(3, components=2)])
def test_a_constant_feature_and_constant_rows_are_survived(detector: Mahalanobis | GMM) -> None:
    x = rows(100, 3).float()
    x[:, 2] = 1.0
    detector.fit(x)
    assert detector.score(x).isfinite().all()
    detector.fit(torch.ones(50, 3) + 1e-3 * torch.arange(50)[:, None])
    assert detector.score(x).isfinite().all()


def test_mahalanobis_refuses_an_unknown_shrinkage() -> None:
    with pytest.raises(ValueError, match="'oas' or 'ledoit_wolf', not 'none'"):
        Mahalanobis(3, "none")  # type: ignore[arg-type]


def test_gmm_is_that_of_scikit_learn() -> None:
    x = torch.cat((rows(200), rows(200, seed=1) + 20))
    detector = GMM(4, components=3, seed=2).double()
    detector.fit(x)
    z = detector.standardise(x).numpy()
    drawn = torch.randperm(400, generator=torch.Generator().manual_seed(2))
    oracle = GaussianMixture(3, reg_covar=1e-2, random_state=2).fit(z[drawn.numpy()])
    expected = -oracle.score_samples(z) - float(detector.standardise.ladj)
    np.testing.assert_allclose(detector.score(x).numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize(("n", "components"), [(1, 1), (100, 2), (900, 8), (5_000, 10)])
def test_more_rows_give_a_gmm_more_components(n: int, components: int) -> None:
    detector, x = GMM(4, max_rows=1_600).double(), rows(n)
    if n > 1:
        detector.fit(x)
        assert detector.score(x).isfinite().all()
    assert detector.means.shape == (components, 4)
    again = GMM(4).double()
    again.load_state_dict(detector.state_dict())
    assert torch.equal(again.score(x), detector.score(x))


def test_the_density_of_a_gmm_integrates_to_1() -> None:
    detector = GMM(1, components=2).double()
    detector.fit(torch.cat((rows(200, 1), rows(200, 1, 1) - 30)))
    x = torch.linspace(-200, 200, 40_001, dtype=torch.float64)[:, None]
    assert ((-detector.score(x)).exp().sum() * 0.01).item() == pytest.approx(1.0, abs=1e-4)


def test_gmm_fits_at_most_max_rows_and_repeats_by_seed() -> None:
    x = rows(500)
    first, second = GMM(4, components=2, max_rows=50, seed=1), GMM(4, components=2, max_rows=50, seed=1)
    other, every = GMM(4, components=2, max_rows=50, seed=2), GMM(4, components=2, max_rows=500, seed=1)
    for detector in (first, second, other, every):
        detector.fit(x.float())
    assert torch.equal(first.means, second.means)
    assert not torch.equal(first.means, other.means)
    assert not torch.equal(first.means, every.means)


def test_gmm_of_a_sample_keeps_the_share_of_each_cluster() -> None:
    few = torch.from_numpy(np.random.default_rng(1).normal(size=(60, 4))) + 400
    detector = GMM(4, components=2, max_rows=200)
    detector.fit(torch.cat([rows(5_940), few]).float())
    assert detector.log_weights.exp().min().item() == pytest.approx(0.01, abs=1 / 200)


def test_gmm_refuses_fewer_rows_than_components() -> None:
    with pytest.raises(TrainingError, match=r"8 components need at least as many records, given 3"):
        GMM(4, components=8).fit(rows(3))
    with pytest.raises(ValueError, match="max_rows"):
        GMM(4, components=8, max_rows=7)

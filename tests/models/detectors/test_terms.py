"""What the terms of each detector add up to."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from pipeline.base.registry import build
from pipeline.models.detectors.base import Detector
from pipeline.models.detectors.gmm import GMM
from pipeline.models.detectors.grand import GRAnD
from pipeline.models.detectors.knn import KNN
from pipeline.models.detectors.maf import MAF
from pipeline.models.detectors.mahalanobis import Mahalanobis
from pipeline.models.detectors.pca import PCA
from pipeline.models.detectors.radon import RADON
from pipeline.models.detectors.registry import DETECTORS

F = 5
EXACT: list[tuple[type[Detector], dict[str, object]]] = [
    (Mahalanobis, {}),
    (PCA, {"variance": 0.5}),
    (MAF, {"layers": 3, "hidden": 16}),
    (KNN, {}),
    (KNN, {"neighbours": 1}),
    (KNN, {"reduce": "mean"}),
    (RADON, {"offset": 0.0}),
]


def rows(n: int = 200, seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(7).normal(size=(F, F))
    return torch.from_numpy(rng.normal(size=(n, F)) @ mixing * np.arange(1, F + 1) + 4)


def fitted(kind: type[Detector], **settings: object) -> Detector:
    torch.manual_seed(0)
    detector = kind(F, **settings).double()
    detector.fit(rows())
    with torch.no_grad():
        for parameter in detector.parameters():  # as if trained: no bias is 0, no map the identity
            parameter.add_(0.1 * torch.randn_like(parameter))
    return detector.eval()


def terms(detector: Detector, x: Tensor) -> Tensor:
    with torch.no_grad():
        found = detector.terms(x)
    assert found is not None
    assert found.shape == x.shape
    return found


def test_those_whose_score_is_a_sum_have_terms() -> None:
    asked = {name: build(DETECTORS, name, features=F).double().terms(rows(3)) for name in DETECTORS}
    without = {name for name, found in asked.items() if found is None}
    assert without == {"isolation_forest", "ocsvm", "mlp", "boosting", "deep_svdd", "ensemble", "robust"}


@pytest.mark.parametrize(("kind", "settings"), EXACT)
def test_terms_add_up_to_the_score(kind: type[Detector], settings: dict[str, object]) -> None:
    detector, x = fitted(kind, **settings), rows(50, 1) * 2
    torch.testing.assert_close(terms(detector, x).sum(1), detector.score(x).detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_no_record_has_terms_that_depend_on_another(name: str) -> None:
    detector = fitted(DETECTORS[name])
    x = rows(20, 1)
    if detector.terms(x) is not None:
        torch.testing.assert_close(terms(detector, x.flip(0)).flip(0), terms(detector, x))
        assert terms(detector, x[:0]).shape == (0, F)


def test_the_terms_of_a_gmm_lack_what_no_feature_has_a_part_in() -> None:
    detector = fitted(GMM, components=3)
    assert isinstance(detector, GMM)
    x = rows(50, 1)
    z, ladj = detector.standardise(x).numpy(), float(detector.standardise.ladj)
    precisions = (detector.precisions @ detector.precisions.mT).numpy()
    normal = [
        stats.multivariate_normal(mean, np.linalg.inv(precision))
        for mean, precision in zip(detector.means.numpy(), precisions, strict=True)
    ]
    joint = np.stack([each.logpdf(z) for each in normal], 1) + detector.log_weights.numpy()
    r = np.exp(joint - np.logaddexp.reduce(joint, 1, keepdims=True))
    half_log_det = 0.5 * np.linalg.slogdet(precisions).logabsdet
    rest = (r * (np.log(r.clip(1e-300)) - detector.log_weights.numpy() - half_log_det)).sum(1)
    rest += F / 2 * math.log(2 * math.pi) - ladj
    np.testing.assert_allclose(terms(detector, x).sum(1).numpy() + rest, detector.score(x).numpy(), rtol=1e-8)


def test_of_one_gaussian_they_halve_the_squared_distance() -> None:
    x, apart = rows(20, 1), rows(20, 1) - rows().mean(0)
    expected = 0.5 * apart * (apart @ torch.linalg.inv(rows().T.cov(correction=0)))
    torch.testing.assert_close(terms(fitted(GMM, components=1, regularisation=0.0), x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [Mahalanobis, PCA])
def test_a_record_that_is_off_in_one_feature_has_no_other_term(kind: type[Detector]) -> None:
    detector = fitted(kind)
    x = rows().mean(0).repeat(F, 1)
    apart = x + torch.diag(torch.arange(1, F + 1))
    found = terms(detector, apart)
    torch.testing.assert_close(found, torch.diag(detector.score(apart)), rtol=1e-6, atol=1e-6)


def test_the_terms_of_a_maf_of_one_layer_are_conditional_densities() -> None:
    detector, x = fitted(MAF, layers=1, hidden=32), rows(4, 1)
    for i in range(F):
        later = x.clone()
        later[:, i + 1 :] += 3
        torch.testing.assert_close(terms(detector, later)[:, : i + 1], terms(detector, x)[:, : i + 1])
        grid = torch.linspace(-1000, 1000, 40_001, dtype=torch.float64)
        along = x[:1].repeat(len(grid), 1)
        along[:, i] = grid
        density = (-terms(detector, along)[:, i]).exp()
        assert float(density.sum() * 0.05) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("offset", [0.0, 1.0, 3.0])
def test_the_terms_of_radon_lack_the_constant_coordinate(offset: float) -> None:
    detector, x = fitted(RADON, hidden=(4, 2), offset=offset), rows(30, 1)
    assert isinstance(detector, RADON)
    with torch.no_grad():
        z = detector.standardise(x)
        constant = torch.full((len(x), 1), offset * F**0.5, dtype=torch.float64)
        u, v = (nn.functional.normalize(torch.cat((each, constant), 1)) for each in (z, detector.reconstruct(z)))
    torch.testing.assert_close(terms(detector, x), (u * (u - v))[:, :F])
    torch.testing.assert_close(terms(detector, x).sum(1) + (u * (u - v))[:, F], detector.score(x).detach())


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_the_terms_of_grand_lack_the_divergence_of_the_latent(likelihood: str) -> None:
    torch.manual_seed(0)
    detector = GRAnD(F, planar=0, standardise=False, likelihood=likelihood).double().eval()  # type: ignore[arg-type]
    x = torch.rand(30, F, dtype=torch.float64) * 1.6 - 0.3  # some outside [0, 1]
    with torch.no_grad():
        mean, log_var = detector.encoder(x).chunk(2, -1)
        posterior = torch.distributions.Normal(mean, (0.5 * log_var).exp())
        divergence = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum(1)
        torch.testing.assert_close(terms(detector, x).sum(1) + divergence, detector.score(x))
        given = detector.decoder(mean)
    if likelihood == "gaussian":
        torch.testing.assert_close(terms(detector, x), (given - x).square())
    assert (terms(detector, x) >= -1e-12).all()


def test_a_detector_names_the_nearest_of_all_rows_that_it_was_given() -> None:
    x = rows(100)
    detector = KNN(F, neighbours=3, references=40, seed=5).double()
    detector.fit(x)
    kept = detector.rows
    assert len(kept.unique()) == 40
    found = detector.nearest(rows(10, 1))
    z, known = detector.standardise(rows(10, 1)), detector.standardise(x[kept])
    assert torch.equal(found, kept[torch.cdist(z, known).topk(3, largest=False).indices])
    assert torch.equal(detector.nearest(x[kept])[:, 0], kept)


def test_a_loaded_detector_names_the_same_rows() -> None:
    detector, again = KNN(F, references=40), KNN(F)
    detector.fit(rows().float())
    again.load_state_dict(detector.state_dict())
    x = rows(10, 1).float()
    assert torch.equal(again.nearest(x), detector.nearest(x))


def test_a_copy_of_a_known_row_has_terms_of_0() -> None:
    detector = fitted(KNN, neighbours=1)
    assert terms(detector, rows()[:3]).abs().max() == 0

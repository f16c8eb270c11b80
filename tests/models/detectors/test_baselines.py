import numpy as np
import pytest
import torch
from sklearn import decomposition, ensemble, kernel_approximation, linear_model, neighbors, svm
from torch import Tensor

from pipeline.base.errors import TrainingError
from pipeline.models.base import Batch
from pipeline.models.detectors.base import Detector
from pipeline.models.detectors.deep_svdd import DeepSVDD
from pipeline.models.detectors.isolation_forest import IsolationForest, mean_depth
from pipeline.models.detectors.knn import KNN
from pipeline.models.detectors.mlp import MLP
from pipeline.models.detectors.ocsvm import OCSVM
from pipeline.models.detectors.pca import PCA

F = 4


def rows(n: int = 300, seed: int = 0) -> Tensor:
    """Correlated rows in float32 precision, as the stages give them, computed with in float64."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(1).normal(size=(F, F))
    return torch.from_numpy(rng.normal(size=(n, F)) @ mixing * 3 + 5).float().double()


def fitted(detector: Detector, x: Tensor | None = None) -> Detector:
    detector.double().fit(rows() if x is None else x)
    return detector.eval()


def drawn(n: int, max_rows: int, seed: int) -> np.ndarray:
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:max_rows].numpy()


def standardised(x: Tensor) -> np.ndarray:
    return ((x - rows().mean(0)) / rows().std(0, correction=0)).numpy()


@pytest.mark.parametrize(("n", "samples"), [(300, 256), (300, 37), (100, 256), (2, 2)])
def test_isolation_forest_is_that_of_scikit_learn(n: int, samples: int) -> None:
    x, new = rows(n), torch.cat((rows(500, 1), rows(500, 2) * 100))
    detector = fitted(IsolationForest(F, trees=20, samples=samples, seed=3), x)
    oracle = ensemble.IsolationForest(n_estimators=20, max_samples=min(n, samples), random_state=3)
    oracle.fit(x[drawn(n, n, 3)].numpy())
    for each in (x, new):
        np.testing.assert_allclose(detector.score(each).numpy(), -oracle.score_samples(each.numpy()), rtol=1e-6)


def test_isolation_forest_splits_as_scikit_learn_on_the_thresholds_themselves() -> None:
    detector = IsolationForest(F)
    detector.fit(rows().float())
    oracle = ensemble.IsolationForest(random_state=0).fit(rows()[drawn(300, 300, 0)].numpy())
    on = detector.split_value[:, :32].reshape(-1, F)
    for x in (on, on.nextafter(torch.tensor(torch.inf))):
        np.testing.assert_allclose(detector.score(x).numpy(), -oracle.score_samples(x.numpy()), rtol=1e-5)


def test_mean_depth_is_that_of_the_paper() -> None:
    harmonic = 1 / np.arange(1, 256)
    assert mean_depth(np.array([256])) == pytest.approx(2 * harmonic.sum() - 2 * 255 / 256, abs=5e-3)
    assert mean_depth(np.array([0, 1, 2])).tolist() == [0, 0, 1]


def test_isolation_forest_ranks_by_isolation() -> None:
    detector = fitted(IsolationForest(F, samples=128))
    centre, out = rows().mean(0), rows().mean(0) + 30
    middle, edge = detector.score(torch.stack((centre, out)))
    assert 0 < middle < 0.5 < edge < 1


@pytest.mark.parametrize("gamma", ["scale", 0.3])
@pytest.mark.parametrize("nu", [0.1, 0.5])
def test_exact_ocsvm_is_that_of_scikit_learn(gamma: float | str, nu: float) -> None:
    detector = fitted(OCSVM(F, nu=nu, gamma=gamma, max_rows=200, seed=4))  # type: ignore[arg-type]
    oracle = svm.OneClassSVM(nu=nu, gamma=gamma).fit(detector.standardise(rows()[drawn(300, 200, 4)]).numpy())
    new = torch.cat((rows(100, 1), rows(20, 2) * 50))
    expected = -oracle.decision_function(detector.standardise(new).numpy())
    np.testing.assert_allclose(detector.score(new).numpy(), expected, rtol=1e-6, atol=1e-9)
    assert (detector.score(rows()) > 0).double().mean() == pytest.approx(nu, abs=0.08)


def test_nystroem_ocsvm_is_that_of_scikit_learn() -> None:
    detector = fitted(OCSVM(F, kernel_map="nystroem", nu=0.2, components=60, seed=4))
    z = standardised(rows()[drawn(300, 300, 4)])
    kernels = kernel_approximation.Nystroem(gamma=1 / (F * z.var()), n_components=60, random_state=4).fit(z)
    oracle = linear_model.SGDOneClassSVM(nu=0.2, random_state=4).fit(kernels.transform(z))
    new = torch.cat((rows(100, 1), rows(20, 2) * 50))
    expected = -oracle.decision_function(kernels.transform(standardised(new)))
    np.testing.assert_allclose(detector.score(new).numpy(), expected, rtol=1e-6, atol=1e-6)


def test_nystroem_orders_almost_as_exact_and_survives_copies() -> None:
    x = rows(1000).repeat(2, 1)
    exact, near = fitted(OCSVM(F, nu=0.2), x), fitted(OCSVM(F, kernel_map="nystroem", nu=0.2), x)
    ranks = [each.score(rows(500, 1)).argsort().argsort().double() for each in (exact, near)]
    assert torch.corrcoef(torch.stack(ranks))[0, 1] > 0.9
    single = OCSVM(F, kernel_map="nystroem", nu=0.2)
    single.load_state_dict(near.state_dict())
    assert torch.allclose(single.score(rows(500, 1).float()).double(), near.score(rows(500, 1)), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("reduce", "k"), [("largest", 1), ("largest", 7), ("mean", 7)])
def test_knn_is_that_of_scikit_learn(reduce: str, k: int) -> None:
    detector = fitted(KNN(F, k, reduce, references=150, seed=2))  # type: ignore[arg-type]
    oracle = neighbors.NearestNeighbors(n_neighbors=k).fit(standardised(rows()[detector.rows]))
    new = torch.cat((rows(100, 1), rows(20, 2) * 1e4))
    distances = oracle.kneighbors(standardised(new))[0]
    expected = distances[:, -1] if reduce == "largest" else distances.mean(1)
    np.testing.assert_allclose(detector.score(new).numpy(), expected, rtol=1e-9)


def test_knn_of_a_near_copy_is_no_rounding_noise() -> None:
    x = rows().float()
    detector = KNN(F, neighbours=1)
    detector.fit(x)
    assert not detector.score(x).any()
    step = torch.tensor([1e-4, 0, 0, 0]) * detector.standardise.scale
    assert torch.allclose(detector.score(x + step), torch.tensor(1e-4), rtol=0.05)


@pytest.mark.parametrize(("variance", "leading"), [(0.5, 1), (0.8, 2), (0.95, 3), (0.99, 3)])
def test_pca_is_the_reconstruction_error_of_scikit_learn(variance: float, leading: int) -> None:
    detector = fitted(PCA(F, variance))
    oracle = decomposition.PCA(leading).fit(standardised(rows()))
    z = standardised(rows(100, 1) * 10)
    expected = ((z - oracle.inverse_transform(oracle.transform(z))) ** 2).sum(1)
    np.testing.assert_allclose(detector.score(rows(100, 1) * 10).numpy(), expected, rtol=1e-9)


def test_pca_of_a_plane_sees_what_leaves_it_and_only_that() -> None:
    plane = rows()[:, :2] @ torch.tensor([[1.0, 2, 0, 1], [0, 1, -1, 3]], dtype=torch.float64)
    detector = fitted(PCA(F, 0.999), plane)
    assert detector.score(plane * 100).max() < 1e-12
    assert detector.score(plane + torch.tensor([0.0, 0, 0, 1])).min() > 1e-3


def test_pca_of_one_feature_and_of_constant_rows_is_defined() -> None:
    one = PCA(1)
    one.fit(torch.arange(10.0)[:, None])
    assert one.score(torch.tensor([[4.5], [9.0]])).tolist() == pytest.approx([0, 20.25 / 8.25])
    flat = fitted(PCA(F), torch.ones(10, F))
    assert flat.score(torch.ones(3, F, dtype=torch.float64)).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "detector",
    [
        IsolationForest(F, trees=5, samples=32),
        OCSVM(F, nu=0.3),
        OCSVM(F, kernel_map="nystroem", components=30),
        KNN(F, references=123),
        PCA(F, 0.5),
    ],
    ids=lambda detector: type(detector).__name__,
)
def test_a_fit_repeats_and_is_the_same_in_any_batch(detector: Detector) -> None:
    first = fitted(detector).score(rows(50, 1))
    assert torch.equal(fitted(detector).score(rows(50, 1)), first)
    alone = torch.cat([detector.score(row[None]) for row in rows(50, 1)])
    assert torch.allclose(alone, first, rtol=1e-9)


@pytest.mark.parametrize("kind", [OCSVM, KNN, IsolationForest])
def test_rows_are_drawn_by_seed(kind: type[OCSVM | KNN | IsolationForest]) -> None:
    small = {"samples": 40} if kind is IsolationForest else {}
    most = "references" if kind is KNN else "max_rows"
    scores = [fitted(kind(F, **{most: 40}, seed=seed, **small)).score(rows(50, 1)) for seed in (1, 1, 2)]
    assert torch.equal(scores[0], scores[1])
    assert not torch.equal(scores[0], scores[2])


def test_parts_are_as_good_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    detectors = [fitted(IsolationForest(F, trees=5)), fitted(OCSVM(F)), fitted(KNN(F))]
    whole = [detector.score(rows(50, 1)) for detector in detectors]
    monkeypatch.setattr("pipeline.models.scoring.BLOCK", 7)
    parts = [detector.score(rows(50, 1)) for detector in detectors]
    assert all(torch.allclose(a, b) for a, b in zip(whole, parts, strict=True))


@pytest.mark.parametrize(
    ("detector", "n", "message"),
    [
        (KNN(F, neighbours=8), 3, "8 neighbours need at least as many records, given 3"),
        (OCSVM(F), 1, "at least 2 records are needed, given 1"),
        (IsolationForest(F), 1, "at least 2 records are needed, given 1"),
    ],
)
def test_too_few_rows_are_refused(detector: Detector, n: int, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        detector.fit(rows(n))


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (IsolationForest, {"trees": 0}, "trees must be at least 1"),
        (IsolationForest, {"samples": 1}, "samples between 2 and max_rows"),
        (OCSVM, {"nu": 0.0}, "nu must be above 0"),
        (OCSVM, {"gamma": "auto"}, "gamma must be 'scale' or above 0, not 'auto'"),
        (OCSVM, {"gamma": -1.0}, "gamma must be 'scale' or above 0, not -1.0"),
        (OCSVM, {"kernel_map": "fourier"}, "'exact' or 'nystroem', not 'fourier'"),
        (OCSVM, {"max_rows": 1}, "max_rows 2"),
        (KNN, {"neighbours": 0}, "neighbours must be at least 1"),
        (KNN, {"reduce": "median"}, "'largest' or 'mean', not 'median'"),
        (PCA, {"variance": 1.0}, "variance must be between 0 and 1, not 1.0"),
        (MLP, {"hidden": (8, 0)}, "at least 1 wide"),
        (DeepSVDD, {"latent": 0}, "hidden and latent must be at least 1"),
        (DeepSVDD, {"objective": "two_class"}, "'one_class' or 'soft_boundary', not 'two_class'"),
        (DeepSVDD, {"nu": 1.0}, "nu must be between 0 and 1, not 1.0"),
    ],
)
def test_settings_outside_their_limits_are_refused(
    kind: type[Detector], settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kind(F, **settings)  # type: ignore[arg-type]


def labelled(y: Tensor) -> Batch:
    return Batch(rows(len(y)), y, torch.ones(len(y)))


def test_each_class_weighs_as_much_in_the_loss_of_the_mlp() -> None:
    torch.manual_seed(0)
    detector = fitted(MLP(F))
    y = (torch.arange(100) < 3).long()
    score = detector.score(rows(100))
    expected = 0.5 * (-score[:3]).exp().log1p().mean() + 0.5 * score[3:].exp().log1p().mean()
    assert detector.loss(labelled(y)).item() == pytest.approx(expected.item())
    assert detector.loss(labelled(torch.zeros(100))).item() == pytest.approx(score.exp().log1p().mean().item())


def test_the_mlp_finds_the_attacks_that_it_was_shown() -> None:
    torch.manual_seed(0)
    x = torch.cat((rows(400), rows(20, 3) + 6))
    batch = Batch(x, (torch.arange(420) >= 400).long(), torch.ones(420))
    detector = MLP(F, hidden=(32, 16)).double()
    train(detector, batch, 60, 1e-2)
    assert detector.score(rows(200, 4) + 6).median() > detector.score(rows(200, 5)).quantile(0.95)


def train(detector: Detector, batch: Batch, steps: int, learning_rate: float) -> None:
    detector.fit(batch.x)
    optimizer = torch.optim.Adam(detector.train().parameters(), learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        detector.loss(batch).backward()
        optimizer.step()
        schedule.step()
    detector.eval()


def test_deep_svdd_has_no_bias_and_no_centre_near_zero() -> None:
    torch.manual_seed(0)
    detector = fitted(DeepSVDD(F, hidden=(16,), latent=8))
    latent = detector(rows())
    mean = latent.mean(0)
    assert all(parameter.ndim == 2 for parameter in detector.parameters())
    assert not detector(detector.standardise.mean[None]).any()  # phi(0) = 0
    assert detector.centre.abs().min() >= 0.1
    assert torch.allclose(detector.centre[mean.abs() > 0.1], mean[mean.abs() > 0.1])
    assert (detector.centre * mean >= 0).all()
    assert torch.allclose(detector.score(rows()), (latent - detector.centre).square().sum(1))


def test_the_soft_boundary_is_the_least_over_the_radius() -> None:
    torch.manual_seed(0)
    detector = fitted(DeepSVDD(F, objective="soft_boundary", nu=0.2))
    score = detector.score(rows()).detach()
    radii = torch.linspace(0, score.max().item(), 4001)
    objective = radii + (score[:, None] - radii).clamp_min(0).mean(0) / 0.2
    batch = labelled(torch.zeros(300))
    assert detector.loss(batch).item() == pytest.approx(objective.min().item(), rel=1e-3)
    assert repr(detector) != repr(DeepSVDD(F))  # or a training of one would go on with the other


@pytest.mark.parametrize("objective", ["one_class", "soft_boundary"])
def test_training_deep_svdd_brings_benign_rows_nearer_than_others(objective: str) -> None:
    torch.manual_seed(0)
    detector = DeepSVDD(F, hidden=(32,), latent=8, objective=objective).double()  # type: ignore[arg-type]
    batch = labelled(torch.zeros(300))
    detector.fit(batch.x)
    before = detector.score(rows(200, 1)).median()
    train(detector, batch, 60, 1e-3)
    assert detector.score(rows(200, 1)).median() < before
    assert detector.score(rows(200, 1) + 20).median() > detector.score(rows(200, 1)).quantile(0.95)
    detector.verify(batch.x)

import math

import pytest
import torch
import zuko
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import AffineTransform

from pipeline.models.base import Batch
from pipeline.models.detectors.maf import MAF, made_masks


def maf(features: int, layers: int = 3, hidden: int = 40, seed: int = 0, gain: float = 2.0) -> MAF:
    """An untrained MAF in float64 whose layers do something."""
    torch.manual_seed(seed)
    model = MAF(features, layers, hidden).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(gain)
    model.fit(2 + 3 * torch.randn(200, features, dtype=torch.float64))
    return model


def jacobian(model: MAF, x: Tensor) -> Tensor:
    return torch.autograd.functional.jacobian(lambda row: model.transform(row[None])[0][0], x)


def test_the_published_setting_has_795648_parameters() -> None:
    assert sum(p.numel() for p in MAF(32).parameters()) == 795_648


@given(features=st.integers(1, 12), hidden=st.integers(1, 30), seed=st.integers(0, 99))
def test_masks_are_autoregressive(features: int, hidden: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    into, out = made_masks(torch.randint(1, max(features, 2), (hidden,), generator=generator), features)
    paths = out.long() @ into.long()
    assert not paths.triu().any()


def test_masks_connect_everything_that_may_be() -> None:
    into, out = made_masks(torch.arange(1, 32), 32)
    paths = out.long() @ into.long()
    assert paths[31, 30] > 0  # what the published masks miss
    assert torch.equal(paths > 0, torch.ones(32, 32).tril(-1) > 0)


@pytest.mark.parametrize("layer", [0, 1])
def test_the_jacobian_of_a_layer_is_triangular_and_full(layer: int) -> None:
    torch.manual_seed(0)
    model = maf(6, layers=2, hidden=60)
    with torch.no_grad():  # the other layer does nothing
        model.weight_out[1 - layer] = 0
        model.bias_out[1 - layer] = 0
    seen = sum(jacobian(model, torch.randn(6, dtype=torch.float64)).abs() for _ in range(10))
    full = torch.ones(6, 6).tril() if layer == 0 else torch.ones(6, 6).triu()
    assert torch.equal(seen > 1e-12, full > 0)


@settings(max_examples=10)
@given(features=st.integers(1, 6), layers=st.integers(1, 4), seed=st.integers(0, 99))
def test_ladj_is_that_of_autograd(features: int, layers: int, seed: int) -> None:
    model = maf(features, layers, seed=seed)
    x = torch.randn(features, dtype=torch.float64) * 3
    _, ladj = model.transform(x[None])
    assert torch.allclose(ladj[0], torch.linalg.slogdet(jacobian(model, x)).logabsdet)


def inverse(model: MAF, z: Tensor) -> Tensor:
    """The x with ``transform(x) = z``: in each layer, one more feature is right after each pass."""
    for into, b_in, out, b_out in reversed(
        list(
            zip(
                model.weight_in * model.masks_in,
                model.bias_in,
                model.weight_out * model.masks_out,
                model.bias_out,
                strict=True,
            )
        )
    ):
        x = torch.zeros_like(z)
        for _ in range(model.features):
            s, t = torch.nn.functional.linear(torch.relu(x @ into.T + b_in), out, b_out).chunk(2, -1)
            x = (z - t) * (-s.tanh()).exp()
        z = x
    return z * model.standardise.scale + model.standardise.mean


@torch.no_grad()
def test_transform_is_a_bijection() -> None:
    model = maf(5, 4)
    z = torch.randn(100, 5, dtype=torch.float64)
    assert torch.allclose(model.transform(inverse(model, z))[0], z, atol=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("features", [1, 2])
def test_the_density_integrates_to_1(features: int) -> None:
    model = maf(features, layers=2, seed=1, gain=1.0)
    edge, step = 40.0, 0.1
    # The box must hold the mass, or the integral says nothing about the density.
    drawn = inverse(model, torch.randn(50_000, features, dtype=torch.float64))
    assert (drawn.abs() < edge).all()
    axis = torch.arange(-edge, edge, step, dtype=torch.float64)
    grid = torch.cartesian_prod(*[axis] * features).view(-1, features)
    total = sum(model.log_prob(part).exp().sum().item() for part in grid.split(100_000))
    assert total * step**features == pytest.approx(1.0, abs=1e-3)


class Published(AffineTransform):
    """x exp(tanh s) + t for zuko."""

    def __init__(self, shift: Tensor, scale: Tensor) -> None:
        super().__init__(shift, scale.tanh().exp())

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return self.scale.log().expand(x.shape)


def oracle(model: MAF) -> zuko.lazy.Flow:
    """Zuko's flow with the weights and masks of ``model``; zuko interleaves s and t and takes t first."""
    features, (layers, hidden) = model.features, model.bias_in.shape
    flow = zuko.flows.MAF(features, transforms=layers, hidden_features=(hidden,), univariate=Published).double()
    order = torch.stack((torch.arange(features) + features, torch.arange(features)), 1).flatten()
    for layer, transform in enumerate(flow.transform.transforms):
        first, _, second = transform.hyper
        first.mask, second.mask = model.masks_in[layer], model.masks_out[layer][order]
        first.weight.data, first.bias.data = model.weight_in[layer].data, model.bias_in[layer].data
        second.weight.data, second.bias.data = model.weight_out[layer].data[order], model.bias_out[layer].data[order]
    return flow


@pytest.mark.parametrize(("features", "layers"), [(2, 1), (5, 4), (32, 16)])
def test_log_prob_is_that_of_zuko(features: int, layers: int) -> None:
    model = maf(features, layers)
    x = torch.randn(50, features, dtype=torch.float64)
    with torch.no_grad():
        expected = oracle(model)().log_prob(model.standardise(x)) + model.standardise.ladj
        assert torch.allclose(model.log_prob(x), expected, rtol=1e-9)


def test_score_is_the_negative_log_likelihood_and_loss_its_mean() -> None:
    model = maf(3)
    x = torch.randn(20, 3, dtype=torch.float64)
    assert torch.equal(model.score(x), -model.log_prob(x))
    assert torch.allclose(model.loss(Batch(x, torch.zeros(20), torch.ones(20))), -model.log_prob(x).mean())


def test_training_reaches_the_entropy_of_a_correlated_gaussian() -> None:
    torch.manual_seed(0)
    factor = torch.tensor([[1.0, 0.0, 0.0], [0.9, 0.3, 0.0], [-0.5, 0.5, 0.4]])
    x = torch.randn(4000, 3) @ factor.T * 10
    model = MAF(3, 2, 32)
    model.fit(x)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(150):
        loss = -model.log_prob(x).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    entropy = 1.5 * (1 + math.log(2 * math.pi)) + torch.linalg.slogdet(10 * factor).logabsdet
    assert loss.item() == pytest.approx(entropy.item(), abs=0.1)


def test_masked_weights_get_no_gradient() -> None:
    model = maf(5)
    model.log_prob(torch.randn(8, 5, dtype=torch.float64)).sum().backward()
    assert model.weight_in.grad is not None
    assert model.weight_out.grad is not None
    assert not model.weight_in.grad[model.masks_in == 0].any()
    assert not model.weight_out.grad[model.masks_out == 0].any()


def test_a_constant_feature_leaves_the_density_of_the_others_to_count() -> None:
    torch.manual_seed(0)
    x = torch.randn(1000, 3)
    x[:, 1] = 0.25
    model = MAF(3, 2, 16)
    model.fit(x)
    with torch.no_grad():
        score = model.score(x)
        assert score.isfinite().all()
        assert score.abs().max() < 100
        noisy = model.score(x + torch.tensor([0.0, 1e-6, 0.0]))
        assert torch.allclose(noisy, score, atol=0.1)
        assert (model.score(x + torch.tensor([0.0, 0.5, 0.0])) > score + 100).all()


@pytest.mark.parametrize("settings", [{"layers": 0}, {"hidden": 0}])
def test_it_refuses_to_be_empty(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        MAF(4, **settings)


def test_the_gradient_is_that_of_zuko() -> None:
    model = maf(5, 4)
    x = torch.randn(20, 5, dtype=torch.float64, requires_grad=True)
    mine = torch.autograd.grad(model.log_prob(x).square().sum(), x)[0]
    theirs = oracle(model)().log_prob(model.standardise(x)) + model.standardise.ladj
    assert torch.allclose(mine, torch.autograd.grad(theirs.square().sum(), x)[0], rtol=1e-9)


def weighted(confidence: list[float], x: Tensor) -> Batch:
    return Batch(x, torch.zeros(len(x)), torch.tensor(confidence, dtype=torch.float64))


@pytest.mark.parametrize("kind", ["ignore", "leave_out", "push"])
def test_full_confidence_gives_the_mean_negative_log_likelihood(kind: str) -> None:
    model, x = maf(3), torch.randn(5, 3, dtype=torch.float64)
    model.confidence = kind  # type: ignore[assignment]
    assert torch.allclose(model.loss(weighted([1.0] * 5, x)), model.score(x).mean())


def test_what_is_surely_anomalous_is_left_out_and_what_is_unknown_counts_by_its_weight() -> None:
    model, x = maf(3), torch.randn(5, 3, dtype=torch.float64)
    model.confidence, model.unknown = "leave_out", 0.25
    score = model.score(x)
    expected = (score[0] + score[1] + 0.25 * score[2]) / 2.25
    assert torch.allclose(model.loss(weighted([1, 1, 0, -1, -1], x)), expected)


def test_a_push_drives_anomalous_records_off_and_ends_at_the_distance() -> None:
    model, x = maf(3), torch.randn(4, 3, dtype=torch.float64)
    x[3] += 30
    model.confidence = "push"
    batch, score = weighted([1, 1, 1, -1], x), model.score(x).detach()
    typical = score[:3].mean()
    above = score[3] - typical
    assert above > 0
    model.distance = float(above) + 5
    assert torch.allclose(model.loss(batch), typical + 5)
    model.distance = float(above) - 5
    assert torch.allclose(model.loss(batch), typical)


@pytest.mark.parametrize("wrong", [{"unknown": -0.1}, {"distance": -1.0}, {"scale_penalty": -0.1}])
def test_confidence_settings_outside_their_limits_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="needs unknown in"):
        MAF(3, **wrong)  # type: ignore[arg-type]


def test_a_penalty_on_scales_adds_the_mean_squared_log_volume() -> None:
    plain, held = maf(5), maf(5)
    held.scale_penalty = 0.3
    batch = weighted([1.0] * 40, torch.randn(40, 5, generator=torch.Generator().manual_seed(1)).double())
    volume = torch.stack([jacobian(plain, row).det().abs().log() for row in batch.x])
    volume = volume - plain.standardise.ladj
    expected = plain.loss(batch) + 0.3 * volume.square().mean() / 5
    torch.testing.assert_close(held.loss(batch), expected)


def test_what_is_left_out_does_not_train_the_scales() -> None:
    model = maf(3)
    model.scale_penalty, model.confidence = 0.5, "leave_out"
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(2)).double().requires_grad_()
    model.loss(weighted([1.0, 1.0, -1.0, 1.0], x)).backward()
    assert x.grad is not None and not x.grad[2].any() and x.grad[[0, 1, 3]].any()


def test_a_penalty_on_scales_and_noise_keep_repeated_records_from_ruling_the_density() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.cat([torch.zeros(300, 3), torch.randn(300, 3, generator=generator)])
    beside = torch.full((1, 3), 0.05)
    drops = []
    for penalty, noise in ((0.0, 0.0), (0.2, 0.1)):
        torch.manual_seed(0)
        model = MAF(3, layers=4, hidden=32, scale_penalty=penalty)
        model.fit(x)
        optimiser = torch.optim.Adam(model.parameters(), 3e-3)
        for _ in range(300):
            optimiser.zero_grad()
            model.loss(weighted([1.0] * 600, x + noise * torch.randn(x.shape, generator=generator))).backward()
            optimiser.step()
        with torch.no_grad():
            drops.append(float(model.score(beside) - model.score(torch.zeros(1, 3))))
    assert drops[1] < drops[0] / 2

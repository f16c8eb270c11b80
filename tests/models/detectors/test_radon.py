from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pipeline.models.base import Batch
from pipeline.models.detectors.mlp import mlp
from pipeline.models.detectors.radon import RADON


def radon(features: int = 4, seed: int = 0, **settings: Any) -> RADON:
    torch.manual_seed(seed)
    return RADON(features, **settings).double()


def rows(n: int = 60, features: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(n, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3 + 1


def batch(x: Tensor, confidence: Tensor) -> Batch:
    return Batch(x, torch.zeros(len(x)), confidence)


def trained(model: RADON, data: Batch, steps: int = 200) -> RADON:
    model.fit(data.x)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(steps):
        loss = model.loss(data)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


@pytest.mark.parametrize("offset", [0.0, 0.5, 2.0])
def test_score_is_1_less_the_cosine_of_record_and_reconstruction_with_one_more_coordinate(offset: float) -> None:
    model, x = radon(offset=offset), rows()
    model.fit(x)
    z = model.standardise(x)
    constant = torch.full((len(x), 1), offset * 4**0.5, dtype=torch.float64)
    with torch.no_grad():
        cosine = torch.cosine_similarity(
            torch.cat((z, constant), 1), torch.cat((model.reconstruct(z), constant), 1), eps=1e-12
        )
        assert torch.allclose(model.score(x), 1 - cosine, atol=1e-12)


def test_a_perfect_reconstruction_scores_0_and_rounding_never_makes_it_negative() -> None:
    model = radon().float()
    model.autoencoder = nn.Sequential()
    x = rows(5000).float()
    score = model.score(x)
    assert torch.equal(score, torch.zeros(5000))
    model.autoencoder = nn.Sequential(nn.Linear(4, 4))
    with torch.no_grad():
        model.autoencoder[0].weight.copy_(torch.eye(4) * (1 + 1e-7))  # type: ignore[operator, union-attr]
        model.autoencoder[0].bias.zero_()  # type: ignore[operator, union-attr]
        assert (model.score(x) >= 0).all()


def test_the_offset_lets_a_longer_record_of_the_same_direction_score_higher() -> None:
    model, plain = radon(standardise=False), radon(standardise=False, offset=0.0)
    near, far = torch.ones(1, 4, dtype=torch.float64), torch.full((1, 4), 50.0, dtype=torch.float64)
    for detector in (model, plain):
        detector.autoencoder = nn.Sequential(nn.Linear(4, 4).double())
        nn.init.zeros_(detector.autoencoder[0].weight)  # type: ignore[arg-type]
        nn.init.ones_(detector.autoencoder[0].bias)  # type: ignore[arg-type]
    assert plain.score(far).item() == pytest.approx(plain.score(near).item(), abs=1e-12)
    assert model.score(far).item() > model.score(near).item() + 0.1


def test_loss_is_the_published_one_weighted_by_confidence() -> None:
    model, x = radon(), rows(6)
    confidence = torch.tensor([1.0, 0.5, 0.0, -1.0, -0.25, 0.0], dtype=torch.float64)
    model.fit(x)
    with torch.no_grad():
        s = 1 - model.score(x)
        expected = (1.0 * (1 - s[0]) ** 2 + 0.5 * (1 - s[1]) ** 2 + s[3] ** 2 + 0.25 * s[4] ** 2) / 2.75
        assert model.loss(batch(x, confidence)).item() == pytest.approx(expected.item())
        assert model.loss(batch(x, confidence / 2)).item() == pytest.approx(expected.item())


def test_an_unknown_record_has_no_part_in_the_loss_and_unknown_records_alone_leave_the_model_as_it_is() -> None:
    model, x = radon(), rows(6)
    confidence = torch.tensor([1.0, -1.0, 0.0, 0.0, 1.0, 0.0])
    other = torch.where((confidence == 0)[:, None], rows(6, seed=1), x)
    assert model.loss(batch(x, confidence)).item() == pytest.approx(model.loss(batch(other, confidence)).item())
    loss = model.loss(batch(x, torch.zeros(6)))
    loss.backward()
    assert loss.item() == 0
    assert all(not parameter.grad.any() for parameter in model.parameters() if parameter.grad is not None)


def test_records_trained_as_anomalous_end_at_a_right_angle_and_the_others_stay_reconstructed() -> None:
    x = torch.cat((rows(150), rows(30, seed=1) + torch.tensor([6.0, -6.0, 6.0, -6.0])))
    confidence = torch.ones(180)
    together = trained(radon(), batch(x, confidence))
    confidence[150:] = -1
    apart = trained(radon(), batch(x, confidence))
    with torch.no_grad():
        assert together.score(x)[150:].mean() < 0.1
        assert apart.score(x)[150:].mean() > 0.8
        assert apart.score(x)[:150].mean() < 0.2


def test_a_record_of_length_0_has_a_finite_score_and_gradient() -> None:
    model = radon(offset=0.0)
    loss = model.loss(batch(torch.zeros(3, 4, dtype=torch.float64), torch.ones(3)))
    loss.backward()
    assert model.score(torch.zeros(1, 4, dtype=torch.float64)).item() == pytest.approx(0.5)
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)


def test_hidden_widths_are_mirrored_and_the_code_is_the_narrowest() -> None:
    widths = [layer.out_features for layer in radon(7, hidden=(6, 5, 2)).autoencoder if isinstance(layer, nn.Linear)]
    assert widths == [6, 5, 2, 5, 6, 7]


def test_features_that_are_scaled_already_are_left_alone() -> None:
    model, x = radon(standardise=False), rows()
    model.fit(x)
    assert torch.equal(model.standardise(x), x)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": ()}, "hidden needs a width"),
        ({"hidden": (4, 0)}, "at least 1 wide"),
        ({"offset": -1.0}, "offset must be at least 0"),
        ({"activation": "sine"}, "must be one of relu, elu, tanh, not 'sine'"),
    ],
)
def test_it_refuses_what_makes_no_autoencoder(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RADON(4, **settings)


def test_a_perceptron_needs_two_widths() -> None:
    with pytest.raises(ValueError, match=r"given widths \(3,\)"):
        mlp((3,))


@settings(max_examples=20, deadline=None)
@given(
    hidden=st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple),
    activation=st.sampled_from(["relu", "elu", "tanh"]),
    standardise=st.booleans(),
    offset=st.sampled_from([0.0, 0.1, 1.0]),
    seed=st.integers(0, 99),
)
def test_the_gradients_by_hand_are_those_of_autograd(
    hidden: tuple[int, ...], activation: str, standardise: bool, offset: float, seed: int
) -> None:
    model = radon(5, seed, hidden=hidden, activation=activation, standardise=standardise, offset=offset)
    x = rows(9, 5, seed)
    model.fit(x)
    data = batch(x, torch.rand(9, dtype=torch.float64) * 2 - 1)
    found, loss = model.loss_and_gradients(data), model.loss(data)
    assert (found is None) == (offset == 0)
    if found is not None:
        assert torch.allclose(found[0], loss)
        for mine, theirs in zip(found[1], torch.autograd.grad(loss, tuple(model.parameters())), strict=True):
            assert torch.allclose(mine, theirs, atol=1e-12)


def test_the_gradient_keeps_its_digits_where_the_reconstruction_is_almost_perfect() -> None:
    x, gradients = rows(20), []
    model = radon(hidden=(4,), standardise=False)
    with torch.no_grad():
        for layer in (model.autoencoder[0], model.autoencoder[2]):
            layer.weight.copy_(torch.eye(4) * (1 + 1e-3))
            layer.bias.fill_(20.0)
        model.autoencoder[2].bias.fill_(-20.0)
    for dtype in (torch.float64, torch.float32):
        found = model.to(dtype).loss_and_gradients(batch(x.to(dtype), torch.ones(20, dtype=dtype)))
        assert found is not None
        loss = found[0]
        gradients.append(found[1][2].double())
    assert loss < 1e-6
    assert torch.allclose(gradients[1], gradients[0], rtol=1e-2, atol=1e-2 * float(gradients[0].abs().max()))

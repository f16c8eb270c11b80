import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd.functional import jacobian
from torch.distributions import Bernoulli, Normal, kl_divergence

from pipeline.base.errors import DataError
from pipeline.models.base import Batch
from pipeline.models.detectors import grand as module
from pipeline.models.detectors.free_energy import least_error, reconstruction_error
from pipeline.models.detectors.grand import GRAnD, ecdf
from pipeline.models.detectors.planar import Planar


def grand(features: int = 4, seed: int = 0, **settings: Any) -> GRAnD:
    torch.manual_seed(seed)
    return GRAnD(features, **settings).double().eval()


def rows(n: int = 60, features: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(n, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3 + 1


def batch(x: Tensor, confidence: Tensor) -> Batch:
    return Batch(x, torch.zeros(len(x)), confidence)


def bent(maps: int, latent: int, seed: int, gain: float = 3.0) -> Planar:
    """Planar maps with large parameters, w'u far below -1 among them."""
    torch.manual_seed(seed)
    planar = Planar(maps, latent).double()
    for parameter in planar.parameters():
        nn.init.normal_(parameter, std=gain)
    return planar


def same_by_hand(model: GRAnD, data: Batch, seed: int) -> None:
    """Loss and gradients by hand are those of autograd; without planar maps there are none by hand."""
    torch.manual_seed(seed)
    found = model.loss_and_gradients(data)
    assert (found is None) == (model.planar is None)
    if found is not None:
        torch.manual_seed(seed)
        loss = model.loss(data)
        assert torch.allclose(found[0], loss)
        for mine, theirs in zip(found[1], torch.autograd.grad(loss, tuple(model.parameters())), strict=True):
            assert torch.allclose(mine, theirs, atol=1e-9)


def without_error(model: GRAnD) -> GRAnD:
    """The model with a decoder that says 0, so that F of a record of zeros is the divergence alone."""
    for parameter in model.decoder.parameters():
        nn.init.zeros_(parameter)
    return model


@settings(max_examples=15)
@given(maps=st.integers(1, 3), latent=st.integers(1, 4), seed=st.integers(0, 99))
def test_ladj_is_that_of_autograd_and_no_map_folds(maps: int, latent: int, seed: int) -> None:
    planar = bent(maps, latent, seed)
    z = torch.randn(latent, dtype=torch.float64)
    matrix = jacobian(lambda row: planar(row[None])[0][0], z)
    sign, expected = torch.linalg.slogdet(matrix)
    assert sign == 1
    assert torch.allclose(planar(z[None])[1][0], expected, atol=1e-5)


def test_a_planar_map_is_invertible_along_the_line_on_which_it_acts() -> None:
    planar = bent(1, 1, seed=0, gain=4.0)
    with torch.no_grad():
        planar.u.copy_(-planar.w)
        z = torch.linspace(-10, 10, 2001, dtype=torch.float64)[:, None]
        assert (planar(z)[0].squeeze().diff() > 0).all()


def test_the_maps_start_as_the_identity() -> None:
    torch.manual_seed(0)
    z = torch.randn(20, 3, dtype=torch.float64)
    mapped, ladj = Planar(3, 3).double()(z)
    assert torch.allclose(mapped, z, atol=1e-6)
    assert torch.allclose(ladj, torch.zeros(20, dtype=torch.float64), atol=1e-6)


@torch.no_grad()
def test_without_planar_maps_the_score_is_error_and_closed_form_divergence() -> None:
    model, x = grand(planar=0), rows()
    model.fit(x)
    z = model.standardise(x)
    mean, log_var = model.encoder(z).chunk(2, -1)
    divergence = kl_divergence(Normal(mean, (0.5 * log_var).exp()), Normal(0.0, 1.0)).sum(-1)
    error = (model.decoder(mean) - z).square().sum(-1)
    assert torch.allclose(model.score(x), error + divergence)


@torch.no_grad()
def test_the_score_is_the_mean_of_the_draws_where_the_decoder_is_constant() -> None:
    model = without_error(grand(planar=0))
    x = rows(1).expand(40_000, 4)
    noise = torch.randn(40_000, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert model.free_energy(x, noise).mean().item() == pytest.approx(model.score(x[:1]).item(), abs=0.05)


@torch.no_grad()
def test_the_posterior_behind_planar_maps_is_a_density() -> None:
    model = without_error(grand(latent=2, planar=2, standardise=False))
    model.encoder = nn.Sequential(nn.Linear(4, 4).double())
    nn.init.zeros_(model.encoder[0].weight)  # type: ignore[arg-type]
    nn.init.zeros_(model.encoder[0].bias)  # type: ignore[arg-type]
    model.planar = bent(2, 2, seed=1, gain=0.7)
    noise = torch.randn(200_000, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    divergence = model.free_energy(torch.zeros(200_000, 4, dtype=torch.float64), noise)
    assert divergence.mean() > 0.05  # the maps do something
    assert (-divergence).exp().mean().item() == pytest.approx(1.0, abs=0.05)  # E_q[p / q] = 1


@torch.no_grad()
@pytest.mark.parametrize("push", ["absolute", "hinge"])
@pytest.mark.parametrize("unknown", ["ecdf", "ignore"])
def test_loss_is_the_published_one_weighted_by_confidence(push: str, unknown: str) -> None:
    x = rows(6)
    model = grand(push=push, unknown=unknown, margin_per="record", margin=4.0)
    confidence = torch.tensor([1.0, 0.5, 0.0, -1.0, -0.25, 0.0], dtype=torch.float64)
    model.fit(x)
    energy = model.score(x)
    assert energy.min() < 4 < energy.max()
    away = (4 - energy).abs() if push == "absolute" else (4 - energy).clamp_min(0)
    share = 1 - confidence.abs()
    below = torch.stack([share[energy <= value].sum() for value in energy]) / share.sum()
    expected = energy[0] + 0.5 * energy[1] + away[3] + 0.25 * away[4]
    if unknown == "ecdf":
        expected = expected + (share * below * away).sum()
    assert model.loss(batch(x, confidence)).item() == pytest.approx(expected.item() / 6)


def test_ecdf_is_the_weighted_share_at_or_below() -> None:
    values = torch.tensor([3.0, 1.0, 2.0, 5.0])
    assert ecdf(values, torch.ones(4)).tolist() == pytest.approx([0.75, 0.25, 0.5, 1.0])
    assert ecdf(values, torch.tensor([0.0, 1.0, 1.0, 0.0])).tolist() == pytest.approx([1.0, 0.5, 1.0, 1.0])
    assert ecdf(values, torch.zeros(4)).tolist() == [0.0] * 4


def test_an_ignored_unknown_record_moves_nothing() -> None:
    model = grand(unknown="ignore").train()
    loss = model.loss(batch(rows(), torch.zeros(60)))
    loss.backward()
    assert loss.item() == 0
    assert all(not parameter.grad.any() for parameter in model.parameters() if parameter.grad is not None)


def test_training_draws_and_scoring_does_not() -> None:
    model, data = grand(), batch(rows(), torch.ones(60))
    assert model.loss(data) == model.loss(data)
    assert torch.equal(model.score(data.x), model.score(data.x))
    model.train()
    assert model.loss(data) != model.loss(data)
    assert torch.equal(model.score(data.x), model.score(data.x))


def test_the_margin_grows_with_the_features_unless_it_is_one_for_each_record() -> None:
    assert grand(features=6, margin=3.0).margin == 18
    assert grand(features=6, margin=100.0, margin_per="record").margin == 100


def test_records_trained_as_anomalous_end_at_the_margin() -> None:
    x = torch.cat((rows(150), rows(30, seed=1) + torch.tensor([6.0, -6.0, 6.0, -6.0])))
    confidence = torch.ones(180)
    confidence[150:] = -1
    model = grand(margin=10.0).train()
    model.fit(x)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(300):
        loss = model.loss(batch(x, confidence))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        energy = model.eval().score(x)
    assert energy[150:].mean().item() == pytest.approx(40.0, rel=0.15)
    assert energy[:150].mean() < 8


def test_features_that_are_scaled_already_are_left_alone() -> None:
    model, x = grand(standardise=False), rows()
    model.fit(x)
    assert torch.equal(model.standardise(x), x)


def test_it_can_be_a_plain_variational_autoencoder_without_a_hidden_layer() -> None:
    model = grand(hidden=(), planar=0)
    assert [type(part) for part in (*model.encoder, *model.decoder)] == [nn.Linear, nn.Linear]
    assert model.score(rows()).shape == (60,)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"latent": 0}, "latent must be at least 1"),
        ({"planar": -1}, "planar at least 0"),
        ({"margin": 0.0}, "margin above 0"),
        ({"margin_per": "row"}, "margin_per must be one of feature, record, not 'row'"),
        ({"push": "pull"}, "push must be one of absolute, hinge"),
        ({"unknown": "drop"}, "unknown must be one of ecdf, ignore"),
        ({"likelihood": "poisson"}, "likelihood must be one of gaussian, bernoulli"),
        ({"likelihood": "bernoulli"}, "needs standardise: false"),
    ],
)
def test_it_refuses_settings_without_a_meaning(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GRAnD(4, **settings)


@settings(max_examples=20)
@given(seed=st.integers(0, 99))
def test_the_bernoulli_error_is_a_divergence_and_grows_outside_of_its_range(seed: int) -> None:
    x, given = rows(20, 6, seed).sigmoid(), rows(20, 6, seed + 1)
    above = reconstruction_error(given, x, "bernoulli") - least_error(x, "bernoulli")
    assert torch.allclose(above, kl_divergence(Bernoulli(x), Bernoulli(logits=given)).sum(-1))
    exact = reconstruction_error(x.logit(), x, "bernoulli")
    assert torch.allclose(exact, least_error(x, "bernoulli"))
    ends, far = torch.tensor([[0.0, 1.0]], dtype=torch.float64), torch.tensor([[-2.0, 1.5]], dtype=torch.float64)
    at_ends, beyond = (
        reconstruction_error(given[:1, :2], each, "bernoulli") - least_error(each, "bernoulli") for each in (ends, far)
    )
    assert (beyond - at_ends).item() == pytest.approx(4.25)


def test_a_bernoulli_likelihood_refuses_features_outside_of_its_range() -> None:
    model = grand(likelihood="bernoulli", standardise=False)
    with pytest.raises(DataError, match=r"4 of 4 lie outside, the first is feature 0, in \[-.*scaling: unit"):
        model.fit(rows())
    model.fit(rows().sigmoid())


@settings(max_examples=25, deadline=None)
@given(
    hidden=st.lists(st.integers(1, 6), max_size=2).map(tuple),
    latent=st.integers(1, 4),
    planar=st.integers(0, 3),
    kinds=st.tuples(
        st.sampled_from(["relu", "elu", "tanh"]),
        st.sampled_from(["absolute", "hinge"]),
        st.sampled_from(["ecdf", "ignore"]),
        st.sampled_from([("gaussian", True), ("gaussian", False), ("bernoulli", False)]),
    ),
    seed=st.integers(0, 99),
)
def test_the_gradients_by_hand_are_those_of_autograd(
    hidden: tuple[int, ...], latent: int, planar: int, kinds: tuple[str, str, str, tuple[str, bool]], seed: int
) -> None:
    activation, push, unknown, (likelihood, standardise) = kinds
    model = grand(
        5, seed, hidden=hidden, latent=latent, planar=planar, activation=activation, push=push, unknown=unknown,
        standardise=standardise, likelihood=likelihood, margin=8.0,
    ).train()  # fmt: skip
    if planar:
        model.planar = bent(planar, latent, seed)
    x = rows(9, 5, seed)
    x = x.sigmoid() if likelihood == "bernoulli" else x
    model.fit(x)
    same_by_hand(model, batch(x, torch.rand(9, dtype=torch.float64) * 2 - 1), seed)


def test_the_limits_of_the_log_variance_and_of_the_determinant_stop_the_gradients_by_hand_too() -> None:
    model, data = grand(standardise=False).train(), batch(rows(30) * 20, torch.ones(30))
    assert model.planar is not None
    with torch.no_grad():
        model.planar.w.mul_(1e-5)  # tanh is 0 for all records,
        model.planar.u.mul_(-2e7)  # and w'u so far below -1 that softplus(w'u) is 0
        assert model.planar(torch.zeros(1, 4, dtype=torch.float64))[1] == pytest.approx(3 * math.log(1e-6))
    same_by_hand(model, data, seed=0)
    log_var = model.encoder(data.x).chunk(2, -1)[1]
    assert (log_var > module.LOG_VAR[1]).any()

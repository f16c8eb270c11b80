"""What sets each loss with benign centres alone apart."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipeline.base.errors import CollapseError
from pipeline.models.base import Batch
from pipeline.models.encoders.identity import Identity
from pipeline.models.encoders.losses.base import Centroids, LatentLoss
from pipeline.models.encoders.losses.binary import Binary
from pipeline.models.encoders.losses.clad import CLAD
from pipeline.models.encoders.losses.deep_sad import DeepSAD
from pipeline.models.encoders.losses.modes import Modes
from pipeline.models.encoders.residual_mlp import ResidualMLP

CENTRE = torch.zeros(1, 3, dtype=torch.float64)


def batch(y: list[int]) -> Batch:
    labels = torch.tensor(y)
    return Batch(torch.zeros(len(y), 1), labels, 1.0 - 2 * labels)


def gradient(loss: LatentLoss, z: Tensor, y: list[int], modes: Tensor | None = None) -> Tensor:
    z = z.clone().requires_grad_()
    return torch.autograd.grad(loss(z, batch(y), modes), z)[0]


def latents(rows: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


AROUND_A_CENTRE = [Binary(centre="start"), DeepSAD(), Modes(centres=1)]


@pytest.mark.parametrize("loss", AROUND_A_CENTRE, ids=lambda loss: type(loss).__name__)
@given(seed=st.integers(0, 1000), radius=st.floats(0.05, 0.95))
def test_descent_pushes_an_attack_out_of_the_ball_and_draws_a_benign_record_in(
    loss: LatentLoss, seed: int, radius: float
) -> None:
    z = latents(1, seed)
    z = z / z.norm() * (radius * loss.separation) ** 0.5
    assert (gradient(loss, z, [1], CENTRE) * z).sum() < 0
    assert (gradient(loss, z, [0], CENTRE) * z).sum() > 0


@pytest.mark.parametrize("loss", [Binary(centre="start"), Modes(centres=1)], ids=lambda loss: type(loss).__name__)
@given(seed=st.integers(0, 1000), beyond=st.floats(1.001, 50))
def test_an_attack_beyond_the_margin_gets_no_gradient(loss: LatentLoss, seed: int, beyond: float) -> None:
    z = latents(1, seed)
    z = z / z.norm() * (beyond * loss.separation) ** 0.5
    assert not gradient(loss, z, [1], CENTRE).any()
    assert gradient(loss, z, [0], CENTRE).any()


def test_binary_pushes_an_attack_in_the_ball_wherever_the_other_attacks_are() -> None:
    """Where dccl sees centroids that are apart, and does nothing."""
    z = torch.tensor([[0.1, 0.0, 0.0], [-0.1, 0.0, 0.0], [9.0, 0.0, 0.0], [0.0, 0.3, 0.0]], dtype=torch.float64)
    push = -gradient(Binary(alpha=0.0), z, [0, 0, 1, 1])
    assert push[3, 1] > 0
    assert not push[2].any()


def test_binary_is_its_formula_around_the_mean_of_the_batch() -> None:
    z, y = latents(9), [0, 1, 0, 1, 1, 0, 0, 1, 0]
    attack = torch.tensor(y) == 1
    distance2 = (z - z[~attack].mean(0)).square().sum(1)
    wanted = 0.3 * distance2[~attack].mean() + 0.7 * (4.0 - distance2[attack]).clamp_min(0).mean()
    loss = Binary(alpha=0.3, gamma=0.7, margin=4.0)
    assert torch.allclose(loss(z, batch(y)), wanted)
    assert torch.allclose(loss(z + 7, batch(y)), wanted)


def test_attacks_without_a_benign_record_to_flee_from_cost_nothing() -> None:
    assert Binary()(latents(4), batch([1] * 4)).item() == 0
    assert Binary(centre="ema")(0.1 * latents(4), batch([1] * 4), CENTRE).item() > 0


def test_ema_follows_the_benign_mean_in_training_alone() -> None:
    encoder = Identity(3, Binary(centre="ema", momentum=0.75)).double()
    rows = Batch(latents(8), torch.tensor([0, 1] * 4), torch.ones(8))
    encoder.eval().loss(rows)
    assert encoder.modes is not None
    assert not encoder.modes.any()
    encoder.train().loss(rows)
    assert torch.allclose(encoder.modes[0], 0.25 * rows.x[::2].mean(0))
    before = encoder.modes.clone()
    assert Binary(centre="ema").follow(before, rows.x.bfloat16(), rows).dtype == before.dtype
    encoder.loss(rows._replace(y=torch.ones(8)))
    assert torch.equal(encoder.modes, before)


def test_deep_sad_is_the_formula_of_the_paper() -> None:
    z, y = latents(6), [0, 0, 1, 0, 1, 1]
    attack, distance2 = torch.tensor(y) == 1, z.square().sum(1)
    wanted = distance2[~attack].mean() + 0.5 * (1 / (distance2[attack] + 1e-3)).mean()
    assert torch.allclose(DeepSAD(eta=0.5, eps=1e-3)(z, batch(y), CENTRE), wanted)


def test_deep_sad_fixes_its_centre_before_training_at_the_mean_of_the_benign_latents() -> None:
    torch.manual_seed(0)
    encoder = ResidualMLP(3, DeepSAD(), width=8, hidden=8, blocks=1, latent=4).double()
    x, y = latents(40), torch.tensor([0, 1] * 20)
    encoder.initialise(x, y)
    centre = encoder.modes.clone()  # type: ignore[union-attr]
    mean = encoder.eval()(x[::2]).mean(0)
    assert (centre.abs() >= 0.1).all()
    assert torch.equal(centre.sign()[0], torch.where(mean < 0, -1.0, 1.0))
    assert torch.allclose(centre[0][mean.abs() >= 0.1], mean[mean.abs() >= 0.1])
    optimizer = torch.optim.AdamW(encoder.parameters(), 1e-2, weight_decay=0.5)
    encoder.train().loss(Batch(x, y, torch.ones(40))).backward()
    optimizer.step()
    assert torch.equal(encoder.modes, centre)  # type: ignore[arg-type]


@given(seed=st.integers(0, 1000), scale=st.floats(1e-3, 1e3))
def test_clad_sees_directions_alone(seed: int, scale: float) -> None:
    z, y = latents(8, seed), [0, 1] * 4
    scales = scale * (0.5 + torch.rand(8, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
    loss, centroids = CLAD(), Centroids(z[0], z[1])
    assert torch.allclose(loss(scales * z, batch(y)), loss(z, batch(y)))
    assert torch.allclose(loss.margin_of(scales * z, centroids), loss.margin_of(z, centroids))


def test_clad_is_its_formula_over_pairs() -> None:
    z, y = latents(7), [0, 1, 0, 0, 1, 1, 0]
    cosine = torch.nn.functional.cosine_similarity(z[:, None], z[None], dim=-1)
    alike = [(1 - cosine[i, j]) ** 2 for i in range(7) for j in range(7) if i != j and y[i] == y[j] == 0]
    unlike = [(0.8 - 1 + cosine[i, j]).clamp_min(0) ** 2 for i in range(7) for j in range(7) if y[i] < y[j]]
    wanted = 2.0 * sum(alike) / len(alike) + sum(unlike) / len(unlike)
    assert torch.allclose(CLAD(alpha=2.0, margin=0.8)(z, batch(y)), wanted)


def test_clad_asks_nothing_of_two_attacks() -> None:
    z = latents(6)
    turned = torch.cat([z[:3], -z[3:]])
    assert torch.equal(CLAD()(z[3:], batch([1] * 3)), CLAD()(turned[3:], batch([1] * 3)))


def test_one_mode_is_the_binary_loss_around_it() -> None:
    z, y = latents(8), batch([0, 1] * 4)
    assert torch.allclose(Modes(centres=1)(z, y, CENTRE), Binary(centre="start")(z, y, CENTRE))


@given(seed=st.integers(0, 1000), temperature=st.floats(0.01, 10), k=st.integers(1, 9))
def test_the_soft_distance_lies_between_the_nearest_mode_and_t_log_k_more(
    seed: int, temperature: float, k: int
) -> None:
    z, modes = latents(5, seed), latents(k, seed + 1)
    nearest = (z[:, None] - modes).square().sum(-1).amin(1)
    soft = Modes(centres=k, temperature=temperature).distance2(z, modes)
    bound = temperature * math.log(k)
    assert (soft >= nearest - 1e-9).all()
    assert (soft <= nearest + bound + 1e-9).all()


def test_modes_start_where_the_benign_latents_are_and_move_only_if_they_are_learnt() -> None:
    where = torch.tensor([[0.0, 0, 0], [20, 0, 0], [0, 20, 0], [0, 0, 20]], dtype=torch.float64)
    z = where.repeat(25, 1) + 0.1 * latents(100)
    y = torch.zeros(100).long()
    for learnt in (True, False):
        encoder = Identity(3, Modes(centres=4, learnt=learnt)).double()
        assert encoder.trainable == learnt
        encoder.initialise(z, y)
        assert torch.cdist(where, encoder.modes).amin(1).max() < 0.2  # type: ignore[arg-type]
        assert encoder.modes.requires_grad == learnt  # type: ignore[union-attr]
        assert "modes" in encoder.state_dict()


class Trained(Identity):
    """A latent that is given, as if it had been learnt."""

    trainable = True  # type: ignore[assignment]


def test_a_latent_that_parts_nothing_is_refused_with_a_remedy() -> None:
    for loss in (Binary(), DeepSAD(), CLAD(), Modes()):
        encoder = Trained(3, loss).double()
        z, y = latents(400), torch.tensor([0, 1] * 200)
        encoder.initialise(z, y)
        encoder.centre(z, y)
        with pytest.raises(CollapseError, match=f"{type(loss).__name__} has parted nothing.*min_steps"):
            encoder.verify(z, y)
        far = z + 15 * (1 - 2 * y[:, None])
        encoder.initialise(far, y)
        encoder.centre(far, y)
        encoder.verify(far, y)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (Binary, {"alpha": -0.1}, "alpha must be at least 0"),
        (Binary, {"margin": 0.0}, "margin must be above 0"),
        (Binary, {"centre": "middle"}, "'batch', 'ema' or 'start', not 'middle'"),
        (Binary, {"momentum": 1.0}, r"momentum must lie in \[0, 1\)"),
        (DeepSAD, {"eta": 0.0}, "eta must be above 0"),
        (CLAD, {"margin": 2.5}, r"margin must lie in \(0, 2\]"),
        (CLAD, {"gamma": 0.0}, "gamma must be above 0"),
        (Modes, {"centres": 0}, "centres must be above 0"),
        (Modes, {"temperature": 0.0}, "temperature must be above 0"),
        (Modes, {"unknown": 2.0}, "unknown must lie in"),
    ],
)
def test_useless_settings_are_refused(kind: type[LatentLoss], settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**settings)


def test_a_loss_that_holds_nothing_adds_nothing_to_the_stored_model() -> None:
    assert set(Identity(3, Binary()).state_dict()) == {"centroid_benign", "centroid_attack"}
    assert replace(Binary(), centre="ema").held == 1

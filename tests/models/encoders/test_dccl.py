from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipeline.models.base import Batch
from pipeline.models.encoders.losses.dccl import DCCL


def batch(y: Tensor) -> Batch:
    return Batch(torch.zeros(len(y), 1), y, torch.zeros(len(y)))


def published(z: Tensor, y: Tensor, loss: DCCL) -> Tensor:
    """Section 1.1 word for word."""
    benign, attack = z[y == 0], z[y == 1]
    c_b, c_a = benign.mean(0), attack.mean(0)
    compact = loss.alpha * ((benign - c_b) ** 2).sum(1).mean() + loss.beta * ((attack - c_a) ** 2).sum(1).mean()
    return compact + loss.gamma * torch.relu(loss.margin - ((c_b - c_a) ** 2).sum())


@given(
    seed=st.integers(0, 1000),
    y=st.lists(st.integers(0, 1), min_size=2, max_size=30).filter(lambda y: 0 < sum(y) < len(y)),
    apart=st.floats(0, 3),
)
def test_dccl_and_its_gradient_are_the_published_ones(seed: int, y: list[int], apart: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.tensor(y)
    z = torch.randn(len(y), 4, dtype=torch.float64, generator=generator) + apart * labels[:, None]
    z.requires_grad_()
    loss = DCCL(0.3, 0.2, 0.7, 5.0)
    mine, theirs = loss(z, batch(labels)), published(z, labels, loss)
    assert torch.allclose(mine, theirs)
    assert torch.allclose(torch.autograd.grad(mine, z)[0], torch.autograd.grad(theirs, z)[0])


def test_separation_is_on_the_squared_distance() -> None:
    z = torch.tensor([[0.0], [2.0]])
    assert DCCL()(z, batch(torch.tensor([0, 1]))).item() == pytest.approx(1.0)  # 5 - 2^2
    assert DCCL()(z * 5**0.5 / 2, batch(torch.tensor([0, 1]))).item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("label", [0, 1])
def test_a_batch_of_one_class_leaves_compactness_alone(label: int) -> None:
    z = torch.tensor([[0.0, 1.0], [2.0, 1.0]], requires_grad=True)
    loss = DCCL()(z, batch(torch.tensor([label, label])))
    assert loss.item() == pytest.approx(0.1)
    loss.backward()
    assert z.grad is not None
    assert z.grad.isfinite().all()


def test_the_place_in_space_does_not_matter() -> None:
    z, y = torch.randn(7, 3, dtype=torch.float64), batch(torch.tensor([0, 1, 1, 0, 1, 0, 0]))
    assert torch.allclose(DCCL()(z + 7, y), DCCL()(z, y))


def test_centroids_that_coincide_are_a_saddle() -> None:
    z = torch.zeros(8, 3, requires_grad=True)
    loss = DCCL()(z, batch(torch.tensor([0, 1] * 4)))
    loss.backward()
    assert loss.item() == 5.0
    assert z.grad is not None
    assert not z.grad.any()


def test_stuck_names_the_saddle_and_what_to_do() -> None:
    assert DCCL().stuck(4.0) is None
    assert DCCL(gamma=0.0).stuck(0.0) is None
    reason = DCCL(gamma=2.0).stuck(0.001) or ""
    for part in ("saddle", "coincide", "gamma * margin = 10", "min_steps", "batch_size", "start: discriminant"):
        assert part in reason


@pytest.mark.parametrize("settings", [{"alpha": -1.0}, {"gamma": -0.1}, {"margin": 0.0}])
def test_dccl_refuses_useless_weights(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(settings))} must be"):
        DCCL(**settings)


def labelled(confidence: list[float]) -> Batch:
    """Six benign records and two attacks."""
    y = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1])
    return Batch(torch.zeros(8, 1), y, torch.tensor(confidence, dtype=torch.float64))


def latents8() -> torch.Tensor:
    return torch.randn(8, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


SURE = [1.0] * 6 + [-1.0] * 2


@pytest.mark.parametrize("confidence", ["leave_out", "push"])
def test_full_confidence_in_the_labels_changes_nothing(confidence: Literal["leave_out", "push"]) -> None:
    z = latents8()
    assert torch.allclose(DCCL(confidence=confidence)(z, labelled(SURE)), DCCL()(z, labelled(SURE)))


def test_a_surely_anomalous_record_is_left_out() -> None:
    z, doubted = latents8(), labelled([1, 1, 1, 1, 1, -1, -1, -1])
    kept = torch.tensor([0, 1, 2, 3, 4, 6, 7])
    without = Batch(*(column[kept] for column in doubted))
    assert torch.allclose(DCCL(confidence="leave_out")(z, doubted), DCCL()(z[kept], without))


def test_a_surely_anomalous_record_is_pushed_as_if_it_were_an_attack() -> None:
    z, doubted = latents8(), labelled([1, 1, 1, 1, 1, -1, -1, -1])
    relabelled = doubted._replace(y=torch.tensor([0, 0, 0, 0, 0, 1, 1, 1]))
    assert torch.allclose(DCCL(confidence="push")(z, doubted), DCCL()(z, relabelled))


def test_an_unknown_record_counts_by_its_weight() -> None:
    z, doubted = latents8(), labelled([0, 0, 0, 0, 0, 0, -1, -1])
    all_alike = DCCL(confidence="leave_out", unknown=0.3)(z, doubted)
    assert torch.allclose(all_alike, DCCL()(z, doubted))  # a common weight cancels
    ignored = Batch(*(column[2:] for column in doubted))
    half = doubted._replace(confidence=torch.tensor([0.0, 0.0, *SURE[2:]], dtype=torch.float64))
    assert torch.allclose(DCCL(confidence="leave_out", unknown=0.0)(z, half), DCCL()(z[2:], ignored))


def test_confidence_settings_outside_their_limits_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown must lie in"):
        DCCL(unknown=1.5)

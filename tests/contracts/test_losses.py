"""Every registered loss of a latent."""

import pytest
import torch

from pipeline.encoders import LOSSES, LatentLoss
from pipeline.nn import Batch
from pipeline.registry import build


@pytest.fixture(params=sorted(LOSSES))
def loss(request: pytest.FixtureRequest) -> LatentLoss:
    return build(LOSSES, request.param)


def batch(y: list[int]) -> Batch:
    labels = torch.tensor(y)
    return Batch(torch.zeros(len(y), 1), labels, 1.0 - 2 * labels)


def latents(rows: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 3, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("y", [[0, 1, 0, 1, 1], [0, 0, 0], [1, 1], [0], [1]])
def test_it_is_a_finite_scalar_with_a_finite_gradient(loss: LatentLoss, y: list[int]) -> None:
    z = latents(len(y)).requires_grad_()
    value = loss(z, batch(y))
    assert value.shape == ()
    assert value.isfinite()
    value.backward()
    assert z.grad is not None
    assert z.grad.isfinite().all()


def test_it_is_lower_for_classes_that_are_compact_and_apart(loss: LatentLoss) -> None:
    y = [0, 1] * 10
    mixed = latents(20)
    apart = 0.01 * mixed + torch.tensor(y)[:, None] * (loss.separation / 3) ** 0.5 * 1.01
    assert loss(apart, batch(y)) < loss(mixed, batch(y))


def test_the_order_of_the_rows_and_the_place_in_space_do_not_matter(loss: LatentLoss) -> None:
    y = [0, 1, 1, 0, 1, 0, 0]
    z, order = latents(7), torch.tensor([3, 0, 6, 2, 5, 1, 4])
    value = loss(z, batch(y))
    assert torch.allclose(loss(z[order], batch([y[i] for i in order])), value)
    assert torch.allclose(loss(z + 7, batch(y)), value)


def test_its_gradient_is_that_of_its_value(loss: LatentLoss) -> None:
    y = batch([0, 1, 1, 0, 1])
    assert torch.autograd.gradcheck(lambda z: loss(z, y), latents(5).requires_grad_())


def test_separated_centroids_are_not_stuck(loss: LatentLoss) -> None:
    assert loss.separation > 0
    assert loss.stuck(loss.separation) is None

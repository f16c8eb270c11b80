"""Every registered loss of a latent."""

from dataclasses import replace

import pytest
import torch

from pipeline.base.registry import build
from pipeline.models.base import Batch
from pipeline.models.encoders.losses.base import Centroids, LatentLoss, class_means
from pipeline.models.encoders.losses.registry import LOSSES


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
    value = loss(z, batch(y), held(loss, latents(4, seed=1)))
    assert value.shape == ()
    assert value.isfinite()
    value.backward()
    assert z.grad is not None
    assert z.grad.isfinite().all()


def held(loss: LatentLoss, z: torch.Tensor) -> torch.Tensor | None:
    """The modes, placed by latents that stand for untrained benign ones."""
    return loss.place(z) if loss.held else None


Y = [0, 1] * 10


def as_asked(loss: LatentLoss) -> torch.Tensor:
    """Latents of Y that satisfy a loss: both classes compact, their centroids on both sides of 0."""
    sign = 1.0 - 2 * torch.tensor(Y, dtype=torch.float64)[:, None]
    return 0.01 * latents(20) + sign * torch.tensor([(loss.separation / 4) ** 0.5 * 1.05, 0.0, 0.0])


def test_it_is_lower_for_classes_that_are_compact_and_apart(loss: LatentLoss) -> None:
    modes = held(loss, as_asked(loss)[::2])
    assert loss(as_asked(loss), batch(Y), modes) < loss(latents(20), batch(Y), modes)


def test_the_sign_of_the_margin_tells_the_classes_apart_where_the_loss_is_satisfied(loss: LatentLoss) -> None:
    z, y = as_asked(loss), torch.tensor(Y)
    means, _ = class_means(loss.project(z), y)
    centroids = Centroids(means[0], means[1], held(loss, z[::2]))
    assert torch.equal(loss.margin_of(z, centroids) > 0, y == 1)
    assert loss.stuck(loss.apart(z, y, centroids)) is None
    assert loss.stuck(loss.apart(z, y.flip(0), centroids._replace(attack=means[0]))) is not None


def test_the_order_of_the_rows_does_not_matter(loss: LatentLoss) -> None:
    y = [0, 1, 1, 0, 1, 0, 0]
    z, order = latents(7), torch.tensor([3, 0, 6, 2, 5, 1, 4])
    modes = held(loss, z)
    assert torch.allclose(loss(z[order], batch([y[i] for i in order]), modes), loss(z, batch(y), modes))


def test_its_gradient_is_that_of_its_value(loss: LatentLoss) -> None:
    y, modes = batch([0, 1, 1, 0, 1]), held(loss, latents(5, seed=1))
    assert torch.autograd.gradcheck(lambda z: loss(z, y, modes), latents(5).requires_grad_())


def test_it_places_as_many_modes_as_it_holds(loss: LatentLoss) -> None:
    if not loss.held:
        assert not loss.learns_modes
        return
    for rows in (latents(40), latents(40)[:2], torch.ones(5, 3, dtype=torch.float64)):
        placed = loss.place(rows)
        assert placed.shape == (loss.held, 3)
        assert placed.isfinite().all()
        assert torch.equal(loss.place(rows), placed)


DOUBTS = torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0, -1.0], dtype=torch.float64)


def test_what_confidence_does(loss: LatentLoss) -> None:
    z, modes = latents(6), held(loss, latents(5, seed=1))
    doubted = Batch(torch.zeros(6, 1), torch.tensor([0, 0, 0, 0, 1, 1]), DOUBTS)
    relabelled = doubted._replace(y=torch.tensor([0, 0, 0, 1, 1, 1]))
    kept = torch.tensor([0, 1, 2, 4, 5])
    without = Batch(*(column[kept] for column in doubted))
    out, push = (replace(loss, confidence=what) for what in ("leave_out", "push"))
    assert not loss.heeds_confidence and out.heeds_confidence and push.heeds_confidence
    assert torch.allclose(out(z, doubted, modes), loss(z[kept], without, modes))
    assert torch.allclose(push(z, doubted, modes), loss(z, relabelled, modes))
    assert torch.equal(loss(z, doubted, modes), loss(z, doubted._replace(confidence=-DOUBTS), modes))


def test_separated_centroids_are_not_stuck(loss: LatentLoss) -> None:
    assert loss.separation > 0
    assert loss.stuck(loss.separation) is None

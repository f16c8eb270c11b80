"""Every registered encoder, with every registered loss."""

import copy

import pytest
import torch
from torch import Tensor

from pipeline.base.registry import build
from pipeline.models.base import Batch
from pipeline.models.encoders.base import Encoder
from pipeline.models.encoders.losses.registry import LOSSES
from pipeline.models.encoders.registry import ENCODERS

F, N = 16, 64
PAIRS = [(encoder, loss) for encoder in ENCODERS for loss in LOSSES]


@pytest.fixture(params=PAIRS, ids="-".join)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    torch.manual_seed(0)
    name, loss = request.param
    return build(ENCODERS, name, features=F, loss=build(LOSSES, loss)).double()


def rows(n: int = N) -> Batch:
    generator = torch.Generator().manual_seed(1)
    y = torch.arange(n) % 2
    x = torch.randn(n, F, generator=generator, dtype=torch.float64) + 2 * y[:, None]
    return Batch(x, y, 1.0 - 2 * y)


def latent(encoder: Encoder, x: Tensor) -> Tensor:
    with torch.no_grad():
        return encoder.eval()(x)


def test_latent_has_the_promised_width(encoder: Encoder) -> None:
    z = latent(encoder, rows().x)
    assert z.shape == (N, encoder.latent)
    assert z.isfinite().all()


def test_a_record_is_mapped_alone_and_the_same_each_time(encoder: Encoder) -> None:
    x = rows().x
    z = latent(encoder, x)
    assert torch.equal(latent(encoder, x), z)
    assert torch.allclose(latent(encoder, x[5:6]), z[5:6])
    order = torch.randperm(N)
    assert torch.allclose(latent(encoder, x[order]), z[order])


def test_loss_is_a_finite_scalar_that_reaches_every_parameter(encoder: Encoder) -> None:
    encoder.initialise(*rows()[:2])
    loss = encoder.train().loss(rows())
    assert loss.shape == ()
    assert loss.isfinite()
    if encoder.trainable:
        loss.backward()
        for name, parameter in encoder.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("label", [0, 1])
def test_a_batch_of_one_class_and_of_one_row_is_finite(encoder: Encoder, label: int) -> None:
    batch = Batch(rows().x, torch.full((N,), label), torch.ones(N))
    assert encoder.train().loss(batch).isfinite()
    assert encoder.loss(Batch(*(column[:1] for column in batch))).isfinite()


def test_margin_is_higher_for_attacks(encoder: Encoder) -> None:
    batch = rows()
    encoder.initialise(batch.x, batch.y)
    z = latent(encoder, batch.x)
    encoder.centre(z, batch.y)
    margin = encoder.margin(z)
    assert margin.shape == (N,)
    assert margin[batch.y == 1].mean() > margin[batch.y == 0].mean()
    assert encoder.margin(encoder.centroid_attack[None]) > encoder.margin(encoder.centroid_benign[None])
    assert torch.equal(encoder.score(batch.x), margin)


def test_initialising_is_the_same_each_time_and_keeps_the_mode(encoder: Encoder) -> None:
    again = copy.deepcopy(encoder)
    for each in (encoder, again):
        torch.manual_seed(3)
        each.train().initialise(*rows()[:2])
        assert each.training
    assert all(torch.equal(a, encoder.state_dict()[name]) for name, a in again.state_dict().items())


def test_float32_and_float64_agree(encoder: Encoder) -> None:
    batch = rows()
    encoder.initialise(batch.x, batch.y)
    encoder.centre(latent(encoder, batch.x), batch.y)
    exact, single = encoder.score(batch.x), encoder.float().score(batch.x.float())
    assert single.dtype == torch.float32
    assert torch.allclose(single.double(), exact, rtol=1e-3, atol=1e-3)
    assert encoder.train().loss(batch._replace(x=batch.x.float())).dtype == torch.float32


def test_it_trains_in_mixed_precision(encoder: Encoder) -> None:
    batch = rows()._replace(x=rows().x.float())
    encoder.float().initialise(batch.x, batch.y)
    with torch.autocast("cpu", torch.bfloat16):
        loss = encoder.train().loss(batch)
    assert loss.isfinite()
    if encoder.trainable:
        loss.backward()
    assert all(parameter.dtype == torch.float32 for parameter in encoder.state_dict().values())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_it_moves_to_a_gpu_whole(encoder: Encoder) -> None:
    batch = Batch(*(column.cuda() for column in rows()))
    encoder.cuda().initialise(batch.x, batch.y)
    encoder.train().loss(batch).backward()
    z = latent(encoder, batch.x)
    encoder.centre(z, batch.y)
    assert encoder.margin(z).is_cuda


def test_the_state_dict_is_the_whole_model(encoder: Encoder) -> None:
    batch = rows()
    encoder.initialise(batch.x, batch.y)
    z = latent(encoder, batch.x)
    encoder.centre(z, batch.y)
    torch.manual_seed(9)
    again = type(encoder)(features=F, loss=encoder.latent_loss).double()
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(latent(again, batch.x), z)
    assert torch.equal(again.margin(z), encoder.margin(z))


def test_the_same_seed_builds_the_same_encoder(encoder: Encoder) -> None:
    torch.manual_seed(0)
    again = type(encoder)(features=F, loss=encoder.latent_loss).double()
    assert all(torch.equal(a, b) for a, b in zip(encoder.parameters(), again.parameters(), strict=True))

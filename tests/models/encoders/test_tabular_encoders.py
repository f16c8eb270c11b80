import pytest
import torch
from torch import Tensor

from pipeline.models.base import Batch
from pipeline.models.encoders.base import Encoder
from pipeline.models.encoders.feature_tokens import FeatureTokens
from pipeline.models.encoders.identity import Identity
from pipeline.models.encoders.losses.dccl import DCCL
from pipeline.models.encoders.residual_mlp import ResidualMLP


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_features_permuted_with_their_tokens_give_the_same_latent(pool: str) -> None:
    torch.manual_seed(0)
    encoder = FeatureTokens(9, DCCL(), pool=pool).double().eval()  # type: ignore[arg-type]
    x, order = torch.randn(5, 9, dtype=torch.float64), torch.randperm(9)
    z = encoder(x)
    assert not torch.allclose(encoder(x[:, order]), z)  # a token tells its feature
    with torch.no_grad():
        encoder.weight.copy_(encoder.weight[order])
        encoder.bias.copy_(encoder.bias[order])
    assert torch.allclose(encoder(x[:, order]), z)


def test_the_pools_read_the_tokens_as_they_say() -> None:
    assert "reader" not in FeatureTokens(4, DCCL(), pool="mean").state_dict()
    torch.manual_seed(0)
    encoder = FeatureTokens(4, DCCL(), layers=0).double().eval()
    x = torch.randn(3, 4, dtype=torch.float64)
    assert torch.equal(encoder(x), encoder(-x))  # without a layer, cls reads nothing
    encoder.pool, encoder.reader = "mean", None
    assert not torch.equal(encoder(x), encoder(-x))


def test_a_block_is_near_the_identity_of_its_input() -> None:
    torch.manual_seed(0)
    encoder = ResidualMLP(6, DCCL(), width=16, hidden=8, blocks=2).double().eval()
    x = torch.randn(7, 6, dtype=torch.float64)
    for block in encoder.blocks:
        torch.nn.init.zeros_(block.narrow.weight)
        torch.nn.init.zeros_(block.narrow.bias)
    none = ResidualMLP(6, DCCL(), width=16, blocks=0).double().eval()
    none.load_state_dict({name: value for name, value in encoder.state_dict().items() if "blocks" not in name})
    assert torch.allclose(encoder(x), none(x))


def rows(n: int = 256) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 2
    x = torch.randn(n, 8, generator=generator)
    return torch.where(y[:, None] == 1, x + 2 * x.sign(), x), y  # around the benign records, on all sides


@pytest.mark.parametrize(
    "encoder", [lambda: ResidualMLP(8, DCCL(), width=32, hidden=32), lambda: FeatureTokens(8, DCCL(), layers=1)]
)
def test_it_learns_classes_whose_means_coincide_and_passes_verify(encoder: type[Encoder]) -> None:
    torch.manual_seed(0)
    model, (x, y) = encoder(), rows()
    model.initialise(x, y)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        model.train().loss(Batch(x, y, torch.ones(len(y)))).backward()
        optimizer.step()
    with torch.no_grad():
        z = model.eval()(x)
    model.centre(z, y)
    model.verify(z, y)
    right = (model.margin(z) > 0) == (y == 1)
    assert right.float().mean() > 0.9


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ResidualMLP(3, DCCL(), width=0), "width, hidden and latent must be at least 1"),
        (lambda: FeatureTokens(3, DCCL(), pool="max"), "'cls' or 'mean', not 'max'"),  # type: ignore[arg-type]
        (lambda: FeatureTokens(3, DCCL(), width=31), "width 31 is not a multiple of heads 2"),
    ],
)
def test_settings_that_make_no_encoder_are_refused(build: type[Encoder], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_without_an_encoder_the_loss_has_no_say_in_what_is_refused() -> None:
    """Attacks around the benign records have their mean, which a trained latent would be stuck at."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 4, generator=generator)
    x[200:] *= 3
    y = torch.arange(400) >= 200
    encoder = Identity(4, DCCL())
    encoder.centre(x, y.long())
    encoder.verify(x, y.long())

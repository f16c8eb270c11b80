from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from pipeline.base.errors import CollapseError, TrainingError
from pipeline.models.base import Batch
from pipeline.models.encoders.base import Encoder
from pipeline.models.encoders.cnn_transformer import CNNTransformer
from pipeline.models.encoders.identity import Identity
from pipeline.models.encoders.losses.dccl import DCCL


def test_the_published_setting_has_158080_parameters() -> None:
    encoder = CNNTransformer(71, DCCL())
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in encoder.named_children()}
    assert sum(p.numel() for p in encoder.parameters()) == 158_080
    assert count["convolutions"] == 2_720
    assert count["project"] == 1_088
    assert count["transformer"] == 149_952
    assert count["norm"] + count["head"] == 2_208
    assert encoder.position.numel() == 2_112
    assert encoder.latent == 32


class Published(nn.Module):
    """The published encoder from PyTorch's own layers."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (1, 32, 16, 16, 16, 16)
        self.convolutions = nn.Sequential(
            *(part for a, b in pairwise(sizes) for part in (nn.Conv1d(a, b, 2), nn.ReLU()))
        )
        self.project = nn.Linear(16, 64)
        self.position = nn.Parameter(torch.zeros(1, 33, 64))
        layer = nn.TransformerEncoderLayer(64, 4, 256, batch_first=True)
        self.transformer = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(64)
        self.head = nn.Linear(64, 32)

    def forward(self, x: Tensor) -> Tensor:
        h = nn.functional.max_pool1d(self.convolutions(x.unsqueeze(1)), 2).transpose(1, 2)
        h = self.transformer(self.project(h) + self.position)
        return self.head(torch.relu(self.norm(h.mean(1))))


RENAMED = (
    ("transformer.", "transformer.layers."),
    (".attention.qkv.", ".self_attn.in_proj_"),
    (".attention.out.", ".self_attn.out_proj."),
    (".attention_norm.", ".norm1."),
    (".widen.", ".linear1."),
    (".narrow.", ".linear2."),
    (".feedforward_norm.", ".norm2."),
)


def renamed(name: str) -> str:
    for mine, theirs in RENAMED:
        name = name.replace(mine, theirs)
    return name


def test_it_is_the_encoder_built_from_pytorchs_layers() -> None:
    torch.manual_seed(0)
    encoder = CNNTransformer(71, DCCL()).double().eval()
    oracle = Published().double().eval()
    oracle.load_state_dict({renamed(k): v for k, v in encoder.state_dict().items() if not k.startswith("centroid")})
    x = torch.randn(9, 71, dtype=torch.float64) * 3
    assert torch.allclose(encoder(x), oracle(x), atol=1e-10)


def test_rows_do_not_see_each_other() -> None:
    torch.manual_seed(0)
    encoder = CNNTransformer(20, DCCL()).double().eval()
    x = torch.randn(6, 20, dtype=torch.float64)
    assert torch.allclose(encoder(x)[2:3], encoder(x[2:3]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"features": 6}, "need at least 7 features, given 6"),
        ({"features": 71, "width": 62}, "width 62 is not a multiple of heads 4"),
        ({"features": 71, "start": "middle"}, "'published' or 'discriminant', not 'middle'"),
    ],
)
def test_it_refuses_settings_that_make_no_encoder(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CNNTransformer(**({"loss": DCCL()} | settings))  # type: ignore[arg-type]


def test_the_smallest_number_of_features_works() -> None:
    assert CNNTransformer(7, DCCL())(torch.randn(3, 7)).shape == (3, 32)


def records(n: int, features: int = 24) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    y = (torch.rand(n, generator=generator) < 0.6).long()
    return torch.randn(n, features, generator=generator) + 1.5 * y[:, None], y


def losses(start: str, steps: int) -> list[float]:
    x, y = records(1024)
    torch.manual_seed(0)
    encoder = CNNTransformer(24, DCCL(), start=start, layers=1)  # type: ignore[arg-type]
    encoder.initialise(x, y)
    optimizer = torch.optim.AdamW(encoder.parameters(), 3e-4)
    values = []
    for step in range(steps):
        rows = slice(128 * (step % 8), 128 * (step % 8) + 128)
        loss = encoder.loss(Batch(x[rows], y[rows], torch.ones(128)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    return values


def test_the_discriminant_start_leaves_the_saddle_at_once_and_the_published_one_stays() -> None:
    assert min(losses("published", 15)) > 4.9
    left = losses("discriminant", 15)
    assert left[0] < 4.5
    assert left[-1] < 2.5


def test_the_discriminant_start_keeps_mode_and_other_latents() -> None:
    x, y = records(300)
    torch.manual_seed(0)
    encoder = CNNTransformer(24, DCCL(), start="discriminant").eval()
    before = encoder.head.weight.clone()
    encoder.initialise(x, y)
    assert not encoder.training
    assert torch.equal(encoder.head.weight[1:], before[1:])
    assert not torch.equal(encoder.head.weight[0], before[0])


def test_the_discriminant_start_of_one_class_or_of_equal_records_is_finite() -> None:
    x, y = records(50)
    for rows, labels in ((x, torch.zeros_like(y)), (torch.ones_like(x), y)):
        encoder = CNNTransformer(24, DCCL(), start="discriminant")
        encoder.initialise(rows, labels)
        assert all(p.isfinite().all() for p in encoder.parameters())


class Trained(Identity):
    """A latent that is given, as if it had been learnt."""

    trainable = True  # type: ignore[assignment]


def centred(z: Tensor, y: Tensor) -> Encoder:
    encoder = Trained(z.shape[1], DCCL())
    encoder.centre(z, y)
    return encoder


def test_margin_is_the_difference_of_squared_distances() -> None:
    z, y = records(40, 3)
    encoder = centred(z, y)
    benign, attack = z[y == 0].mean(0), z[y == 1].mean(0)
    assert torch.allclose(encoder.margin(benign[None]), -(benign - attack).square().sum())
    assert torch.allclose(encoder.margin(attack[None]), (benign - attack).square().sum())
    assert encoder.margin(((benign + attack) / 2)[None]).abs().item() < 1e-5


@pytest.mark.parametrize(("label", "absent"), [(0, "no attacks"), (1, "no benign records")])
def test_centre_refuses_a_single_class(label: int, absent: str) -> None:
    with pytest.raises(TrainingError, match=absent):
        centred(torch.randn(5, 3), torch.full((5,), label))


COLLAPSED = {
    "the same latent": lambda z, y: torch.ones_like(z),
    "only 2 distinct values": lambda z, y: y[:, None].float().expand_as(z) * 3,
    "stands at its saddle": lambda z, y: (
        z - 1.5 * y[:, None] - torch.stack([z[y == c].mean(0) for c in (0, 1)])[y] + 1.5 * y[:, None]
    ),
    "not finite": lambda z, y: z / 0,
}


@pytest.mark.parametrize("message", COLLAPSED)
def test_verify_says_how_a_latent_has_collapsed(message: str) -> None:
    z, y = records(60, 3)
    z = COLLAPSED[message](z, y)
    with pytest.raises(CollapseError, match=message):
        centred(z, y).verify(z, y)


def test_verify_accepts_a_latent_that_separates() -> None:
    z, y = records(60, 3)
    centred(z, y).verify(z, y)


def test_an_untrained_published_encoder_does_not_pass() -> None:
    x, y = records(200)
    encoder = CNNTransformer(24, DCCL()).eval()
    with torch.no_grad():
        z = encoder(x)
    encoder.centre(z, y)
    with pytest.raises(CollapseError):
        encoder.verify(z, y)

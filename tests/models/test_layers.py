import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from pipeline.models.base import is_fused
from pipeline.models.detectors.mlp import layers_back, layers_forth
from pipeline.models.layers import (
    Dropout,
    SelfAttention,
    Standardise,
    TransformerLayer,
    dropout_mask,
    dropout_scale,
    perceptron,
)
from pipeline.models.scoring import in_batches


@given(rows=st.integers(0, 20), size=st.integers(1, 25), wide=st.booleans())
def test_in_batches_equals_the_function_at_once(rows: int, size: int, wide: bool) -> None:
    x = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)

    def function(part: Tensor) -> Tensor:
        assert len(part) <= size
        assert torch.is_inference_mode_enabled()
        return part * 2 if wide else part.sum(1)

    mapped = in_batches(function, x, size, "cpu")
    assert mapped.dtype == np.float32
    np.testing.assert_array_equal(mapped, x * 2 if wide else x.sum(1))


def test_in_batches_takes_rows_that_are_not_contiguous() -> None:
    x = np.arange(24, dtype=np.float32).reshape(4, 6)[::2, ::3]
    np.testing.assert_array_equal(in_batches(lambda part: part, x, 1, "cpu"), x)


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(p: float) -> None:
    torch.manual_seed(0)
    n = 400_001
    mask = dropout_mask((n,), p, torch.empty(0))
    realised = 1 - 1 / dropout_scale(p)
    assert abs(realised - p) <= 1 / 512
    assert abs((mask == 0).double().mean().item() - realised) < 5 * math.sqrt(realised * (1 - realised) / n)
    assert set(mask.unique().tolist()) == {0.0, torch.tensor(dropout_scale(p)).item()}


def test_neighbours_are_dropped_independently() -> None:
    torch.manual_seed(1)
    dropped = (dropout_mask((100_000, 8), 0.5, torch.empty(0)) == 0).double()
    correlation = torch.corrcoef(dropped.T) - torch.eye(8, dtype=torch.float64)
    assert correlation.abs().max() < 5 / math.sqrt(100_000)


def test_dropout_is_the_identity_outside_training_and_repeats_by_seed() -> None:
    x = torch.randn(50, 7)
    brick = Dropout(0.4)
    assert torch.equal(brick.eval()(x), x)
    brick.train()
    torch.manual_seed(3)
    first = brick(x)
    torch.manual_seed(3)
    assert torch.equal(brick(x), first)
    assert not torch.equal(brick(x), first)


def weights(*shapes: tuple[int, ...]) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def test_perceptron_is_two_linear_layers_and_a_relu() -> None:
    x, w1, b1, w2, b2 = weights((6, 3), (5, 3), (5,), (4, 5), (4,))
    expected = functional.linear(functional.relu(functional.linear(x, w1, b1)), w2, b2)
    assert torch.allclose(perceptron(x, (w1, b1), (w2, b2)), expected)
    assert torch.autograd.gradcheck(lambda *p: perceptron(p[0], (p[1], p[2]), (p[3], p[4])), (x, w1, b1, w2, b2))


def test_the_gradient_of_a_perceptron_holds_under_dropout() -> None:
    tensors = weights((6, 3), (50, 3), (50,), (4, 50), (4,))

    def seeded(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
        torch.manual_seed(5)
        return perceptron(x, (w1, b1), (w2, b2), 0.3)

    assert not torch.allclose(seeded(*tensors), perceptron(tensors[0], tuple(tensors[1:3]), tuple(tensors[3:])))
    assert torch.autograd.gradcheck(seeded, tensors)


@settings(max_examples=20)
@given(
    widths=st.lists(st.integers(1, 6), min_size=2, max_size=5),
    activation=st.sampled_from(["relu", "elu", "tanh"]),
    seed=st.integers(0, 99),
)
def test_layers_and_their_gradient_are_those_of_autograd(widths: list[int], activation: str, seed: int) -> None:
    torch.manual_seed(seed)
    kind = {"relu": nn.ReLU, "elu": nn.ELU, "tanh": nn.Tanh}[activation]
    linears = [nn.Linear(into, out).double() for into, out in pairwise(widths)]
    body = nn.Sequential(*[part for linear in linears for part in (linear, kind())][:-1])
    x, layers = torch.randn(7, widths[0], dtype=torch.float64, requires_grad=True), list(body.parameters())
    expected, pull = body(x), torch.randn(7, widths[-1], dtype=torch.float64)
    with torch.no_grad():
        out, read = layers_forth(x, layers, activation)
        first, of_layers = layers_back(pull, read, layers, activation)
        mine = (out, first @ layers[0], *of_layers)
    theirs = (expected, *torch.autograd.grad(expected, (x, *layers), pull))
    assert all(torch.allclose(a, b) for a, b in zip(mine, theirs, strict=True))


def test_nothing_is_fused_without_gradients_or_in_mixed_precision() -> None:
    x = torch.zeros(2)
    assert is_fused(x)
    assert not is_fused(x.to("meta"))
    with torch.no_grad():
        assert not is_fused(x)
    with torch.autocast("cpu"):
        assert not is_fused(x)


def oracle_layer(layer: TransformerLayer, width: int, heads: int, feedforward: int) -> nn.TransformerEncoderLayer:
    """PyTorch's layer with the same weights."""
    oracle = nn.TransformerEncoderLayer(width, heads, feedforward, batch_first=True, dtype=torch.float64)
    names = {
        "self_attn.in_proj_": layer.attention.qkv,
        "self_attn.out_proj.": layer.attention.out,
        "norm1.": layer.attention_norm,
        "linear1.": layer.widen,
        "linear2.": layer.narrow,
        "norm2.": layer.feedforward_norm,
    }
    oracle.load_state_dict({f"{key}{k}": v for key, part in names.items() for k, v in part.state_dict().items()})
    return oracle


@settings(max_examples=15)
@given(batch=st.integers(1, 4), length=st.integers(1, 9), heads=st.sampled_from([1, 2, 4]), seed=st.integers(0, 99))
def test_a_transformer_layer_is_that_of_pytorch(batch: int, length: int, heads: int, seed: int) -> None:
    torch.manual_seed(seed)
    layer = TransformerLayer(8, heads, 12, 0.1).double().eval()
    oracle = oracle_layer(layer, 8, heads, 12)
    oracle.train()  # its other code path; without dropout the same function
    for part in oracle.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    oracle.self_attn.dropout = 0.0
    x = torch.randn(batch, length, 8, dtype=torch.float64, requires_grad=True)
    mine, theirs = layer(x), oracle(x)
    assert torch.allclose(mine, theirs, atol=1e-10)
    assert torch.allclose(
        torch.autograd.grad(mine.square().sum(), x)[0], torch.autograd.grad(theirs.square().sum(), x)[0], atol=1e-9
    )


def test_attention_in_training_has_the_mean_of_attention_in_eval() -> None:
    torch.manual_seed(0)
    attention = SelfAttention(8, 2, 0.2)
    x = torch.randn(1, 5, 8)
    with torch.no_grad():
        expected = attention.eval()(x)
        drawn = attention.train()(x.expand(40_000, 5, 8))
    assert torch.allclose(drawn.mean(0), expected[0], atol=6 * drawn.std(0).max().item() / math.sqrt(40_000))


def test_attention_refuses_a_width_that_heads_do_not_divide() -> None:
    with pytest.raises(ValueError, match="width 10 is not a multiple of heads 4"):
        SelfAttention(10, 4, 0.0)


def test_standardise_gives_zero_mean_unit_variance_and_its_log_determinant() -> None:
    torch.manual_seed(0)
    x = torch.randn(500, 4, dtype=torch.float64) * torch.tensor([1.0, 0.1, 20.0, 3.0]) + 5
    brick = Standardise(4).double()
    brick.fit(x)
    z = brick(x)
    assert torch.allclose(z.mean(0), torch.zeros(4, dtype=torch.float64), atol=1e-10)
    assert torch.allclose(z.var(0, correction=0), torch.ones(4, dtype=torch.float64))
    jacobian = torch.autograd.functional.jacobian(lambda row: brick(row[None])[0], x[0])
    assert torch.allclose(brick.ladj, torch.linalg.slogdet(jacobian).logabsdet)


def test_standardise_floors_the_scale_of_a_constant_feature() -> None:
    x = torch.randn(100, 3)
    x[:, 1] = 0.7
    brick = Standardise(3)
    brick.fit(x)
    assert brick.scale[1] >= 5e-4
    assert torch.isfinite(brick(x + 1e-6)).all()
    brick.fit(torch.ones(10, 3))
    assert torch.equal(brick.scale, torch.ones(3))

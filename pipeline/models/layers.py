"""Layers that models are built from: dropout, perceptron, self-attention, standardisation."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


def _dropped_bytes(p: float) -> int:
    return round(p * 256)


def dropout_scale(p: float) -> float:
    """1 / the probability with which ``dropout_mask`` keeps an entry for ``p``."""
    return 256 / (256 - _dropped_bytes(p))


def dropout_mask(shape: tuple[int, ...], p: float, like: Tensor) -> Tensor:
    """A mask of 0 and 1/keep whose entries are 0 with probability ``p``, rounded to a multiple of 1/256.

    One random byte decides one entry, and bytes are drawn eight at a time. On a CPU this costs 1.5 ns an entry;
    ``bernoulli_`` costs 22 ns, a third of a training step of the published encoder. Entries are rescaled by the
    realised probability, so the mask has an expectation of exactly 1.
    """
    entries = math.prod(shape)
    draws = torch.empty((entries + 7) // 8, dtype=torch.int64, device=like.device).random_(-(2**63), None)
    kept = draws.view(torch.uint8)[:entries].view(shape).ge_(_dropped_bytes(p))
    return kept.to(like.dtype).mul_(dropout_scale(p))


class Dropout(nn.Dropout):
    """Inverted dropout (Srivastava et al., "Dropout", 2014), fast on a CPU; on other devices PyTorch's own."""

    def forward(self, input: Tensor) -> Tensor:
        """Zero entries of ``input``, any shape, in training; the identity otherwise."""
        if not self.training or self.p == 0:
            return input
        if input.device.type != "cpu":
            return functional.dropout(input, self.p)
        return input * dropout_mask(input.shape, self.p, input)


Affine = tuple[Tensor, Tensor]
"""Weight (out, in) and bias (out,), as ``functional.linear`` takes them."""


class _Perceptron(torch.autograd.Function):
    """``perceptron`` with one hidden tensor, which is changed in place in both directions."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float, *layers: Tensor) -> Tensor:
        w1, b1, w2, b2 = layers
        hidden = torch.addmm(b1, x, w1.T).relu_()
        if p > 0:
            hidden.mul_(dropout_mask(hidden.shape, p, hidden))
        ctx.save_for_backward(x, w1, w2, hidden)
        ctx.scale = dropout_scale(p)
        return torch.addmm(b2, hidden, w2.T)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, w1, w2, hidden = ctx.saved_tensors
        back = grad @ (w2 * ctx.scale)
        # Entries above 0 are those that passed the ReLU and were not dropped.
        torch.ops.aten.threshold_backward.grad_input(back, hidden, 0, grad_input=back)
        return back @ w1, None, back.T @ x, back.sum(0), grad.T @ hidden, grad.sum(0)


def perceptron(x: Tensor, first: Affine, second: Affine, p: float = 0.0) -> Tensor:
    """Two affine layers with ReLU and dropout ``p`` between them, (B, F) to (B, out).

    On a CPU the hidden layer, by far the widest tensor, is written once, not once for each operation.
    """
    if x.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
        return _Perceptron.apply(x, p, *first, *second)  # type: ignore[no-any-return, no-untyped-call]
    return functional.linear(functional.dropout(functional.relu(functional.linear(x, *first)), p), *second)


class SelfAttention(nn.Module):
    """Multi-head self-attention with dropout on its weights (Vaswani et al., "Attention Is All You Need", 2017, 3.2).

    Function, parameters and initialisation are those of ``nn.MultiheadAttention``. For short sequences on a CPU, two
    batched products over all heads beat a fused kernel; on other devices the fused kernel is used.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of heads {heads}")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.dropout = Dropout(dropout)
        nn.init.xavier_uniform_(self.qkv.weight)
        nn.init.zeros_(self.qkv.bias)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, L, D) to (B, L, D)."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).contiguous()  # (B, heads, L, d)
        if x.device.type == "cpu":
            mixed = self._mix(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1)).view_as(q)
        else:
            mixed = functional.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout.p if self.training else 0.0)
        joined: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return joined

    def _mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """softmax(q k' / sqrt(d)) v for (B * heads, L, d)."""
        weights = torch.softmax(torch.bmm(q * q.shape[-1] ** -0.5, k.transpose(1, 2)), -1)
        return torch.bmm(self.dropout(weights), v)


class TransformerLayer(nn.Module):
    """Post-norm encoder layer with ReLU: the function of ``nn.TransformerEncoderLayer`` at its defaults."""

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads, dropout)
        self.attention_norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, feedforward)
        self.narrow = nn.Linear(feedforward, width)
        self.feedforward_norm = nn.LayerNorm(width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, L, D) to (B, L, D)."""
        x = self.attention_norm(x + self.dropout(self.attention(x)))
        p = self.dropout.p if self.training else 0.0
        widen, narrow = (self.widen.weight, self.widen.bias), (self.narrow.weight, self.narrow.bias)
        mapped = perceptron(x.flatten(0, 1), widen, narrow, p).view_as(x)
        normed: Tensor = self.feedforward_norm(x + self.dropout(mapped))
        return normed


class Standardise(nn.Module):
    """(x - mean) / scale with mean and scale from data, and the log-determinant of that map.

    The scale of a feature that hardly varies (a dead unit of a latent) is not its standard deviation but 1/1000 of the
    root mean square over the features. Otherwise its rounding noise would be blown up to unit variance, and
    ``-log(scale)`` would drown the density of all other features.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    def fit(self, x: Tensor) -> None:
        """Take mean and scale from ``x``, (n, F)."""
        variance, mean = torch.var_mean(x.double(), 0, correction=0)
        typical = variance.mean().sqrt()
        self.mean.copy_(mean)
        self.scale.copy_(variance.sqrt().clamp_min(1e-3 * typical if typical > 0 else 1.0))

    @property
    def ladj(self) -> Tensor:
        """Log |det| of the map, the same for every row."""
        return -self.scale.log().sum()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, F) to (B, F)."""
        return (x - self.mean) / self.scale

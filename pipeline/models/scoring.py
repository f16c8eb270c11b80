"""A function of many rows, computed some rows at a time; with tensors, as ``arrays.parts`` with arrays."""

from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.models.arrays import parts
from pipeline.models.arrays.parts import Rows

ROWS_AT_ONCE: Final = parts.ROWS_AT_ONCE
BLOCK: Final = parts.BLOCK


def array(x: Tensor) -> Rows:
    """A tensor as an array."""
    return x.detach().cpu().numpy()


def with_features(z: Tensor, x: Tensor, pass_features: bool) -> Tensor:
    """Input of the second stage: the latent z (B, Z), followed by the features x (B, F) if they are passed on."""
    return torch.cat([z, x], dim=1) if pass_features else z


def in_parts(function: Callable[[Tensor], Tensor], x: Tensor, rows: int) -> Tensor:
    """``function`` of x, (n, F), computed on at most ``rows`` rows at a time; on a CPU on ``BLOCK`` rows.

    On a CPU every part has the same shape, and the last one is filled up, because a matrix product of few rows rounds
    differently from one of many. So the result of a row seldom depends on its neighbours, not even in the last bits.
    """
    if x.device.type != "cpu":
        return torch.cat([function(part) for part in torch.split(x, rows)])
    return torch.cat([function(_filled(part))[: len(part)] for part in torch.split(x, BLOCK)])


def _filled(x: Tensor) -> Tensor:
    """x, (n, F), filled up to ``BLOCK`` rows by copies of its first row; an empty x stays empty."""
    return torch.cat([x, x[:1].expand(BLOCK - len(x), *x.shape[1:])]) if 0 < len(x) < BLOCK else x


def in_batches(
    function: Callable[[Tensor], Tensor], x: NDArray[np.float32], batch_size: int, device: torch.device | str
) -> NDArray[np.float32]:
    """``function`` of the rows of ``x``, ``batch_size`` rows at a time and without gradients.

    Args:
        function: maps (B, F) to (B,) or (B, Z), row by row.
        x: (n, F).
        batch_size: rows on the device at once.
        device: where ``function`` computes.

    Returns:
        (n,) or (n, Z) float32.
    """
    with torch.inference_mode():
        batches = torch.split(torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)), batch_size)
        return np.concatenate([function(batch.to(device)).float().cpu().numpy() for batch in batches])

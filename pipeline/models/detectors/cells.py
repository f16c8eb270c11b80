"""Cells of rows that lie close together, by k-means."""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from torch import Tensor

from pipeline.base.samples import row_hash

STEPS: Final = 5
ROWS_PER_CELL: Final = 32  # that its centre is moved by, about
STRATA: Final = 256
POOL: Final = 16
AT_ONCE: Final = 1024  # rows whose distances from all centres fit into a cache


def number_of_cells(rows: int) -> int:
    """How many cells make a search among ``rows`` references fast: measured from 3,000 to 1,000,000 of them."""
    return max(1, round(1.5 * math.sqrt(rows)))


def cells(x: Tensor, number: int, seed: int = 0) -> Tensor:
    """(n,) cell of each row of x, (n, F): that of the nearest of ``number`` centres. A cell may be empty.

    Lloyd, "Least squares quantization in PCM", 1982: a few steps on a sample of the rows, from rows drawn by ``seed``.
    So the time is linear in n.
    """
    drawn = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[: ROWS_PER_CELL * number]
    sample = x[drawn.to(x.device)]
    centres = sample[:number].clone()
    for _ in range(STEPS):
        cell = _nearest(sample, centres)
        sizes = torch.bincount(cell, minlength=len(centres))[:, None]
        means = torch.zeros_like(centres).index_add_(0, cell, sample) / sizes.clamp_min(1)
        centres = torch.where(sizes > 0, means, centres)
    return _nearest(x, centres)


def _nearest(x: Tensor, centres: Tensor) -> Tensor:
    """(n,) which of the centres, (C, F), is nearest to each row of x, (n, F)."""
    norms = centres.square().sum(1)
    return torch.cat([torch.addmm(norms, part, centres.T, alpha=-2).argmin(1) for part in torch.split(x, AT_ONCE)])


def draw_evenly(x: Tensor, rows: int, seed: int, scaled: Callable[[Tensor], Tensor]) -> Tensor:
    """At most ``rows`` positions in x, (n, F). Each of ``STRATA`` clusters keeps its share, to a row.

    The clusters are those of at most ``POOL`` times as many rows, drawn at random. So the time does not grow with n
    beyond that (Neyman, "Contribution to the Theory of Sampling Human Populations", 1938: double sampling).

    Args:
        x: (n, F).
        rows: how many at most.
        seed: of all draws.
        scaled: rows as distances between them are taken.
    """
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)).to(x.device)
    if len(x) <= rows:
        return order
    pool = order[: POOL * rows]
    by_cell = pool[cells(scaled(x[pool]), STRATA, seed).argsort(stable=True)]
    return by_cell[(torch.arange(rows, device=x.device) * len(pool)).div(rows, rounding_mode="floor")]


def distinct(x: Tensor, copies: int) -> Tensor:
    """Positions of the rows of x, (n, F), in their order, but of equal rows only the first ``copies``."""
    hashed = row_hash([column.cpu().numpy() for column in x.T])
    order = np.argsort(hashed, kind="stable")
    begins = np.flatnonzero(np.diff(hashed[order], prepend=~hashed[order[:1]]))
    number = np.arange(len(order)) - np.repeat(begins, np.diff(begins, append=len(order)))
    return torch.from_numpy(np.sort(order[number < copies])).to(x.device)

"""Scores that are known already, by the content of their rows."""

from typing import Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.base.samples import row_hash

OTHER: Final = 1  # begins the second hash


class Remembered:
    """The scores of rows, without the rows.

    A row is known by two hashes of 64 bits, so that two rows are never taken for one another.

    Args:
        hashed: (n, 2) of each row.
        scores: (n,) of each.
    """

    def __init__(self, hashed: NDArray[np.uint64], scores: Tensor) -> None:
        order = np.argsort(hashed[:, 0], kind="stable")
        self.hashed, self.ordered = hashed[order], scores[torch.from_numpy(order).to(scores.device)]

    @classmethod
    def of(cls, x: Tensor, scores: Tensor) -> Self:
        """The scores, (n,), of x, (n, F)."""
        return cls(_hashed(x), scores)

    def scores(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n,) scores of x, (n, F), and (n,) which of them are not known."""
        hashed = _hashed(x)
        if not len(self.hashed):
            return self.ordered.new_zeros(len(x)).to(x.device), torch.ones(len(x), dtype=torch.bool, device=x.device)
        at = np.searchsorted(self.hashed[:, 0], hashed[:, 0]).clip(max=len(self.hashed) - 1)
        new = torch.from_numpy((self.hashed[at] != hashed).any(axis=1)).to(x.device)
        return self.ordered[torch.from_numpy(at).to(self.ordered.device)].to(x.device), new


def _hashed(x: Tensor) -> NDArray[np.uint64]:
    """(n, 2) hashes of x, (n, F)."""
    columns = np.ascontiguousarray(x.detach().cpu().numpy().T)
    return np.stack([row_hash(columns), row_hash([np.full(len(x), OTHER), *columns])], axis=1)
